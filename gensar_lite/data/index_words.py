"""The words by which queries and items meet, for every system that matches words.

In: texts. Out: lists of words. A word is what `words_of` calls one, of two letters or more, without
English stop words and plural endings: queries made from category paths have none either.
This file counts and weighs nothing.
"""

from functools import lru_cache

from bm25s.stopwords import STOPWORDS_EN

from gensar_lite.artifacts import Corpus
from gensar_lite.data.queries import stem
from gensar_lite.data.words import WRITTEN, words_of

MAX_CHARACTERS = 2000  # of a text that are read
_STOP_WORDS = frozenset(STOPWORDS_EN)
_stem = lru_cache(1 << 18)(stem)


def index_words(text: str) -> list[str]:
    """The words of a text, in order."""
    words = words_of(text[:MAX_CHARACTERS], WRITTEN, 2)
    return [_stem(word) for word in words if word not in _STOP_WORDS]


def item_words(corpus: Corpus) -> list[list[str]]:
    """The words of every item's title and text, N lists; a text that repeats its title counts it
    once."""
    titles, texts = corpus.items["title"].fillna(""), corpus.items["text"].fillna("")
    pairs = zip(titles, texts, strict=True)
    return [
        index_words(text if text.startswith(title) else f"{title} {text}") for title, text in pairs
    ]
