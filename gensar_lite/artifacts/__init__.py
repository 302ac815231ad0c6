"""What stages hand over: records, the workspace that keeps them, and the check that nothing is stale.

In: folders under ``artifacts/<run>/<stage>/``. Out: `Corpus`, `ItemEmbeddings`, `Identifiers`, `Workspace`.
"""

from gensar_lite.artifacts.opening import open_run
from gensar_lite.artifacts.records import (
    SPLITS,
    TASKS,
    VIEW_OF_TASK,
    VIEWS,
    ArtifactError,
    Corpus,
    Identifiers,
    ItemEmbeddings,
    check_vectors,
)
from gensar_lite.artifacts.workspace import INPUTS, LESSON, Workspace, file_digest, write_json

__all__ = [
    "INPUTS",
    "LESSON",
    "SPLITS",
    "TASKS",
    "VIEWS",
    "VIEW_OF_TASK",
    "ArtifactError",
    "Corpus",
    "Identifiers",
    "ItemEmbeddings",
    "Workspace",
    "check_vectors",
    "file_digest",
    "open_run",
    "write_json",
]
