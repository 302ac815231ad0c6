"""Which number format matrix products use: a setting, or what a short measurement prefers.

In: ``fp32``, ``bf16`` or ``auto``. Out: yes or no to bf16, and facts for a stage's ``meta.json``.
A processor that knows bf16 may still be slower with it: with avx512_bf16 and without AMX, products
ran at .57 times the speed of fp32. This file does not know models.
"""

from functools import partial

import torch

from gensar_lite.machine.measured import WORTH, times_faster

# (rows, width, hidden width) of a layer of SASRec, of a small generator and of the text encoder
SHAPES = ((2048, 64, 256), (1024, 256, 1024), (256, 384, 1536))


def use_bf16(precision: str) -> bool:
    """Whether to run under bf16 autocast: ``bf16`` always, ``fp32`` never, ``auto`` where it pays.

    On a GPU it pays where the hardware knows the format, on a CPU where it is at least `WORTH`
    times faster.
    """
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():  # whose products in bf16 are faster wherever they exist
        return torch.cuda.is_bf16_supported()
    return bf16_speedup() >= WORTH


def bf16_speedup() -> float:
    """How many times faster this processor multiplies in bf16 than in fp32, measured once.

    0 where it does not know the format: emulated products are always slower.
    """
    if not _knows_bf16():
        return 0.0
    # with other threads other products win, so each number of threads has its own answer
    choice = f"bf16 on {torch.get_num_threads()} threads"
    return times_faster(choice, partial(_products, False), partial(_products, True))


def how_computed(precision: str) -> dict[str, object]:
    """Format and threads of the work at hand, for a stage's ``meta.json``."""
    facts = {"bf16": use_bf16(precision), "threads": torch.get_num_threads()}
    if precision == "auto" and not torch.cuda.is_available():
        facts["bf16_times_faster"] = bf16_speedup()
    return facts


def _knows_bf16() -> bool:
    mkldnn = torch.backends.mkldnn.is_available()
    return mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _products(bf16: bool) -> None:
    """Two layers of each shape as training computes them: under autocast, with its casts."""
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for rows, width, hidden in SHAPES:
            # ones, since a draw would move the random numbers of the run
            x = torch.ones(rows, width)  # (rows, width)
            x = x @ torch.ones(width, hidden)  # (rows, hidden)
            x @ torch.ones(hidden, width)  # (rows, width)
