"""What codes mean: do items with one prefix belong together, by category, purchase or view?

In: codes (N, L) of one view, beside labels, train events or item vectors. Out: one number per
prefix depth or level. Any identifier can be asked, whoever made it: no codebook is read. This file
does not judge, and reads no text.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.metrics import normalized_mutual_info_score

from gensar_lite.identifiers.usage import prefix_numbers


def prefix_purity(codes: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Per prefix depth: number of prefixes, items per prefix, purity by labels `groups` (N,).

    Purity, in [0, 1], is the share of items that belong to the most frequent group of their prefix.
    It rises to 1 as prefixes become single items, so compare it with that of shuffled labels.
    """
    labels = pd.factorize(np.asarray(groups))[0]
    rows = []
    for depth, prefix in enumerate(prefix_numbers(codes).T, start=1):
        count = pd.Series(labels).groupby([prefix, labels]).size()
        most = count.groupby(level=0).max()  # items of each prefix's most frequent group
        rows.append(
            {
                "depth": depth,
                "prefixes": len(most),
                "items_per_prefix": len(codes) / len(most),
                "purity": float(most.sum() / len(codes)),
            }
        )
    return pd.DataFrame(rows)


def level_information(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Normalised mutual information of each level's code alone with `groups` (N,): (L,) in [0, 1].

    ``I(code; group)`` over the mean of both entropies (scikit-learn). Deep levels code what is left
    over, so little is expected of them.
    """
    labels = pd.factorize(np.asarray(groups))[0]
    return np.array([normalized_mutual_info_score(labels, code) for code in codes.T])


def co_purchase_lift(codes: np.ndarray, events: pd.DataFrame) -> np.ndarray:
    """How much more often a user's two items share a prefix than any two purchases do, (L,).

    ``P(same prefix | same user) / P(same prefix | any two purchases)``, pairs of different items,
    from **train** events of recommendation alone. The second is weighted by popularity as the first
    is, so random codes have a lift of about 1. NaN where no two items share a prefix, as at the
    last depth of unique identifiers, or nobody bought two.
    """
    bought = events[(events["split"] == "train") & (events["task"] == "recommend")]
    bought = bought[["user_id", "item_id"]].drop_duplicates()
    user, item = (bought[column].to_numpy() for column in bought)
    count = np.bincount(item, minlength=len(codes))  # (N,) purchases of an item
    of_users = _pairs(np.bincount(user)) if len(user) else 0
    of_log = count.sum() ** 2 - (count**2).sum()
    lift = np.full(codes.shape[1], np.nan)
    for depth, prefix in enumerate(prefix_numbers(codes).T):
        # pairs of one user's purchases with the same prefix, then of the whole log's
        key = user * (prefix.max(initial=0) + 1) + prefix[item]
        together = _pairs(np.unique(key, return_counts=True)[1])
        mass = np.bincount(prefix, weights=count)
        by_chance = (mass**2).sum() - (count**2).sum()
        if of_users and by_chance:
            lift[depth] = (together / of_users) / (by_chance / of_log)
    return lift


def _pairs(sizes: np.ndarray) -> int:
    """Ordered pairs inside groups of these sizes."""
    return int((sizes * (sizes - 1)).sum())


def neighbour_recall(codes: np.ndarray, near: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Share of an item's neighbours that a prefix keeps together with it, (L,) in [0, 1].

    `near` (P, k) are the nearest items of `items` (P,) in some view, see
    `gensar_lite.embeddings.agreement.neighbours`. Asked with both views, the shared depths tell
    whom the trunk serves.
    """
    depths = prefix_numbers(codes).T
    return np.array([(prefix[near] == prefix[items][:, None]).mean() for prefix in depths])


def same_prefix_rate(codes: np.ndarray) -> np.ndarray:
    """Share of all pairs of items with the same prefix, (L,): the recall that chance would have."""
    pairs = max(len(codes) * (len(codes) - 1), 1)
    return np.array([_pairs(np.bincount(prefix)) / pairs for prefix in prefix_numbers(codes).T])


def level_residuals(codes: np.ndarray, vectors: np.ndarray) -> Iterator[np.ndarray]:
    """What is left of centred `vectors` (N, d) after each level: L times (N, d).

    Each level takes off the mean of its code's members, which are the best codewords for these
    codes, level by level. On the vectors that RQ-KMeans was fitted on, and before repair, they are
    its own codebooks.
    """
    residual = vectors - vectors.mean(axis=0)
    for code in codes.T:
        member = csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))))  # (K, N)
        size = np.maximum(np.asarray(member.sum(axis=1)), 1)  # (K, 1)
        residual = residual - (member @ residual / size)[code]
        yield residual


def unexplained(codes: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Share of the squared norm of centred `vectors` (N, d) left after each level, (L,), falling.

    Random codes leave about ``(1 - (K - 1) / (N - 1))`` per level: K free means always fit
    something. NaN where all vectors are the same.
    """
    total = ((vectors - vectors.mean(axis=0)) ** 2).sum() or np.nan
    return np.array([(residual**2).sum() / total for residual in level_residuals(codes, vectors)])


def distance_correlation(codes: np.ndarray, vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Do codes keep distances? Pearson's correlation, (L,) in [-1, 1], over `pairs` (P, 2).

    Of ``|x_a - x_b|`` and the same distance between what the codes up to a level rebuild. NaN where
    nothing varies.
    """
    first, second = pairs.T
    true = np.linalg.norm(vectors[first] - vectors[second], axis=1)  # (P,)
    correlations = []
    for residual in level_residuals(codes, vectors):
        rebuilt = vectors - residual
        distance = np.linalg.norm(rebuilt[first] - rebuilt[second], axis=1)
        flat = min(true.std(), distance.std()) < 1e-12
        correlations.append(np.nan if flat else np.corrcoef(true, distance)[0, 1])
    return np.array(correlations)
