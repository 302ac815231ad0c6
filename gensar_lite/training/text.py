"""Text in and out of the model: a small BPE vocabulary of our own, or a pretrained tokenizer.

In: texts. Out: token ids below `num_tokens`. Identifiers never pass through here: they are integers from
end to end (see identifiers/tokens.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

PAD, EOS, UNK = 0, 1, 2
SPECIAL = ["<pad>", "</s>", "<unk>"]


class TextCodec:
    """A tokenizer that adds no special tokens by itself."""

    def __init__(self, tokenizer, num_tokens: int | None = None):
        self.tokenizer = tokenizer
        self.num_tokens = num_tokens or len(tokenizer)

    @staticmethod
    def train(texts: Iterable[str], num_tokens: int) -> TextCodec:
        """A byte-level BPE vocabulary of at most `num_tokens` tokens, trained on lower-cased texts."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        bpe = Tokenizer(models.BPE(unk_token="<unk>"))
        bpe.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        bpe.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=num_tokens,
            special_tokens=SPECIAL,
            initial_alphabet=alphabet,
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        fast = PreTrainedTokenizerFast(
            tokenizer_object=bpe, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        )
        return TextCodec(fast)

    @staticmethod
    def load(folder: Path | str, num_tokens: int | None = None, revision: str = "") -> TextCodec:
        """A saved or pretrained tokenizer by folder or name.

        Ids 0 and 1 serve as PAD and EOS whatever the tokenizer calls them: T5's own, but in some decoders' vocabularies
        two punctuation marks, which texts then lose.
        """
        found = AutoTokenizer.from_pretrained(
            str(folder), revision=revision or None, trust_remote_code=False
        )
        return TextCodec(found, num_tokens)

    def save(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)

    def encode(self, texts: list[str], max_tokens: int | None = None) -> list[list[int]]:
        """Token ids of each text, cut after `max_tokens`. A text that spells PAD or EOS (``</s>``) loses them."""
        if not texts:
            return []
        found = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        found = [
            [i for i in ids if i not in (PAD, EOS)] if PAD in ids or EOS in ids else ids
            for ids in found
        ]
        return [ids[:max_tokens] for ids in found]

    def decode(self, ids: Iterable[int]) -> str:
        return self.tokenizer.decode(list(ids))
