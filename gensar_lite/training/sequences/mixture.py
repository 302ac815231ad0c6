"""The mixture: which examples an epoch holds and in which order, a pure function of seed and epoch.

In: a generator, settings. Out: batches of one task, each of similar lengths. Held-out rows are
validation's, or a twentieth of the catalogue's items. This file does not build tokens.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.config import TrainingConfig
from gensar_lite.training.sequences.events import EventBuilder
from gensar_lite.training.sequences.tasks import EVENTS, PROMPTS, TASK_NAMES, TASKS, variants

HELD_OUT_RATE = 0.05  # of the items, in tasks whose rows are items or their pseudo-queries
MEGA_BATCH = 32  # batches sorted by length together: enough to bucket, few enough to stay random


class Plan(NamedTuple):
    """One batch to be built: a task's name, event rows (B,), prompt numbers (B,)."""

    task: str
    rows: np.ndarray
    prompt: np.ndarray


@dataclass(frozen=True)
class TaskMixture:
    """A seeded index over tasks. `weights` scale how often a task's examples come up per epoch:
    1 means every example once, 0.5 a random half, 2 each twice."""

    rows: dict[str, np.ndarray]
    lengths: dict[str, np.ndarray]
    weights: dict[str, float]
    batch_size: int
    num_prompts: int
    seed: int

    def num_examples(self, task: str) -> int:
        """Examples of a task per epoch."""
        return round(self.weights[task] * len(self.rows[task]))

    @property
    def num_batches(self) -> int:
        """Batches per epoch."""
        return sum(-(-self.num_examples(task) // self.batch_size) for task in self.rows)

    def epoch(self, epoch: int) -> list[Plan]:
        """The batches of one epoch, in order; the same for equal (seed, epoch)."""
        # one generator, asked in a fixed order: whatever epoch was asked for before, nothing moves
        rng = np.random.default_rng([self.seed, epoch])
        plans = []
        for task, rows in self.rows.items():
            # 1. which examples: places in `rows`, in random order, each as often as any other, give
            #    or take one
            count = self.num_examples(task)
            rounds = [rng.permutation(len(rows)) for _ in range(-(-count // max(len(rows), 1)))]
            index = np.concatenate([*rounds, np.zeros(0, dtype=np.int64)])[:count]
            mega = self.batch_size * MEGA_BATCH
            for low in range(0, len(index), mega):
                # 2. a mega-batch of them is sorted by length, so that a batch holds little padding
                part = index[low : low + mega]
                part = part[np.argsort(self.lengths[task][part], kind="stable")]
                # 3. and cut into batches, each example with a prompt of its own
                for begin in range(0, len(part), self.batch_size):
                    chosen = part[begin : begin + self.batch_size]
                    prompt = rng.integers(self.num_prompts, size=len(chosen))
                    plans.append(Plan(task, rows[chosen], prompt))
        # 4. tasks and lengths come in random order
        return [plans[i] for i in rng.permutation(len(plans))]


class WindowMixture:
    """Every window of events once per epoch, `batch_size` per step, each with a seed for what is
    drawn anew: its pseudo-queries."""

    def __init__(self, windows: np.ndarray, batch_size: int, seed: int):
        self.rows = {EVENTS.name: windows}
        self.batch_size, self.seed = batch_size, seed
        self.num_batches = -(-len(windows) // batch_size)

    def num_examples(self, task: str) -> int:
        """Windows per epoch."""
        return len(self.rows[task])

    def epoch(self, epoch: int) -> list[Plan]:
        """As of a `TaskMixture`."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.rows[EVENTS.name])
        draw = rng.integers(2**31, size=len(order))
        cuts = range(0, len(order), self.batch_size)
        return [
            Plan(EVENTS.name, order[low : low + self.batch_size], draw[low : low + self.batch_size])
            for low in cuts
        ]


def present_tasks(corpus: Corpus, settings: TrainingConfig) -> TrainingConfig:
    """`settings` without the tasks of which the corpus has no event at all (a log without queries
    has no search), and without those on item texts where no text has a word.

    Raises `ArtifactError` when no task on events is left of those that were named.
    """
    texts = (text for name in ("title", "text") for text in corpus.items[name])
    happens = set(corpus.events["task"])
    if any(character.isalpha() for text in texts for character in text):
        happens.add("")  # the "event" of tasks on items
    event_of = {name: variants(name, True)[0].events for name in settings.tasks}
    weights = dict(zip(settings.tasks, settings.task_weights, strict=True))
    kept = {name: weight for name, weight in weights.items() if event_of[name] in happens}
    if any(event_of.values()) and not any(event_of[name] for name in kept):
        wanted = ", ".join(dict.fromkeys(filter(None, event_of.values())))
        raise ArtifactError(
            f"training: the corpus has no {wanted} event. Choose other training.tasks."
        )
    return dataclasses.replace(settings, tasks=tuple(kept), task_weights=tuple(kept.values()))


def task_rows(generator, settings: TrainingConfig, split: str) -> dict[str, np.ndarray]:
    """Rows of every task (by variant) that ``settings.tasks`` names: those of ``train``, or the
    held-out ones of ``validation``. A task that reads only the history skips events without one."""
    corpus, builder = generator.corpus, generator.builder
    one_view = builder.layout.num_shared == builder.layout.num_levels
    rows_by_task = {}
    for task in (task for name in settings.tasks for task in variants(name, one_view)):
        if task.events:
            rows = corpus.targets(split, task.events)["event_id"].to_numpy()
            if task.reads == ("history",):
                rows = rows[builder.end[rows] > builder.start[rows]]
        elif split == "validation" and isinstance(builder, EventBuilder):
            continue  # its windows learn queries of every item: none is held out
        else:
            text = builder.pseudo_queries if "pseudo" in task.reads else builder.texts
            rows = np.flatnonzero(text.lengths)  # an item without a text is no example
            # a draw per task, the same in both of its views: an item may be learned by one task and
            # tested by another
            rng = np.random.default_rng([settings.seed, TASK_NAMES.index(task.base)])
            num_out = max(round(HELD_OUT_RATE * corpus.num_items), 1)
            out = np.isin(builder.items(task, rows), rng.permutation(corpus.num_items)[:num_out])
            rows = rows[out == (split == "validation")]
        rows_by_task[task.name] = rows
    return rows_by_task


def new_mixture(generator, settings: TrainingConfig) -> TaskMixture | WindowMixture:
    """Every train row of a task is one example; for a tree, every window of events is one."""
    builder = generator.builder
    rows_by_task = task_rows(generator, settings, "train")
    for name, rows in rows_by_task.items():
        if not len(rows):
            raise ArtifactError(
                f"training: there is no train example of {name}. Leave it out of training.tasks "
                "and its weight out of training.task_weights."
            )
    if isinstance(builder, EventBuilder):
        return WindowMixture(builder.windows, settings.batch_size, settings.seed)
    lengths = {name: builder.lengths(TASKS[name], rows) for name, rows in rows_by_task.items()}
    # a task with two variants gives each half of its weight
    weights = dict(zip(settings.tasks, settings.task_weights, strict=True))
    bases = {name: TASKS[name].base for name in rows_by_task}
    num_variants = Counter(bases.values())
    shares = {name: weights[base] / num_variants[base] for name, base in bases.items()}
    num_prompts = min(map(len, PROMPTS.values())) if settings.prompts else 1
    size, seed = settings.batch_size, settings.seed
    return TaskMixture(rows_by_task, lengths, shares, size, num_prompts, seed)
