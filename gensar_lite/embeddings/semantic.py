"""The semantic view: what an item's text says, as a vector, by an encoder or by counted words.

In: texts. Out: (N, d_sem) unit rows, float32, those of an encoder computed once per content, kept
in a cache folder, and shared out where Accelerate launched several processes. Buyers are not known.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from tqdm.auto import tqdm

from gensar_lite.artifacts import ArtifactError, replacing
from gensar_lite.config import EmbeddingsConfig
from gensar_lite.data.words import WRITTEN, words_of
from gensar_lite.embeddings.encoders import Encoder, find_encoder, fingerprint, load_encoder
from gensar_lite.machine.precision import use_bf16
from gensar_lite.machine.processes import my_share, rank_and_world, together
from gensar_lite.machine.threads import threads_for

ENCODER_WIDTH = 384  # of all-MiniLM-L6-v2; the threads that pay are measured at it


def item_texts(titles: list[str], texts: list[str]) -> list[str]:
    """What the encoder reads of each item: title, then description (as in the paper)."""
    pairs = zip(titles, texts, strict=True)
    return [f"{title}. {text}".strip() if text else title for title, text in pairs]


def encode(texts: list[str], settings: EmbeddingsConfig, cache: Path | None = None) -> np.ndarray:
    """Item texts as (N, d_sem) unit rows of ``settings.encoder``.

    A text's row does not depend on the order of the others. With `cache`, the rows are stored under
    a hash of model, settings and texts, so the same content is never encoded twice.
    """
    if settings.encoder == "lsa":
        return LSA.fit(texts, settings.lsa_dim, settings.seed).transform(texts)
    return _encode_once(texts, settings, cache, queries=False)


def encode_queries(
    queries: list[str], texts: list[str], settings: EmbeddingsConfig, cache: Path | None = None
) -> np.ndarray:
    """(Q, d_sem) unit rows in the space of ``encode(texts, ...)``; only `lsa` looks at `texts`."""
    if settings.encoder == "lsa":
        return LSA.fit(texts, settings.lsa_dim, settings.seed).transform(queries)
    return _encode_once(queries, settings, cache, queries=True)


@dataclass(frozen=True)
class LSA:
    """Latent semantic analysis (Deerwester et al., 1990): the strongest directions of word weights.

    A baseline without a model: what an encoder adds is what it does better than this.
    """

    words: TfidfVectorizer
    directions: TruncatedSVD

    @staticmethod
    def fit(texts: list[str], dim: int, seed: int) -> LSA:
        """Learn words and at most `dim` directions from the catalogue's texts.

        Raises `ArtifactError` when the texts hold no word at all.
        """
        words = TfidfVectorizer(sublinear_tf=True, analyzer=partial(words_of, written=WRITTEN))
        try:
            counts = words.fit_transform(texts)  # (N, V)
        except ValueError:
            raise ArtifactError(
                f"embeddings: the {len(texts)} item texts hold no word, so lsa has nothing to "
                "count. Bring titles, or set embeddings.encoder to a text encoder."
            ) from None
        directions = TruncatedSVD(min(dim, *counts.shape), n_iter=7, random_state=seed).fit(counts)
        return LSA(words, directions)

    def transform(self, texts: list[str]) -> np.ndarray:
        """Unit rows (B, d) of any texts; zero for a text without a word of the catalogue."""
        if not texts:  # scikit-learn refuses an empty table; a log without searches has no query
            return np.zeros((0, len(self.directions.components_)), dtype=np.float32)
        return normalize(self.directions.transform(self.words.transform(texts))).astype(np.float32)


def fixed_batches(texts: list[str], size: int) -> tuple[list[list[str]], np.ndarray]:
    """Batches of texts of like length, and the row of each text among them, (N,).

    Vectors depend a little on what shares their batch, so the batches depend on nothing but the set
    of texts: each text once, by length, then alphabet. Like lengths also mean little padding.
    """
    once = sorted(set(texts), key=lambda text: (len(text), text))
    place = {text: row for row, text in enumerate(once)}
    batches = [once[low : low + size] for low in range(0, len(once), size)]
    return batches, np.array([place[text] for text in texts], dtype=np.int64)


@threads_for(ENCODER_WIDTH)
def _encode_once(
    texts: list[str], settings: EmbeddingsConfig, cache: Path | None, queries: bool
) -> np.ndarray:
    encoder = find_encoder(settings.encoder)
    bf16 = use_bf16(settings.text_precision)
    batches, rows = fixed_batches(texts, settings.text_batch)
    # the name in the cache: all that the vectors depend on; a zero byte ends each part
    model = fingerprint(encoder)
    key = hashlib.sha256()
    for part in (model, settings.max_tokens, settings.text_batch, bf16, queries):
        key.update(str(part).encode() + b"\0")
    for batch in batches:
        key.update("\0".join([*batch, ""]).encode("utf-8", "surrogatepass"))
    stored = cache / f"semantic-{key.hexdigest()[:24]}.safetensors" if cache else None
    if stored and stored.exists():
        return load_file(stored)["semantic"][rows]
    vectors = _encode_batches(batches, encoder, settings, bf16, queries)
    # one process writes; a folder that changed meanwhile would leave its vectors under a wrong name
    if stored and rank_and_world()[0] == 0 and fingerprint(encoder) == model:
        with replacing(stored) as draft:
            save_file({"semantic": vectors}, draft)
    return vectors[rows]


def _encode_batches(
    batches: list[list[str]],
    encoder: Encoder,
    settings: EmbeddingsConfig,
    bf16: bool,
    queries: bool,
) -> np.ndarray:
    """(M, d_sem) unit rows of M texts in batches; every process encodes a share, and gets all."""
    rank, world = rank_and_world()
    device = str(PartialState().device) if world > 1 else None
    model = load_encoder(encoder, settings, device)
    call = model.encode_query if queries else model.encode_document
    prefix = encoder.query_prefix if queries else encoder.item_prefix
    starts = np.cumsum([0, *map(len, batches)])
    vectors = np.zeros((starts[-1], model.get_embedding_dimension()), dtype=np.float32)
    share = my_share(range(len(batches)), rank, world)
    for number in tqdm(share, desc="texts", unit="batch", disable=rank > 0 or len(share) < 8):
        batch = batches[number]
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16):
            raw = call(batch, prompt=prefix, batch_size=len(batch), show_progress_bar=False)
        raw = raw.astype(np.float32)
        raw /= np.linalg.norm(raw, axis=1, keepdims=True)
        vectors[starts[number] : starts[number + 1]] = raw
    # a row is zero in every process but one, so the sum is that row, bit by bit
    return together(vectors).sum(axis=0) if world > 1 else vectors
