"""The semantic view: what an item's text says, as a vector.

In: texts. Out: (N, d_sem) L2-normalised float32 rows, computed once per content and kept in a cache folder; by
several processes together where Accelerate launched them. This file does not know who bought what.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tqdm.auto import tqdm

from gensar_lite.config import EmbeddingsConfig
from gensar_lite.embeddings.encoders import find_encoder, fingerprint, load_encoder
from gensar_lite.embeddings.lsa import LSA
from gensar_lite.machine.precision import use_bf16


def item_texts(titles: list[str], texts: list[str]) -> list[str]:
    """What the encoder reads of each item: title, then description (the paper: title + description)."""
    return [
        f"{title}. {text}".strip() if text else title
        for title, text in zip(titles, texts, strict=True)
    ]


def encode(texts: list[str], settings: EmbeddingsConfig, cache: Path | None = None) -> np.ndarray:
    """Encode item texts to (N, d_sem) unit rows with ``settings.encoder``.

    A text's row does not depend on the order of the others. With `cache`, the rows are stored under a hash of
    model, settings and texts, so the same content is never encoded twice.
    """
    if settings.encoder == "lsa":
        return LSA.fit(texts, settings.lsa_dim, settings.seed).transform(texts)
    return _encode_once(texts, settings, cache, queries=False)


def encode_queries(
    queries: list[str], texts: list[str], settings: EmbeddingsConfig, cache: Path | None = None
) -> np.ndarray:
    """Encode queries to (Q, d_sem) unit rows in the space of ``encode(texts, ...)``; only `lsa` looks at `texts`."""
    if settings.encoder == "lsa":
        return LSA.fit(texts, settings.lsa_dim, settings.seed).transform(queries)
    return _encode_once(queries, settings, cache, queries=True)


def fixed_batches(texts: list[str], size: int) -> tuple[list[list[str]], np.ndarray]:
    """Batches of texts of like length, and the row of each text among them, (N,).

    Vectors depend a little on what shares their batch, so the batches depend on nothing but the set of texts:
    each text once, by length, then alphabet. Like lengths also mean little padding.
    """
    once = sorted(set(texts), key=lambda text: (len(text), text))
    place = {text: row for row, text in enumerate(once)}
    batches = [once[low : low + size] for low in range(0, len(once), size)]
    return batches, np.array([place[text] for text in texts], dtype=np.int64)


def batches_of_rank(num_batches: int, rank: int, world: int) -> range:
    """The batches that process `rank` of `world` encodes: every world-th, so long and short texts are shared out."""
    return range(rank, num_batches, world)


def _encode_once(
    texts: list[str], settings: EmbeddingsConfig, cache: Path | None, queries: bool
) -> np.ndarray:
    encoder, bf16 = find_encoder(settings.encoder), use_bf16(settings.text_precision)
    batches, rows = fixed_batches(texts, settings.text_batch)
    key, read = hashlib.sha256(), fingerprint(encoder)
    for part in (read, settings.max_tokens, settings.text_batch, bf16, queries):
        key.update(str(part).encode() + b"\0")
    for batch in batches:
        key.update("\0".join([*batch, ""]).encode("utf-8", "surrogatepass"))
    stored = cache / f"semantic-{key.hexdigest()[:24]}.safetensors" if cache else None
    if stored and stored.exists():
        return load_file(stored)["semantic"][rows]
    vectors = _encode_batches(batches, encoder, settings, bf16, queries)
    whole = stored and int(os.environ.get("RANK", "0")) == 0 and fingerprint(encoder) == read
    if whole:  # a folder that changed meanwhile would leave its vectors under the old one's name
        cache.mkdir(parents=True, exist_ok=True)
        draft = stored.with_suffix(f".draft-{os.getpid()}")
        save_file({"semantic": vectors}, draft)
        draft.replace(stored)
    return vectors[rows]


def _encode_batches(
    batches, encoder, settings: EmbeddingsConfig, bf16: bool, queries: bool
) -> np.ndarray:
    """(M, d_sem) rows of M texts in batches; with several processes each encodes a part, and all get the sum."""
    state = _processes()
    rank, world = (state.process_index, state.num_processes) if state else (0, 1)
    model = load_encoder(encoder, settings, device=str(state.device) if state else None)
    call, prefix = (
        (model.encode_query, encoder.query_prefix)
        if queries
        else (model.encode_document, encoder.item_prefix)
    )
    starts = np.cumsum([0, *map(len, batches)])
    vectors = np.zeros((starts[-1], model.get_embedding_dimension()), dtype=np.float32)
    mine = batches_of_rank(len(batches), rank, world)
    for number in tqdm(mine, desc="texts", unit="batch", disable=rank > 0 or len(mine) < 8):
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16):
            found = call(
                batches[number],
                prompt=prefix,
                batch_size=len(batches[number]),
                show_progress_bar=False,
            ).astype(np.float32)
        vectors[starts[number] : starts[number + 1]] = found / np.linalg.norm(
            found, axis=1, keepdims=True
        )
    if world == 1:
        return vectors
    from accelerate.utils import reduce

    # a row is zero in every process but one, so the sum is that row, bit by bit
    return reduce(torch.from_numpy(vectors).to(state.device), "sum").cpu().numpy()


def _processes():
    """Accelerate's state where several processes were launched, else None."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available())
