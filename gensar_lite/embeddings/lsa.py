"""Latent semantic analysis: the semantic view without a model, from word counts and linear algebra.

In: texts. Out: (N, d) unit rows, and the same space for other texts. A baseline: what an encoder
adds is what it does better than this. This file knows no word that the catalogue does not use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.words import WRITTEN, words_of


@dataclass(frozen=True)
class LSA:
    """TF-IDF weights of words, then their strongest directions (Deerwester et al., 1990)."""

    words: TfidfVectorizer
    directions: TruncatedSVD

    @staticmethod
    def fit(texts: list[str], dim: int, seed: int) -> LSA:
        """Learn words and at most `dim` directions from the catalogue's texts.

        Raises `ArtifactError` when the texts hold no word at all.
        """
        words = TfidfVectorizer(sublinear_tf=True, analyzer=_words)
        try:
            counts = words.fit_transform(texts)  # (N, V)
        except ValueError:
            raise ArtifactError(
                f"embeddings: the {len(texts)} item texts hold no word, so lsa has nothing to "
                "count. Bring titles, or set embeddings.encoder to a text encoder."
            ) from None
        directions = TruncatedSVD(min(dim, *counts.shape), n_iter=7, random_state=seed).fit(counts)
        return LSA(words, directions)

    def transform(self, texts: list[str]) -> np.ndarray:
        """Unit rows (B, d) of any texts; zero for a text without a known word."""
        if not texts:  # scikit-learn refuses an empty table; a log without searches has no query
            return np.zeros((0, len(self.directions.components_)), dtype=np.float32)
        return normalize(self.directions.transform(self.words.transform(texts))).astype(np.float32)


def _words(text: str) -> list[str]:
    return words_of(text, WRITTEN)
