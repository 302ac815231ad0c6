"""Which number format matrix products use. In: a setting. Out: yes or no to bf16."""

from __future__ import annotations

import torch

from gensar_lite.config import ConfigError


def use_bf16(precision: str) -> bool:
    """Whether to run under bf16 autocast: ``bf16`` always, ``auto`` where the machine computes it natively."""
    if precision not in ("fp32", "bf16", "auto"):
        raise ConfigError(f"settings: precision {precision!r} is none of fp32, bf16, auto.")
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return bool(
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
