"""Records of items, vectors and codes, and the promises that are checked whenever one is loaded.

In: arrays. Out: `ItemEmbeddings`, `Identifiers`, on disk as parquet, json and safetensors. This
file does not know how either of them is computed, nor where a run keeps its folders.
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


class ArtifactError(RuntimeError):
    """An artefact is missing, stale, damaged or breaks a promise; the message says what to do."""


def refuse(wrong: object, message: str) -> None:
    """Raises `ArtifactError` if a promise is broken: `wrong` is true."""
    if wrong:
        raise ArtifactError(message)


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
        """Itself, with as many sound rows in every view; else `ArtifactError` with item ids."""
        # in the types that are saved: what overflows float32 is found before it is written
        rows = len(self.semantic)
        for name, table in self.tensors().items():
            differs = f"embeddings: {rows} semantic rows but {len(table)} {name}."
            refuse(len(table) != rows, differs)
            if name != "cold":  # flags, not vectors
                check_vectors(table, name)
        return self

    def _present(self) -> dict[str, np.ndarray]:
        return {name: table for name, table in vars(self).items() if table is not None}

    def tensors(self) -> dict[str, np.ndarray]:
        """What there is, by name: the views as float32, `cold` as bool."""
        return {
            name: np.ascontiguousarray(table, dtype=bool if name == "cold" else np.float32)
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
    for what, rows in (
        ("hold NaN or infinity", ~np.isfinite(table).all(axis=1)),
        ("are zero", ~table.any(axis=1)),
    ):
        bad = np.flatnonzero(rows)
        refuse(
            len(bad),
            f"embeddings: {len(bad)} of {len(table)} {view} rows {what} "
            f"(items {', '.join(map(str, bad[:5]))}). Repair these vectors before quantizing.",
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
        """Itself, with range, shared prefix and uniqueness per view; else `ArtifactError`."""
        one, other = self.semantic.shape, self.collaborative.shape
        differs = f"identifiers: shapes differ: {one} semantic, {other} collaborative."
        refuse(one != other, differs)
        # the shared trunk: the same codes, whichever task asks
        trunk = slice(0, self.num_shared)
        apart = (self.semantic[:, trunk] != self.collaborative[:, trunk]).any(axis=1)
        refuse(
            apart.any(),
            f"identifiers: items {np.flatnonzero(apart)[:5].tolist()} do not share their "
            f"first {self.num_shared} codes.",
        )
        for name in VIEWS:
            codes, size = getattr(self, name), self.codebook_size
            outside = codes.size and (codes.min() < 0 or codes.max() >= size)
            refuse(outside, f"identifiers: a {name} code lies outside [0, {size}).")
            # a model that generates a shared identifier could not say which item it means
            twins = len(codes) - len(np.unique(codes, axis=0))
            shared = f"identifiers: {twins} items share a {name} identifier with another one."
            refuse(twins, shared)
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
        # parquet holds lists per row, here they become (N, L)
        codes = {view: np.stack(table[view].to_numpy()) for view in VIEWS}
        return Identifiers(**codes, **layout).check()
