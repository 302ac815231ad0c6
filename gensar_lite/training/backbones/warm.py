"""A warm start for words: a fresh model begins with the text encoder's word pieces and vectors.

In: texts, a fresh model. Out: a tokenizer of the pieces that the texts need, and a table whose text
rows are the encoder's own word vectors, projected to the model's width. This file does not know
identifiers or tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from gensar_lite.embeddings.encoders import minilm_folder
from gensar_lite.training.text import SPECIAL, TextCodec

FOREIGN = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # the encoder's own special tokens
TABLE = "embeddings.word_embeddings.weight"


def piece_codec(texts: Iterable[str]) -> TextCodec:
    """all-MiniLM-L6-v2's tokenizer, its vocabulary cut to the pieces of `texts` and to plain single
    characters.

    Words of `texts` are cut as the encoder cuts them; other words into the pieces that are left.
    """
    from tokenizers import Tokenizer, models

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


def warm_start(model: PreTrainedModel, codec: TextCodec) -> None:
    """Write the encoder's word vectors into the text rows of the model's table, in place."""
    # 1. the P pieces that both know: our ids beside the encoder's
    folder = minilm_folder()
    known = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    vocabulary = sorted(codec.tokenizer.get_vocab().items())
    ours, theirs = np.array([(i, known[piece]) for piece, i in vocabulary if piece in known]).T
    with safe_open(folder / "model.safetensors", "pt") as file:
        words = file.get_tensor(TABLE)[theirs].double()  # (P, 384)
    # 2. their principal components, largest variance first: the width of the model is narrower
    #    than the encoder's, and what these pieces differ by most must get through
    words -= words.mean(dim=0)
    axes = torch.linalg.eigh(words.T @ words).eigenvectors.flip(1)  # (384, 384)
    table = model.get_input_embeddings().weight  # (V, d)
    with torch.no_grad():
        projected = words @ axes[:, : table.shape[1]]  # (P, d), or narrower than a wide model
        # 3. the deviation that the table had: what depends on it, learning rate and output
        #    scale, stays as it was
        projected *= table.std().item() / projected.std()
        table[ours, : projected.shape[1]] = projected.to(table.dtype)
