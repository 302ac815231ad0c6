"""Several processes on one job: who takes which part, and how the parts come together.

In: lists, arrays and tables of one process. Out: the same of all processes, in the order of their
numbers. Everything here is the identity when one process runs alone. Nothing travels but numbers:
no pickle. This file does not know what is computed.
"""

import os
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import gather

Part = TypeVar("Part")


def rank_and_world() -> tuple[int, int]:
    """This process's number, and how many `accelerate launch` or `torchrun` started together."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    # Accelerate finds GPUs by itself, but must be told that several processes have only CPUs
    state = PartialState(cpu=not torch.accelerator.is_available())
    return state.process_index, state.num_processes


def my_share(parts: Sequence[Part], rank: int, world: int) -> list[Part]:
    """Every world-th of `parts`.

    Whole batches are dealt out, never rows: what shares a batch stays the same, so results over
    several processes are those of one, bit by bit, and no row is padded in to be counted twice.
    """
    # every world-th, not a block: parts are often sorted by length, and all get as much work
    return list(parts[rank::world])


def together(values: np.ndarray) -> np.ndarray:
    """Numbers (...) of this process -> (world, ...) of all.

    Every process must call it, with the same shape.
    """
    if rank_and_world()[1] == 1:
        return values[None]
    mine = torch.from_numpy(np.ascontiguousarray(values[None])).to(PartialState().device)
    return gather(mine).cpu().numpy()


def gather_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of numbers: the rows of all processes, those of the first one first, for every one.

    The tables may differ in length, also be empty, but not in columns and types.
    """
    counts = together(np.array([len(frame)]))[:, 0]  # (world,)
    columns = {}
    # a gather needs equal shapes: every column is padded to the longest table, then cut again
    for name in frame:
        padded = np.zeros(counts.max(), dtype=frame[name].dtype)
        padded[: len(frame)] = frame[name].to_numpy()
        columns[name] = np.concatenate(
            [rows[:n] for rows, n in zip(together(padded), counts, strict=True)]
        )
    return pd.DataFrame(columns)
