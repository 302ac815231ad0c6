"""The record of the data stage: a catalogue, its queries, one log of behaviour.

In: tables. Out: `Corpus`, whose promises are checked whenever one is loaded, on disk as parquet.
This file does not know where the tables come from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts.records import SPLITS, TASKS, refuse

_COLUMNS = {
    "items": ["item_id", "title", "text", "brand", "category"],
    "queries": ["query_id", "text"],
    "events": ["event_id", "user_id", "time", "task", "item_id", "query_id", "split"],
    "relevance": ["query_id", "item_id", "grade"],
}


def _refuse_rows(wrong: np.ndarray, values: np.ndarray, message: str) -> None:
    """`refuse` if any row is `wrong` (N,), with the first one and its value of `values` (N,)."""
    for row in np.flatnonzero(wrong)[:1]:
        refuse(True, message.format(row=row, value=values[row]))


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
        # rows keep their event_id, by which histories are found
        keep = self.events["split"] == split
        return self.events[keep if task is None else keep & (self.events["task"] == task)]

    def check(self) -> Corpus:
        """Itself, with all promises kept; else `ArtifactError` that names table and row."""
        # columns first, since every later check reads some
        for name, columns in _COLUMNS.items():
            missing = ", ".join(c for c in columns if c not in getattr(self, name).columns)
            refuse(missing, f"{name}: no column {missing}. Rebuild the data stage.")
        # the row number is the id: no table of ids is needed anywhere
        for name, column in (("items", "item_id"), ("queries", "query_id"), ("events", "event_id")):
            ids = getattr(self, name)[column].to_numpy()
            message = f"{name}: {column} must be the row number; row {{row}} holds {{value}}."
            _refuse_rows(ids != np.arange(len(ids)), ids, message)
        self._check_events()
        return self

    def _check_events(self) -> None:
        events = self.events
        # 1. order: a history is the slice of rows before an event
        user, time = events["user_id"].to_numpy(), events["time"].to_numpy()
        back = (user[1:] < user[:-1]) | ((user[1:] == user[:-1]) & (time[1:] < time[:-1]))
        # `back` compares each row with the one before it, so its row 0 is the events' row 1
        _refuse_rows(np.r_[False, back], user, "events: not sorted by user, then time (row {row}).")
        # 2. ids lead to rows that exist; -1: no query
        for column, size, low in (
            ("item_id", len(self.items), 0),
            ("query_id", len(self.queries), -1),
        ):
            ids = events[column].to_numpy()
            message = f"events: {column} {{value}} in row {{row}} does not exist ({size} known)."
            _refuse_rows((ids < low) | (ids >= size), ids, message)
        # 3. words are those that later stages look for
        for column, valid in (("task", TASKS), ("split", SPLITS)):
            odd = next(iter(sorted(set(events[column].unique()) - set(valid))), None)
            refuse(odd is not None, f"events: {column} {odd!r} is none of {', '.join(valid)}.")
        # a search without a query could not be asked, a recommendation with one would leak it
        is_search = (events["task"] == "search").to_numpy()
        message = "events: row {row} must have a query exactly if its task is search."
        _refuse_rows(is_search != (events["query_id"].to_numpy() >= 0), is_search, message)

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
