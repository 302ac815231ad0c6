"""The records that stages hand over, and the promises that are checked whenever one is loaded.

In: arrays and tables. Out: `Corpus`, `ItemEmbeddings`, `Identifiers`, on disk as parquet, json and
safetensors. This file does not know how any of them is computed, nor where a run keeps its folders.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

TASKS = ("recommend", "search")
SPLITS = ("train", "validation", "test")
VIEWS = ("semantic", "collaborative")
VIEW_OF_TASK = {"search": "semantic", "recommend": "collaborative"}
_COLUMNS = {
    "items": ["item_id", "title", "text", "brand", "category"],
    "queries": ["query_id", "text"],
    "events": ["event_id", "user_id", "time", "task", "item_id", "query_id", "split"],
    "relevance": ["query_id", "item_id", "grade"],
}


class ArtifactError(RuntimeError):
    """An artefact is missing, stale, damaged or breaks a promise; the message says what to do."""


def _refuse(wrong: np.ndarray, values: np.ndarray, message: str) -> None:
    """Raises `ArtifactError` if any row is `wrong` (N,), with the first one and its value (N,)."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise ArtifactError(message.format(row=rows[0], value=values[rows[0]]))


@dataclass(frozen=True)
class Corpus:
    """A catalogue, its queries and one log of behaviour.

    items      (N rows) ``item_id, title, text, brand, category``; category levels are joined
               by `` > ``
    queries    (Q rows) ``query_id, text``, often ``kind``, and from the data stage ``seen``: is it
               in a train search?
    events     ``event_id, user_id, time, task, item_id, query_id, split``, sorted by user, then
               time; ``query_id`` is -1 for recommendation
    relevance  ``query_id, item_id, grade``: every item that answers a query (grade >= 1)
    exclude_seen  the log's one rule about items of a user's own history: True leaves them out of
               every list of recommendations (judges, baselines, decoding); searches may always
               return them

    In `items`, `queries` and `events` the row number is the id. A user's own files keep their ids
    beside it: ``source_id`` in `items`, and `user_ids` (U,), None where there are none.
    """

    items: pd.DataFrame
    queries: pd.DataFrame
    events: pd.DataFrame
    relevance: pd.DataFrame
    exclude_seen: bool = True
    user_ids: np.ndarray | None = None

    @property
    def num_items(self) -> int:
        return len(self.items)

    @property
    def num_users(self) -> int:
        return int(self.events["user_id"].max()) + 1

    def targets(self, split: str, task: str | None = None) -> pd.DataFrame:
        """Events of one split (and task): what is to be predicted, each from its own history."""
        keep = self.events["split"] == split
        return self.events[keep if task is None else keep & (self.events["task"] == task)]

    def check(self) -> Corpus:
        """Assert the promises; returns self. Raises `ArtifactError` that names table and row."""
        # columns first, since every later check reads some
        for name, columns in _COLUMNS.items():
            missing = [c for c in columns if c not in getattr(self, name).columns]
            if missing:
                raise ArtifactError(
                    f"{name}: no column {', '.join(missing)}. Rebuild the data stage."
                )
        # the row number is the id: no table of ids is needed anywhere
        for name, column in (("items", "item_id"), ("queries", "query_id"), ("events", "event_id")):
            ids = getattr(self, name)[column].to_numpy()
            message = f"{name}: {column} must be the row number; row {{row}} holds {{value}}."
            _refuse(ids != np.arange(len(ids)), ids, message)
        self._check_events()
        return self

    def _check_events(self) -> None:
        events = self.events
        user, time = events["user_id"].to_numpy(), events["time"].to_numpy()
        back = (user[1:] < user[:-1]) | ((user[1:] == user[:-1]) & (time[1:] < time[:-1]))
        # `back` compares each row with the one before it, so its row 0 is the events' row 1
        _refuse(np.r_[False, back], user, "events: not sorted by user, then time (row {row}).")
        for column, size, low in (
            ("item_id", len(self.items), 0),
            ("query_id", len(self.queries), -1),  # -1: no query
        ):
            ids = events[column].to_numpy()
            message = f"events: {column} {{value}} in row {{row}} does not exist ({size} known)."
            _refuse((ids < low) | (ids >= size), ids, message)
        for column, valid in (("task", TASKS), ("split", SPLITS)):
            odd = sorted(set(events[column].unique()) - set(valid))
            if odd:
                raise ArtifactError(f"events: {column} {odd[0]!r} is none of {', '.join(valid)}.")
        # a search without a query could not be asked, a recommendation with one would leak it
        is_search = (events["task"] == "search").to_numpy()
        _refuse(
            is_search != (events["query_id"].to_numpy() >= 0),
            is_search,
            "events: row {row} must have a query exactly if its task is search.",
        )

    def save(self, folder: Path) -> None:
        """Write the tables and the log's rule into `folder`."""
        for name in _COLUMNS:
            getattr(self, name).to_parquet(folder / f"{name}.parquet", index=False)
        (folder / "corpus.json").write_text(json.dumps({"exclude_seen": self.exclude_seen}))
        if self.user_ids is not None:  # a user's own files had names for their users
            users = {"user_id": np.arange(len(self.user_ids)), "source_id": self.user_ids}
            pd.DataFrame(users).to_parquet(folder / "users.parquet", index=False)

    @staticmethod
    def load(folder: Path) -> Corpus:
        """The checked corpus of a folder that `save` has written."""
        # columns beyond the promised ones (kind, seen, source_id) come along
        tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in _COLUMNS}
        rules = json.loads((folder / "corpus.json").read_text())
        users = folder / "users.parquet"
        ids = pd.read_parquet(users)["source_id"].to_numpy() if users.exists() else None
        return Corpus(**tables, **rules, user_ids=ids).check()


