"""The records that stages hand over, and the promises that are checked whenever one is loaded.

In: arrays and tables. Out: `Corpus`, `ItemEmbeddings`, `Identifiers`, on disk as parquet, json and safetensors.
This file does not know how any of them is computed, nor where a run keeps its folders.
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
    """An artefact is missing, stale, damaged or breaks a promise; the message names the next step."""


@dataclass(frozen=True)
class Corpus:
    """A catalogue, its queries and one log of behaviour.

    items      (N rows) ``item_id, title, text, brand, category``; category levels are joined by `` > ``
    queries    (Q rows) ``query_id, text``, often ``kind``, and from the data stage ``seen``: is it in a train search?
    events     ``event_id, user_id, time, task, item_id, query_id, split``, sorted by user, then time;
               ``query_id`` is -1 for recommendation
    relevance  ``query_id, item_id, grade``: every item that answers a query (grade >= 1)
    exclude_seen  the log's one rule about items of a user's own history: True leaves them out of every list of
               recommendations (judges, baselines, decoding); searches may always return them

    In `items`, `queries` and `events` the row number is the id. Own files keep their ids beside it: ``source_id`` in
    `items`, and `user_ids` (U,), None where there are none.
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
        """Assert the promises; returns self. Raises `ArtifactError` that names the table and rows."""
        for name, columns in _COLUMNS.items():
            missing = [c for c in columns if c not in getattr(self, name).columns]
            if missing:
                raise ArtifactError(f"{name}: no column {', '.join(missing)}. Rebuild the data stage.")
        for name, column in (("items", "item_id"), ("queries", "query_id"), ("events", "event_id")):
            ids = getattr(self, name)[column].to_numpy()
            wrong = np.flatnonzero(ids != np.arange(len(ids)))
            if len(wrong):
                raise ArtifactError(f"{name}: {column} must be the row number; row {wrong[0]} holds {ids[wrong[0]]}.")
        user, when = self.events["user_id"].to_numpy(), self.events["time"].to_numpy()
        bad = np.flatnonzero((user[1:] < user[:-1]) | ((user[1:] == user[:-1]) & (when[1:] < when[:-1])))
        if len(bad):
            raise ArtifactError(f"events: not sorted by user, then time (row {bad[0] + 1}).")
        for column, size in (("item_id", len(self.items)), ("query_id", len(self.queries))):
            ids = self.events[column].to_numpy()
            low = -1 if column == "query_id" else 0
            bad = np.flatnonzero((ids < low) | (ids >= size))
            if len(bad):
                raise ArtifactError(f"events: {column} {ids[bad[0]]} in row {bad[0]} does not exist ({size} known).")
        for column, valid in (("task", TASKS), ("split", SPLITS)):
            odd = sorted(set(self.events[column].unique()) - set(valid))
            if odd:
                raise ArtifactError(f"events: {column} {odd[0]!r} is none of {', '.join(valid)}.")
        is_search = (self.events["task"] == "search").to_numpy()
        bad = np.flatnonzero(is_search != (self.events["query_id"].to_numpy() >= 0))
        if len(bad):
            raise ArtifactError(f"events: row {bad[0]} must have a query exactly if its task is search.")
        return self

    def save(self, folder: Path) -> None:
        for name in _COLUMNS:
            getattr(self, name).to_parquet(folder / f"{name}.parquet", index=False)
        (folder / "corpus.json").write_text(json.dumps({"exclude_seen": self.exclude_seen}))
        if self.user_ids is not None:
            users = pd.DataFrame({"user_id": np.arange(len(self.user_ids)), "source_id": self.user_ids})
            users.to_parquet(folder / "users.parquet", index=False)

    @staticmethod
    def load(folder: Path) -> Corpus:
        tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in _COLUMNS}
        rules, users = json.loads((folder / "corpus.json").read_text()), folder / "users.parquet"
        ids = pd.read_parquet(users)["source_id"].to_numpy() if users.exists() else None
        return Corpus(**tables, **rules, user_ids=ids).check()


