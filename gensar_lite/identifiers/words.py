"""What a code says: the words that are typical of its items, and some of their titles.

In: codes (N, L), texts and titles. Out: one row per code, to read in a notebook. Texts are
strangers': to be escaped where they are shown, never written to a report of real data.
"""

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from gensar_lite.data.words import WRITTEN, words_of

MAX_CHARACTERS = 512  # of a text: what is typical stands at its beginning


def typical_words(texts: list[str], groups: np.ndarray, top: int = 5) -> dict[int, list[str]]:
    """The `top` words of each group (N,) of `texts`, most typical first, equals by the alphabet.

    c-TF-IDF (Grootendorst, arXiv 2203.05794, eq. 2): ``tf(word, group) * log(1 + A / tf(word))``
    with A the mean number of words per group. A group without words has an empty list.
    """
    names, group = np.unique(groups, return_inverse=True)

    def words(text: str) -> list[str]:
        return [word for word in words_of(text, WRITTEN, 2) if word not in ENGLISH_STOP_WORDS]

    try:
        reader = CountVectorizer(analyzer=words, dtype=np.int64)
        counts = reader.fit_transform([text[:MAX_CHARACTERS] for text in texts])  # (N, V)
    except ValueError:  # not one word in all texts
        return {int(name): [] for name in names}
    member = csr_matrix((np.ones(len(group)), (group.ravel(), np.arange(len(group)))))  # (G, N)
    of_group = csr_matrix(member @ counts)  # (G, V)
    of_all = np.asarray(of_group.sum(axis=0)).ravel()  # (V,)
    weight = np.log1p(of_group.sum() / len(names) / of_all)  # (V,)
    vocabulary = reader.get_feature_names_out()  # sorted
    typical = {}
    for row, name in enumerate(names):
        part = of_group[[row]]
        order = np.lexsort((part.indices, -part.data * weight[part.indices]))[:top]
        typical[int(name)] = vocabulary[part.indices[order]].tolist()
    return typical


def code_words(
    codes: np.ndarray,
    items: pd.DataFrame,
    prefix: tuple[int, ...] = (),
    level: int | None = None,
    top: int = 5,
) -> pd.DataFrame:
    """What each code of a level says: ``code, items, words, examples``, the largest code first.

    `items` (N rows) has ``title`` and ``text``. With `prefix`, the codes that follow it, compared
    with each other; else those of `level` (from 1). ``examples`` are the first `top` titles.
    """
    level = level or len(prefix) + 1
    rows = (codes[:, : len(prefix)] == np.array(prefix, dtype=codes.dtype)).all(axis=1)
    code = codes[rows, level - 1]
    part = items[rows]
    texts = (part["title"] + " " + part["text"]).tolist()
    typical = typical_words(texts, code, top) if texts else {}
    titles = part["title"].to_numpy()
    table = [
        (number, int((code == number).sum()), words, titles[code == number][:top].tolist())
        for number, words in typical.items()
    ]
    table.sort(key=lambda row: (-row[1], row[0]))
    return pd.DataFrame(table, columns=["code", "items", "words", "examples"])
