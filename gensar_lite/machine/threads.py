"""How many threads compute: one where sums must have one order, else as many as are worth it.

In: the width of a model. Out: contexts (or decorators) with that number of threads. On a busy
machine two threads wait for each other longer than they compute, so that one can be faster.
This file does not know what is computed.
"""

import contextlib
import os
from collections.abc import Iterator
from functools import partial

import psutil
import torch
from threadpoolctl import threadpool_limits

from gensar_lite.machine.measured import WORTH, times_faster

TOKENS = 2048  # rows of the measured product, as in a batch of short histories
WIDEST = 512  # wider models are measured at this width: it decides alike and stays short


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """numpy, faiss and torch compute with one thread each: one order of sums on any machine."""
    # threadpoolctl reaches numpy's and faiss's pools, torch has its own switch
    with threadpool_limits(1), _torch_threads(1):
        yield


@contextlib.contextmanager
def threads_for(width: int) -> Iterator[None]:
    """torch computes with `preferred_threads(width)`."""
    with _torch_threads(preferred_threads(width)):
        yield


def preferred_threads(width: int) -> int:
    """1 or all, whichever this machine was faster with when a model of `width` was first trained.

    All must be `WORTH` times faster.
    """
    speedup = threads_speedup(width)
    return 1 if speedup is not None and speedup < WORTH else torch.get_num_threads()


def threads_speedup(width: int) -> float | None:
    """How many times faster all threads train a layer of `width` than one, measured once.

    None where there is nothing to choose: one thread, a GPU, or the user's own choice, which wins:
    OMP_NUM_THREADS (or MKL_NUM_THREADS), or a number that is not the one torch starts with.
    """
    threads, width = torch.get_num_threads(), min(width, WIDEST)
    if threads == 1 or torch.cuda.is_available() or _chosen_by_user(threads):
        return None
    choice = f"{threads} threads at width {width}"
    return times_faster(choice, partial(_step, 1, width), partial(_step, threads, width))


def _step(threads: int, width: int) -> None:
    """A training step of one feed-forward layer, forward and backward."""
    with _torch_threads(threads), torch.enable_grad():
        x = torch.ones(TOKENS, width)  # (TOKENS, width)
        inner = torch.ones(width, 4 * width, requires_grad=True)
        outer = torch.ones(4 * width, width, requires_grad=True)
        (torch.relu(x @ inner) @ outer).sum().backward()


def _chosen_by_user(threads: int) -> bool:
    if os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS"):
        return True
    # torch starts with all cores or, on some machines, with one thread for two of them
    return threads not in (psutil.cpu_count(logical=False), psutil.cpu_count(), usable_cores())


def usable_cores() -> int:
    """Cores that this process may run on; a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _torch_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
