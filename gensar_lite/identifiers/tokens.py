"""Where identifiers live in a model's vocabulary: token ids by arithmetic.

In: the number of text tokens and an identifier layout. Out: integers, and back. The vocabulary is
``[text | <R_I> <S_Q> <S_I> | trunk levels | semantic levels | collaborative levels]``, K tokens per
level. This file does not know a tokenizer, a model, or what a code means.
"""

from dataclasses import dataclass

import numpy as np

from gensar_lite.artifacts import Identifiers

# item recommended, query issued, item clicked after a query
BEHAVIOURS = ("<R_I>", "<S_Q>", "<S_I>")


@dataclass(frozen=True)
class TokenLayout:
    """Offsets of behaviour tokens and code tokens after `num_text` text tokens."""

    num_text: int
    num_levels: int
    num_shared: int
    codebook_size: int

    @property
    def recommend_item(self) -> int:
        return self.num_text

    @property
    def search_query(self) -> int:
        return self.num_text + 1

    @property
    def search_item(self) -> int:
        return self.num_text + 2

    @property
    def size(self) -> int:
        """Number of tokens in all."""
        return self.level_offset("collaborative", self.num_levels)

    def level_offset(self, view: str, level: int) -> int:
        """Token id of code 0 at a level (from 0) of a view."""
        block = level
        if view == "collaborative" and level >= self.num_shared:
            block += self.num_levels - self.num_shared  # past the semantic branch
        return self.num_text + len(BEHAVIOURS) + block * self.codebook_size

    def offsets(self, view: str) -> np.ndarray:
        """Token id of code 0 at every level, (L,)."""
        return np.array([self.level_offset(view, level) for level in range(self.num_levels)])

    def tokens(self, codes: np.ndarray, view: str) -> np.ndarray:
        """Codes (..., L) of a view as token ids of the same shape."""
        return codes + self.offsets(view)

    def codes(self, tokens: np.ndarray, view: str) -> np.ndarray:
        """Token ids (..., L) of a view back to codes. Raises ValueError for others."""
        codes = tokens - self.offsets(view)
        if ((codes < 0) | (codes >= self.codebook_size)).any():
            raise ValueError(f"tokens: not a {view} identifier: {tokens.tolist()}")
        return codes

    def name(self, token: int) -> str:
        """A token's readable name, e.g. ``sem3:17``; text tokens are ``text:<id>``."""
        if token < self.num_text:
            return f"text:{token}"
        place = token - self.num_text
        if place < len(BEHAVIOURS):
            return BEHAVIOURS[place]
        block, code = divmod(place - len(BEHAVIOURS), self.codebook_size)
        if block >= self.num_levels:
            return f"col{block - (self.num_levels - self.num_shared) + 1}:{code}"
        return f"{'shared' if block < self.num_shared else 'sem'}{block + 1}:{code}"


def layout_for(identifiers: Identifiers, num_text: int) -> TokenLayout:
    """The layout that fits a catalogue's identifiers."""
    return TokenLayout(
        num_text, identifiers.num_levels, identifiers.num_shared, identifiers.codebook_size
    )
