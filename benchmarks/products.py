"""How near a call comes to the machine's limit: its matrix products, at the speed of such products.

In: a call, its seconds, a number format. Out: GFLOP, GFLOP/s, efficiency. A ratio of two methods
depends on how fast a machine's bf16 is; this share does not. This file does not know what is
computed.
"""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def product_speed(precision: str) -> float:
    """GFLOP/s of a model's usual product on the CPU, (2048, 512) by (512, 2048), median.

    The ratio of two formats bounds what a change of format alone can gain.
    """
    dtype = FORMATS[precision]
    x = torch.ones(2048, 512, dtype=dtype)
    weight = torch.ones(2048, 512, dtype=dtype)
    seconds = timeit.repeat(lambda: torch.nn.functional.linear(x, weight), number=1, repeat=9)
    return round(2 * 2048 * 512 * 2048 / statistics.median(seconds) / 1e9, 1)


def gflop_of(call: Callable[[], object]) -> float:
    """10^9 floating-point operations of the matrix products of one call, padding included, forward
    and backward; what else it computes is not counted."""
    with FlopCounterMode(display=False, custom_mapping=_by_onednn()) as counter:
        call()
    return counter.get_total_flops() / 1e9


def efficiency(call: Callable[[], object], seconds: float, precision: str) -> dict[str, float]:
    """Figures of a call that took `seconds`: its `gflop`, and which share of the seconds products
    of the measured speed would have needed."""
    gflop = gflop_of(call)
    share = gflop / (product_speed(precision) * seconds)
    return {"gflop": round(gflop, 1), "efficiency": round(share, 3)}


def _by_onednn() -> dict[object, Callable[..., int]]:
    """The product that torch's counter does not know, see `gensar_lite.decoding.steps`."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return {}

    def flops(x: torch.Size, weight: torch.Size, *_: object, **__: object) -> int:
        return 2 * x.numel() * weight[0]  # (..., d) by (R, d)

    return {torch.ops.mkldnn._linear_pointwise: flops}
