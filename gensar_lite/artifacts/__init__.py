"""What stages hand over: records, the workspace that keeps them, the check that nothing is stale.

In: folders ``artifacts/<run>/<stage>/``. Out: `Corpus`, `ItemEmbeddings`, `Identifiers`,
`Workspace`. This room does not know how any record is computed.
"""

from gensar_lite.artifacts.corpus import Corpus
from gensar_lite.artifacts.folders import file_digest, path_digest
from gensar_lite.artifacts.opening import finished_runs, open_run, recorded_run
from gensar_lite.artifacts.reading import INPUTS, LESSON
from gensar_lite.artifacts.records import (
    SPLITS,
    TASKS,
    VIEW_OF_TASK,
    VIEWS,
    ArtifactError,
    Identifiers,
    ItemEmbeddings,
    check_vectors,
)
from gensar_lite.artifacts.workspace import Workspace
from gensar_lite.machine.atomic import replacing, write_bytes, write_json, write_text
from gensar_lite.machine.console import say
