"""How likely a query is, given an item: the channel of Bayes' rule for search.

P(item | query, history) is proportional to P(item | history) * P(query | item). The second factor
needs items' texts alone: it knows every query that nobody has asked yet, and none that uses other
words than the items do. Words are drawn one by one from a mixture of the item's text and of all
texts (Ponte and Croft 1998; Dirichlet smoothing: Zhai and Lafferty 2004):

    log P(q | i) = sum over words w of q:  log((count(w, i) + mu * P(w)) / (length(i) + mu))

In: a corpus, query strings. Out: log-probabilities (B, N). No search of any split is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from gensar_lite.artifacts import Corpus
from gensar_lite.data.index_words import index_words, item_words


@dataclass(frozen=True)
class WordCounts:
    """Words of a catalogue, V of them, counted per item.

    number  word -> column
    counts  (V, N) how often each word stands in each item
    """

    number: dict[str, int]
    counts: csr_matrix

    @staticmethod
    def of(corpus: Corpus) -> WordCounts:
        """Of every item's title and text."""
        lists = item_words(corpus)
        number: dict[str, int] = {}
        word = [number.setdefault(name, len(number)) for words in lists for name in words]
        item = np.repeat(np.arange(len(lists)), [len(words) for words in lists])
        table = csr_matrix(
            (np.ones(len(word), np.float32), (word, item)), (len(number), len(lists))
        )
        return WordCounts(number, table)


class QueryLikelihood:
    """log P(query | item) of every item, smoothed by `mu` words of the whole catalogue."""

    def __init__(self, words: WordCounts, mu: float):
        counts = words.counts
        self.number, self.mu = words.number, mu
        total = np.asarray(counts.sum(axis=1)).ravel()  # (V,)
        self.background = np.log(mu * total / max(total.sum(), 1)).astype(np.float32)  # (V,)
        length = np.asarray(counts.sum(axis=0)).ravel()  # (N,)
        self.log_length = np.log(length + mu).astype(np.float32)
        # what an item gains over one without the word: log(1 + count / (mu * P(w))), sparse as the
        # counts are
        gain = counts.copy()
        row = np.repeat(np.arange(len(total)), np.diff(gain.indptr))
        gain.data = np.log1p(gain.data / np.exp(self.background)[row])
        self.gain = gain

    def log_probability(self, queries: Sequence[str]) -> np.ndarray:
        """(B, N) of B query strings. A word that no item has says nothing of items, and is left
        out; a query of such words alone is 0 everywhere."""
        asked, place = np.unique(np.asarray(queries, dtype=object), return_inverse=True)
        known = [[self.number[w] for w in index_words(text) if w in self.number] for text in asked]
        sizes = np.array([len(words) for words in known])
        row = np.repeat(np.arange(len(asked)), sizes)
        column = np.array([word for words in known for word in words], dtype=np.int64)
        ones = np.ones(len(column), dtype=np.float32)
        bags = csr_matrix((ones, (row, column)), (len(asked), len(self.background)))  # (Q, V)
        table = (bags @ self.gain).toarray()  # (Q, N)
        table += (bags @ self.background)[:, None]
        table -= sizes[:, None].astype(np.float32) * self.log_length
        return table[place]
