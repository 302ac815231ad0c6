"""A warm start for words: a fresh model reads the word-pieces of the text encoder and begins with their vectors.

In: texts, a fresh model. Out: a tokenizer of the pieces that the texts need, and a table whose text rows are the
encoder's own word vectors, projected to the model's width. This file does not know identifiers or tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import torch
from safetensors import safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gensar_lite.embeddings.encoders import minilm_folder
from gensar_lite.training.text import SPECIAL, TextCodec

FOREIGN = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # the encoder's own special tokens
TABLE = "embeddings.word_embeddings.weight"


def piece_codec(texts: Iterable[str]) -> TextCodec:
    """all-MiniLM-L6-v2's tokenizer, its vocabulary cut to the pieces of `texts` and to plain single characters.

    Words of `texts` are cut as the encoder cuts them; other words into the pieces that are left.
    """
    from tokenizers import Tokenizer, models

    whole = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    whole.no_truncation()
    whole.no_padding()
    known = whole.get_vocab()
    used = {i for one in whole.encode_batch(list(texts), add_special_tokens=False) for i in one.ids}
    kept = [
        piece
        for piece, i in sorted(known.items(), key=lambda pair: pair[1])
        if (i in used and piece not in FOREIGN)
        or (piece.isascii() and len(piece.removeprefix("##")) == 1)
    ]
    vocabulary = {piece: i for i, piece in enumerate([*SPECIAL, *kept])}
    own = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>", continuing_subword_prefix="##"))
    own.normalizer, own.pre_tokenizer, own.decoder = (
        whole.normalizer,
        whole.pre_tokenizer,
        whole.decoder,
    )
    return TextCodec(
        PreTrainedTokenizerFast(
            tokenizer_object=own, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        )
    )


def warm_start(model: PreTrainedModel, codec: TextCodec) -> None:
    """Write the encoder's word vectors into the text rows of the model's embedding table, in place.

    They are projected on the principal components of the pieces in use and scaled to the deviation that the table had.
    """
    folder = minilm_folder()
    known = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    pairs = [
        (i, known[piece])
        for piece, i in sorted(codec.tokenizer.get_vocab().items())
        if piece in known
    ]
    ours, theirs = np.array(pairs).T
    with safe_open(folder / "model.safetensors", "pt") as file:
        words = file.get_tensor(TABLE)[theirs].double()  # (P, 384)
    words -= words.mean(dim=0)
    axes = torch.linalg.eigh(words.T @ words).eigenvectors.flip(
        1
    )  # (384, 384), largest variance first
    table = model.get_input_embeddings().weight
    with torch.no_grad():
        found = words @ axes[:, : table.shape[1]]  # (P, d), or narrower than a wide model
        found *= table.std().item() / found.std()
        table[ours, : found.shape[1]] = found.to(table.dtype)
