"""Stage training: one sequence model for both tasks.

Verb: `train`. In: a `Corpus` and `Identifiers`. Out: a Hugging Face model folder, and its learning
curve. Sub-rooms: sequences (from events to batches), backbones (models), loop (learning).
"""

from gensar_lite.training.loop.figures import Watch, harmonic_mean
from gensar_lite.training.loop.loop import Judge
from gensar_lite.training.sequences.adhoc import Event
from gensar_lite.training.sequences.examples import SequenceBuilder
from gensar_lite.training.sequences.tasks import PROMPTS, TASK_NAMES, TASK_OF_EVENTS, TASKS, Task
from gensar_lite.training.stage import Generator, load_generator, new_generator, train
from gensar_lite.training.text import TextCodec

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
