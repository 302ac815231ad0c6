"""One thread: sums in one order, so that the number of cores cannot change an identifier.

In: nothing. Out: a context (or decorator) in which numpy, faiss and torch compute with one thread each.
This file does not know what is computed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit every pool of threads to one, and give back what was there."""
    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
