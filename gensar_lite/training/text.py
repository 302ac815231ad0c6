"""Text in and out of the model: a small BPE vocabulary of our own, or a pretrained tokenizer.

In: texts. Out: token ids below `num_tokens`. Identifiers never pass through here: they are integers
from end to end (see identifiers/tokens.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

PAD = 0
EOS = 1
SPECIAL = ["<pad>", "</s>", "<unk>"]  # by id


class TextCodec:
    """A tokenizer that adds no special tokens by itself."""

    def __init__(self, tokenizer, num_tokens: int | None = None):
        self.tokenizer = tokenizer
        self.num_tokens = num_tokens or len(tokenizer)

    @staticmethod
    def of(tokenizer) -> TextCodec:
        """From a tokenizer of the tokenizers library whose first ids are `SPECIAL`."""
        pad, eos, unk = SPECIAL
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token=pad, eos_token=eos, unk_token=unk
        )
        return TextCodec(fast)

    @staticmethod
    def train(texts: Iterable[str], num_tokens: int) -> TextCodec:
        """A byte-level BPE vocabulary of at most `num_tokens` tokens, of lower-cased texts."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        bpe = Tokenizer(models.BPE(unk_token="<unk>"))
        bpe.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=num_tokens,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # so that any text can be written
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return TextCodec.of(bpe)

    @staticmethod
    def load(folder: Path | str, num_tokens: int | None = None, revision: str = "") -> TextCodec:
        """A saved or pretrained tokenizer by folder or name.

        Ids 0 and 1 serve as PAD and EOS whatever the tokenizer calls them: T5's own, but in some
        decoders' vocabularies two punctuation marks, which texts then lose.
        """
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), revision=revision or None, trust_remote_code=False
        )
        return TextCodec(tokenizer, num_tokens)

    def save(self, folder: Path) -> None:
        """To a Hugging Face folder."""
        self.tokenizer.save_pretrained(folder)

    def encode(self, texts: list[str], max_tokens: int | None = None) -> list[list[int]]:
        """Token ids of each text, cut after `max_tokens`; a spelled PAD or EOS is left out."""
        if not texts:
            return []
        rows = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [[i for i in ids if i not in (PAD, EOS)][:max_tokens] for ids in rows]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(list(ids))
