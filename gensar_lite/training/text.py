"""Text in and out of the model: a small BPE vocabulary of our own, or a pretrained tokenizer.

In: texts. Out: token ids below `num_tokens`; for a warm start, the text encoder's own word pieces
and vectors. Identifiers never pass through here: they are integers (see identifiers/tokens.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from gensar_lite.artifacts import write_json
from gensar_lite.data.index_words import index_words
from gensar_lite.embeddings.encoders import minilm_folder

PAD = 0
EOS = 1
WORDS_FILE = "words.json"  # of a `WordCodec`
SPECIAL = ["<pad>", "</s>", "<unk>"]  # by id
FOREIGN = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # the text encoder's own special tokens


class TextCodec:
    """A tokenizer that adds no special tokens by itself."""

    def __init__(self, tokenizer, num_tokens: int | None = None):
        self.tokenizer = tokenizer
        self.num_tokens = num_tokens or len(tokenizer)

    @staticmethod
    def of(tokenizer: Tokenizer) -> TextCodec:
        """From a tokenizer whose first ids are `SPECIAL`."""
        names = dict(zip(("pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
        return TextCodec(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names))

    @staticmethod
    def train(texts: Iterable[str], num_tokens: int) -> TextCodec:
        """A byte-level BPE vocabulary of at most `num_tokens` tokens, of lower-cased texts."""
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
    def of_pieces(texts: Iterable[str]) -> TextCodec:
        """all-MiniLM-L6-v2's tokenizer, its vocabulary cut to the pieces of `texts` and to plain
        single characters.

        Words of `texts` are cut as the encoder cuts them; others into the pieces that are left.
        """
        whole = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
        whole.no_truncation()
        whole.no_padding()
        encoded = whole.encode_batch(list(texts), add_special_tokens=False)
        used = {i for text in encoded for i in text.ids} - {whole.token_to_id(t) for t in FOREIGN}
        vocabulary = {piece: i for i, piece in enumerate(SPECIAL)}
        for piece, i in sorted(whole.get_vocab().items(), key=lambda pair: pair[1]):
            is_character = piece.isascii() and len(piece.removeprefix("##")) == 1
            if i in used or is_character:
                vocabulary[piece] = len(vocabulary)
        model = models.WordPiece(vocabulary, unk_token="<unk>", continuing_subword_prefix="##")
        small = Tokenizer(model)
        small.normalizer = whole.normalizer
        small.pre_tokenizer = whole.pre_tokenizer
        small.decoder = whole.decoder
        return TextCodec.of(small)

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


class WordCodec:
    """Whole words as an index has them (see `index_words`), for models that read bags of words.

    A text that is one of `phrases`, in any order of its words, has a number of its own beside those
    of its words: a model learns by heart what is asked often, and reads the words of the rest. A
    word that is not in `words` is left out: it says nothing of any item.
    """

    def __init__(self, words: list[str], phrases: list[str]):
        self.words, self.phrases = words, phrases
        self._word = {word: number for number, word in enumerate(words, len(SPECIAL))}
        self._phrase = {phrase: number for number, phrase in enumerate(phrases, self.first_phrase)}

    @property
    def first_phrase(self) -> int:
        """Numbers from here on are phrases."""
        return len(SPECIAL) + len(self.words)

    @property
    def num_tokens(self) -> int:
        return self.first_phrase + len(self.phrases)

    @staticmethod
    def of(texts: Iterable[str], queries: Iterable[str]) -> WordCodec:
        """All words of texts and queries; queries of several words are the phrases."""
        asked = [index_words(query) for query in queries]
        words = dict.fromkeys(word for text in texts for word in index_words(text))
        words |= dict.fromkeys(word for row in asked for word in row)
        phrases = dict.fromkeys(_phrase(row) for row in asked if len(row) > 1)
        return WordCodec(list(words), list(phrases))

    @staticmethod
    def load(folder: Path) -> WordCodec:
        """The words that `save` has written."""
        return WordCodec(**json.loads((folder / WORDS_FILE).read_text(encoding="utf-8")))

    def save(self, folder: Path) -> None:
        """To a file of a model's folder."""
        write_json(folder / WORDS_FILE, {"words": self.words, "phrases": self.phrases})

    def encode(self, texts: Iterable[str], max_tokens: int | None = None) -> list[list[int]]:
        """Numbers of each text's words, cut after `max_tokens`, and of the phrase that it is."""
        rows = []
        for words in map(index_words, texts):
            row = [self._word[word] for word in words if word in self._word][:max_tokens]
            phrase = self._phrase.get(_phrase(words))
            rows.append(row if phrase is None else [*row, phrase])
        return rows

    def decode(self, ids: Iterable[int]) -> str:
        """The words of numbers, in order, without phrases."""
        known = (i - len(SPECIAL) for i in ids if len(SPECIAL) <= i < self.first_phrase)
        return " ".join(self.words[i] for i in known)


def _phrase(words: list[str]) -> str:
    return " ".join(sorted(words))


@torch.no_grad()
def warm_start(model: PreTrainedModel, codec: TextCodec) -> None:
    """Write the encoder's word vectors into the text rows of a fresh model's table, in place."""
    # 1. the P pieces that both know: our ids beside the encoder's
    folder = minilm_folder()
    known = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    vocabulary = sorted(codec.tokenizer.get_vocab().items())
    ours, theirs = np.array([(i, known[piece]) for piece, i in vocabulary if piece in known]).T
    with safe_open(folder / "model.safetensors", "pt") as file:
        words = file.get_tensor("embeddings.word_embeddings.weight")[theirs].double()  # (P, 384)
    # 2. their principal components, largest variance first: the width of the model is narrower
    #    than the encoder's, and what these pieces differ by most must get through
    words -= words.mean(dim=0)
    axes = torch.linalg.eigh(words.T @ words).eigenvectors.flip(1)  # (384, 384)
    table = model.get_input_embeddings().weight  # (V, d)
    projected = words @ axes[:, : table.shape[1]]  # (P, d), or narrower than a wide model
    # 3. the deviation that the table had: what depends on it, learning rate and output scale,
    #    stays as it was
    projected *= table.std().item() / projected.std()
    table[ours, : projected.shape[1]] = projected.to(table.dtype)
