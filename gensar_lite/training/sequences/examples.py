"""Single examples: from an event or an item to what the model reads and what it writes.

In: a `Corpus`, `Identifiers`, a `TextCodec`. Out: padded integer batches. All is spelled here:
examples, histories of a running shop. This file does not know models, losses or beams.
"""

from functools import cached_property

import numpy as np

from gensar_lite.artifacts import VIEWS, Corpus, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.data import history_bounds
from gensar_lite.embeddings.semantic import item_texts
from gensar_lite.identifiers import TokenLayout
from gensar_lite.machine.ranges import ranges
from gensar_lite.training.sequences.pseudo import NO_QUERIES, PseudoQueries
from gensar_lite.training.sequences.ragged import Ragged, hstack, pad_and_mask
from gensar_lite.training.sequences.tasks import PROMPTS, Batch, Task
from gensar_lite.training.text import EOS, PAD, TextCodec


class SequenceBuilder:
    """Builds sources and targets for events and items of one corpus.

    Texts are tokenised once: item texts and pseudo-queries when a task first asks for them.
    """

    def __init__(
        self,
        corpus: Corpus,
        identifiers: Identifiers,
        layout: TokenLayout,
        codec: TextCodec,
        settings: TrainingConfig,
        pseudo: PseudoQueries = NO_QUERIES,
    ):
        self.layout, self.codec, self.settings = layout, codec, settings
        self.catalogue, self.pseudo = corpus.items, pseudo
        # the behaviour token before an identifier of a view or before a query, or nothing
        tokens = {"semantic": layout.search_item, "collaborative": layout.recommend_item}
        tokens["query"] = layout.search_query
        self.marks = {k: [i] if settings.behaviour_tokens else [] for k, i in tokens.items()}
        # (N, L) each
        self.item_tokens = {
            view: layout.tokens(identifiers.view(view), view).astype(np.int32) for view in VIEWS
        }
        # 2N rows: every item by its semantic, then every item by its collaborative identifier
        codes = np.concatenate(list(self.item_tokens.values()))  # (2N, L)
        self.num_items = len(codes) // 2
        marks = Ragged.of(self.marks[view] for view in VIEWS).take(
            np.repeat([0, 1], self.num_items)
        )
        spelled = Ragged.cut(codes.ravel(), np.full(len(codes), layout.num_levels))
        self._items = hstack([marks, spelled])
        # (E,) each: the event rows that are an event's history, its kind, item and query
        events = corpus.events
        self.start, self.end = history_bounds(events)
        self.is_search = (events["task"] == "search").to_numpy()
        self.item, self.query = events["item_id"].to_numpy(), events["query_id"].to_numpy()
        self.queries = self.spell_queries(corpus.queries["text"].tolist())
        self.prompts = {
            task: Ragged.of(codec.encode(sentences) if settings.prompts else [()] * len(sentences))
            for task, sentences in PROMPTS.items()
        }
        shown = self.is_search & settings.history_queries
        self.chunks = self.spell_history(self.item, self.is_search, self._queries_of(shown))
        # how many events of each kind precede a row, over the whole table: what a window holds of
        # a kind is then a difference of two entries
        self._before = {kind: np.r_[0, np.cumsum(self.is_search == kind)] for kind in (False, True)}

    def spell_queries(self, texts: list[str]) -> Ragged:
        """Queries, cut after ``max_query_tokens``, after their behaviour token."""
        spelled = self.codec.encode(texts, self.settings.max_query_tokens)
        return Ragged.of([*self.marks["query"], *ids] for ids in spelled)

    def spell_items(self, items: np.ndarray, semantic: bool | np.ndarray) -> Ragged:
        """Items (B,) by the identifier of a view (one for all, or of each), after its token."""
        return self._items.take(np.where(semantic, items, items + self.num_items))

    def spell_history(self, items: np.ndarray, is_search: np.ndarray, queries: Ragged) -> Ragged:
        """Events (E,): each one's row of `queries` (empty where none is shown), its item, and the
        separator that the settings may put after it."""
        after = self.codec.encode(["; "])[0] if self.settings.history_separator else []
        spelled = self.spell_items(items, is_search)
        return hstack([queries, spelled, Ragged.repeat(after, len(items))])

    def _queries_of(self, shown: np.ndarray) -> Ragged:
        """Each event's query, E rows; empty where it is not `shown` (E,)."""
        return self.queries.take_or_empty(np.where(shown, self.query, -1))

    @cached_property
    def texts(self) -> Ragged:
        """Title and description of every item, N rows, cut after ``max_text_tokens``."""
        texts = item_texts(*(self.catalogue[name].tolist() for name in ("title", "text")))
        return Ragged.of(self.codec.encode(texts, self.settings.max_text_tokens))

    @cached_property
    def pseudo_queries(self) -> Ragged:
        """Pseudo-queries as they stand in a source, P rows."""
        return self.spell_queries(self.pseudo.texts)

    def given(self, task: Task) -> list[int]:
        """Tokens that a decoder is given before it predicts: a start token, then what is forced."""
        return [PAD, *self.forced(task)]

    def forced(self, task: Task) -> list[int]:
        """Tokens that start every target of a task: decoding gives them and predicts the rest."""
        if task.writes == "codes":
            return self.marks[task.view]
        return self.marks["query"] if task.events else []

    def window(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """History of events `rows`, the last few of each kind, in time order: of every event of a
        history its position in `rows`, and its event row."""
        # 1. whole histories, H events in all, as pairs (position in `rows`, event row)
        start, end = self.start[rows], self.end[rows]
        position = np.repeat(np.arange(len(rows)), end - start)
        row = ranges(start, end - start)
        # 2. of each kind the last ones: an event stays if it and the later ones of its kind, up to
        #    the end of the history, are within the limit
        keep = np.zeros(len(row), dtype=bool)
        for kind, limit in ((False, self.settings.max_recommend), (True, self.settings.max_search)):
            count = self._before[kind]
            left = count[end[position]] - count[row]  # (H,)
            keep |= (self.is_search[row] == kind) & (left <= limit)
        return position[keep], row[keep]

    def sources(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Ragged:
        """What the model reads for `rows` (B,) of a task: prompt (by its number (B,), else the
        first), what the task reads, end."""
        return self.frame(task, [self._part(name, rows) for name in task.reads], prompt)

    def frame(self, task: Task, parts: list[Ragged], prompt: np.ndarray | None = None) -> Ragged:
        """Parts of B rows each, joined between the prompt and the end."""
        num_rows = len(parts[0].lengths)
        # at test every source has the first prompt
        prompt = np.zeros(num_rows, dtype=np.int64) if prompt is None else prompt
        first = self.prompts[task.base].take(prompt)
        return hstack([first, *parts, Ragged.repeat([EOS], num_rows)])

    def _part(self, name: str, rows: np.ndarray) -> Ragged:
        if name == "history":
            position, row = self.window(rows)
            return self.chunks.take(row).merge(position, len(rows))
        if name == "query":
            return self.queries.take(self.query[rows])
        if name in VIEWS:
            return self.spell_items(rows, name == "semantic")
        return (self.texts if name == "text" else self.pseudo_queries).take(rows)

    def items(self, task: Task, rows: np.ndarray) -> np.ndarray:
        """The item (B,) behind each row of a task."""
        if task.events:
            return self.item[rows]
        return self.pseudo.item[rows] if "pseudo" in task.reads else rows

    def written(self, task: Task, rows: np.ndarray) -> Ragged:
        """What the model writes for `rows` of a task, not padded."""
        if task.writes == "codes":
            return self.spell_items(self.items(task, rows), task.view == "semantic")
        text = self._part("query" if task.events else "text", rows)
        return hstack([text, Ragged.repeat([EOS], len(rows))])

    def target_tokens(self, task: Task, rows: np.ndarray) -> int:
        """How many target tokens count in the loss. With the level head a behaviour token before
        codes is given, not predicted."""
        count = int(self.written(task, rows).lengths.sum())
        if task.writes == "codes" and self.settings.head != "vocabulary":
            count -= len(self.forced(task)) * len(rows)
        return count

    def batch(self, task: Task, rows: np.ndarray, prompt: np.ndarray | None = None) -> Batch:
        """Padded examples for rows (B,)."""
        source, mask = pad_and_mask(self.sources(task, rows, prompt), PAD)
        return Batch(task, source, mask, pad_and_mask(self.written(task, rows), PAD)[0])

    def lengths(self, task: Task, rows: np.ndarray, chunk: int = 100_000) -> np.ndarray:
        """Lengths (B,) for bucketing: the source with the first prompt, and a target of text."""
        lengths = [np.zeros(0, dtype=np.int64)]
        for begin in range(0, len(rows), chunk):  # all at once would hold every source in memory
            part = rows[begin : begin + chunk]
            text = self.written(task, part).lengths if task.writes == "text" else 0
            lengths.append(self.sources(task, part).lengths + text)
        return np.concatenate(lengths)
