"""Stage training: one sequence model for both tasks.

Verb: `train`. In: a `Corpus` and `Identifiers`. Out: a Hugging Face model folder, and its learning curve.
"""

from gensar_lite.training.adhoc import Event
from gensar_lite.training.loop import Judge
from gensar_lite.training.progress import harmonic_mean
from gensar_lite.training.prompts import PROMPTS
from gensar_lite.training.stage import Generator, load_generator, new_generator, train
from gensar_lite.training.tasks import TASK_NAMES, TASK_OF_EVENTS, TASKS, SequenceBuilder, Task
from gensar_lite.training.text import TextCodec
from gensar_lite.training.tracking import Watch

__all__ = [
    "PROMPTS",
    "TASKS",
    "TASK_NAMES",
    "TASK_OF_EVENTS",
    "Event",
    "Generator",
    "Judge",
    "SequenceBuilder",
    "Task",
    "TextCodec",
    "Watch",
    "harmonic_mean",
    "load_generator",
    "new_generator",
    "train",
]
