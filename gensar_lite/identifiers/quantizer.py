"""Residual quantization: a vector becomes codes, each naming what the ones before left over.

In: latents (N, d), codebooks (L, K, d). Out: codes (N, L), the last residual (N, d). This file does
not know how codebooks are fitted, nor which items collide.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gensar_lite.artifacts import VIEWS

# how a level chooses: vectors (N, d), codebook (K, d) -> codes (N,)
Choose = Callable[[np.ndarray, np.ndarray], np.ndarray]


class DualCodebooks(NamedTuple):
    """A shared trunk and one branch per view (GenSAR, section 3.2)."""

    trunk: np.ndarray  # (L_m, K, 2d) quantizes [z_s ; z_c]
    semantic: np.ndarray  # (L_n, K, d) quantizes the first half of what the trunk left over
    collaborative: np.ndarray  # (L_n, K, d) quantizes the second half

    @property
    def num_shared(self) -> int:
        return self.trunk.shape[0]

    @property
    def num_codes(self) -> int:
        return self.trunk.shape[1]

    @property
    def num_levels(self) -> int:
        return self.trunk.shape[0] + self.semantic.shape[0]

    def last(self, view: str) -> np.ndarray:
        """The codebook (K, d) of a view's last level: its branch's, or else the trunk's."""
        branch = getattr(self, view)
        return branch[-1] if len(branch) else self.trunk[-1]


class DualCodes(NamedTuple):
    """Codes (N, L) and residuals before the last level (N, d) of each view: what repair needs."""

    semantic: np.ndarray
    collaborative: np.ndarray
    last_residual: dict[str, np.ndarray]


def squared_distances(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """||x - e||^2 up to a term constant in e: (N, d), (K, d) -> (N, K)."""
    return (codebook**2).sum(axis=1)[None, :] - 2 * vectors @ codebook.T


def nearest(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The nearest codeword of each vector, (N,). Ties go to the lower code."""
    return squared_distances(vectors, codebook).argmin(axis=1)


def residual_quantize(
    vectors: np.ndarray, codebooks: np.ndarray, choose: Choose = nearest
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Codes (N, L), and the residual before each level plus the final one (L + 1 times (N, d)).

    Level l encodes ``r_l = x - sum of the codewords chosen before`` (Lee et al. 2022, eq. 2).
    """
    residuals = [vectors]
    codes = np.zeros((len(vectors), len(codebooks)), dtype=np.int64)
    for level, codebook in enumerate(codebooks):
        codes[:, level] = choose(residuals[-1], codebook)
        residuals.append(residuals[-1] - codebook[codes[:, level]])
    return codes, residuals


def dual_quantize(
    latents: tuple[np.ndarray, ...], books: DualCodebooks, choose: Choose = nearest
) -> DualCodes:
    """Codes of both views, (N, L_m + L_n) each: the trunk's, then those of the view's branch.

    `latents` are (N, d) of each view, or a single one that has nothing but a trunk.
    """
    joint = np.concatenate(latents, axis=1)  # (N, 2d)
    shared, trunk_residuals = residual_quantize(joint, books.trunk, choose)
    # the trunk's remainder falls apart into what it left of z_s and of z_c, (N, d) each
    halves = np.split(trunk_residuals[-1], [latents[0].shape[1]], axis=1)
    codes = []
    last = {}
    for view, half in zip(VIEWS, halves, strict=True):
        of_branch, residuals = residual_quantize(half, getattr(books, view), choose)
        codes.append(np.concatenate([shared, of_branch], axis=1))
        last[view] = residuals[-2] if len(residuals) > 1 else trunk_residuals[-2]
    return DualCodes(*codes, last)
