"""What stages hand over: records, the workspace that keeps them, and the check that nothing is stale.

In: folders under ``artifacts/<run>/<stage>/``. Out: `Corpus`, `ItemEmbeddings`, `Identifiers`, `Workspace`.
"""

from gensar_lite.artifacts.console import say
from gensar_lite.artifacts.folders import file_digest, path_digest, write_json
from gensar_lite.artifacts.layout import INPUTS, LESSON
from gensar_lite.artifacts.opening import finished_runs, open_run, recorded_run
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
from gensar_lite.artifacts.workspace import Workspace

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
    "finished_runs",
    "open_run",
    "path_digest",
    "recorded_run",
    "say",
    "write_json",
]