@dataclass(frozen=True)
class ItemEmbeddings:
    """Views of every item: `semantic` (N, d_sem) from text, `collaborative` (N, d_col) from behaviour.

    joint  (N, d) from one encoder trained on both tasks, or None
    cold   (N,) bool: nothing to learn from, so the collaborative row is its text neighbours' mean; None: not recorded
    """

    semantic: np.ndarray
    collaborative: np.ndarray
    joint: np.ndarray | None = None
    cold: np.ndarray | None = None

    def check(self) -> ItemEmbeddings:
        """Assert as many sound rows in every view; returns self. Raises `ArtifactError` with the item ids."""
        for name, table in self.tensors().items():
            if len(table) != len(self.semantic):
                raise ArtifactError(f"embeddings: {len(self.semantic)} semantic rows but {len(table)} {name}.")
            if name != "cold":
                check_vectors(table, name)
        return self

    def tensors(self) -> dict[str, np.ndarray]:
        """What there is, by name: the views as float32, `cold` as bool."""
        there = {name: table for name, table in vars(self).items() if table is not None}
        return {k: np.ascontiguousarray(v, dtype=bool if k == "cold" else np.float32) for k, v in there.items()}

    def rows(self, keep: slice | np.ndarray) -> ItemEmbeddings:
        """The same views of some items only; with a slice nothing is copied."""
        return ItemEmbeddings(**{name: table[keep] for name, table in vars(self).items() if table is not None})

    def save(self, folder: Path) -> None:
        save_file(self.tensors(), folder / "embeddings.safetensors")

    @staticmethod
    def load(folder: Path) -> ItemEmbeddings:
        return ItemEmbeddings(**load_file(folder / "embeddings.safetensors")).check()


def check_vectors(table: np.ndarray, view: str) -> None:
    """Assert that item vectors (N, d) are finite and not zero. Raises `ArtifactError` with item ids."""
    for what, wrong in (("hold NaN or infinity", ~np.isfinite(table).all(axis=1)), ("are zero", ~table.any(axis=1))):
        bad = np.flatnonzero(wrong)
        if len(bad):
            raise ArtifactError(
                f"embeddings: {len(bad)} of {len(table)} {view} rows {what} "
                f"(items {', '.join(map(str, bad[:5]))}). Repair these vectors before quantizing."
            )


@dataclass(frozen=True)
class Identifiers:
    """Every item's code sequences: `semantic` and `collaborative`, both (N, L) integers in [0, K).

    The first `num_shared` codes of an item agree in both views. A one-view strategy answers both with the
    same array and has ``num_shared == L``.
    """

    semantic: np.ndarray
    collaborative: np.ndarray
    num_shared: int
    codebook_size: int

    @property
    def num_levels(self) -> int:
        return self.semantic.shape[1]

    def view(self, name: str) -> np.ndarray:
        """Codes (N, L) of ``semantic`` or ``collaborative``, or of a task's view (``search``, ``recommend``)."""
        return getattr(self, VIEW_OF_TASK.get(name, name))

    def check(self) -> Identifiers:
        """Assert range, shared prefix and uniqueness per view; returns self. Raises `ArtifactError`."""
        if self.semantic.shape != self.collaborative.shape:
            raise ArtifactError(
                f"identifiers: shapes differ: {self.semantic.shape} semantic, {self.collaborative.shape} collaborative."
            )
        bad = np.flatnonzero(
            (self.semantic[:, : self.num_shared] != self.collaborative[:, : self.num_shared]).any(axis=1)
        )
        if len(bad):
            raise ArtifactError(
                f"identifiers: items {bad[:5].tolist()} do not share their first {self.num_shared} codes."
            )
        for name in VIEWS:
            codes = getattr(self, name)
            if codes.size and (codes.min() < 0 or codes.max() >= self.codebook_size):
                raise ArtifactError(f"identifiers: a {name} code lies outside [0, {self.codebook_size}).")
            twins = len(codes) - len(np.unique(codes, axis=0))
            if twins:
                raise ArtifactError(f"identifiers: {twins} items share a {name} identifier with another one.")
        return self

    def save(self, folder: Path) -> None:
        frame = {"item_id": np.arange(len(self.semantic))} | {view: list(getattr(self, view)) for view in VIEWS}
        pd.DataFrame(frame).to_parquet(folder / "identifiers.parquet", index=False)
        layout = {"num_shared": self.num_shared, "codebook_size": self.codebook_size}
        (folder / "identifiers.json").write_text(json.dumps(layout))

    @staticmethod
    def load(folder: Path) -> Identifiers:
        frame = pd.read_parquet(folder / "identifiers.parquet")
        layout = json.loads((folder / "identifiers.json").read_text())
        return Identifiers(**{view: np.stack(frame[view].to_numpy()) for view in VIEWS}, **layout).check()