@dataclass(frozen=True)
class ItemEmbeddings:
    """Views of every item: `semantic` (N, d_sem) of texts, `collaborative` (N, d_col) of behaviour.

    joint  (N, d) from one encoder trained on both tasks, or None
    cold   (N,) bool: nothing to learn from, so the collaborative row is the mean of its text
           neighbours'; None: not recorded
    """

    semantic: np.ndarray
    collaborative: np.ndarray
    joint: np.ndarray | None = None
    cold: np.ndarray | None = None

    def check(self) -> ItemEmbeddings:
        """Assert as many sound rows in every view; returns self.

        Raises `ArtifactError` with the item ids.
        """
        for name, table in self.tensors().items():
            if len(table) != len(self.semantic):
                raise ArtifactError(
                    f"embeddings: {len(self.semantic)} semantic rows but {len(table)} {name}."
                )
            if name != "cold":  # flags, not vectors
                check_vectors(table, name)
        return self

    def _present(self) -> dict[str, np.ndarray]:
        return {name: table for name, table in vars(self).items() if table is not None}

    def tensors(self) -> dict[str, np.ndarray]:
        """What there is, by name: the views as float32, `cold` as bool."""
        types = {"cold": bool}
        return {
            name: np.ascontiguousarray(table, dtype=types.get(name, np.float32))
            for name, table in self._present().items()
        }

    def rows(self, keep: slice | np.ndarray) -> ItemEmbeddings:
        """The same views of some items only; with a slice nothing is copied."""
        return ItemEmbeddings(**{name: table[keep] for name, table in self._present().items()})

    def save(self, folder: Path) -> None:
        """Write the views into one file of `folder`."""
        save_file(self.tensors(), folder / "embeddings.safetensors")

    @staticmethod
    def load(folder: Path) -> ItemEmbeddings:
        """The checked views of a folder that `save` has written."""
        return ItemEmbeddings(**load_file(folder / "embeddings.safetensors")).check()


def check_vectors(table: np.ndarray, view: str) -> None:
    """Assert that item vectors (N, d) are finite and not zero. Raises `ArtifactError` with ids."""
    wrong = {
        "hold NaN or infinity": ~np.isfinite(table).all(axis=1),
        "are zero": ~table.any(axis=1),
    }
    for what, rows in wrong.items():
        bad = np.flatnonzero(rows)
        if len(bad):
            raise ArtifactError(
                f"embeddings: {len(bad)} of {len(table)} {view} rows {what} "
                f"(items {', '.join(map(str, bad[:5]))}). Repair these vectors before quantizing."
            )


@dataclass(frozen=True)
class Identifiers:
    """Every item's code sequences: `semantic` and `collaborative`, (N, L) integers in [0, K).

    The first `num_shared` codes of an item agree in both views. A one-view strategy answers both
    with the same array and has ``num_shared == L``.
    """

    semantic: np.ndarray
    collaborative: np.ndarray
    num_shared: int
    codebook_size: int

    @property
    def num_levels(self) -> int:
        return self.semantic.shape[1]

    def view(self, name: str) -> np.ndarray:
        """Codes (N, L) of a view, or of the view that a task uses (``search``, ``recommend``)."""
        return getattr(self, VIEW_OF_TASK.get(name, name))

    def check(self) -> Identifiers:
        """Assert range, shared prefix and uniqueness per view; returns self.

        Raises `ArtifactError`.
        """
        shapes = self.semantic.shape, self.collaborative.shape
        if shapes[0] != shapes[1]:
            raise ArtifactError(
                f"identifiers: shapes differ: {shapes[0]} semantic, {shapes[1]} collaborative."
            )
        # the shared trunk: the same codes, whichever task asks
        shared = slice(0, self.num_shared)
        differ = (self.semantic[:, shared] != self.collaborative[:, shared]).any(axis=1)
        if differ.any():
            raise ArtifactError(
                f"identifiers: items {np.flatnonzero(differ)[:5].tolist()} do not share their "
                f"first {self.num_shared} codes."
            )
        for name in VIEWS:
            codes = getattr(self, name)
            if codes.size and (codes.min() < 0 or codes.max() >= self.codebook_size):
                raise ArtifactError(
                    f"identifiers: a {name} code lies outside [0, {self.codebook_size})."
                )
            # a model that generates a shared identifier could not say which item it means
            twins = len(codes) - len(np.unique(codes, axis=0))
            if twins:
                raise ArtifactError(
                    f"identifiers: {twins} items share a {name} identifier with another one."
                )
        return self

    def save(self, folder: Path) -> None:
        """Write the codes, an item per row, and their layout into `folder`."""
        table = {"item_id": np.arange(len(self.semantic))}
        table |= {view: list(getattr(self, view)) for view in VIEWS}
        pd.DataFrame(table).to_parquet(folder / "identifiers.parquet", index=False)
        layout = {"num_shared": self.num_shared, "codebook_size": self.codebook_size}
        (folder / "identifiers.json").write_text(json.dumps(layout))

    @staticmethod
    def load(folder: Path) -> Identifiers:
        """The checked identifiers of a folder that `save` has written."""
        table = pd.read_parquet(folder / "identifiers.parquet")
        layout = json.loads((folder / "identifiers.json").read_text())
        codes = {view: np.stack(table[view].to_numpy()) for view in VIEWS}
        return Identifiers(**codes, **layout).check()
