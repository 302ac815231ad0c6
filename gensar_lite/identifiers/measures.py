"""What codes are like: usage and collisions, and whether one prefix's items belong together.

In: codes (N, L) of one view, alone or beside labels, train events, item vectors. Out: numbers per
level or prefix depth, from 1. Any identifier can be asked, whoever made it. Nothing is judged.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.metrics import normalized_mutual_info_score


def row_numbers(codes: np.ndarray) -> np.ndarray:
    """(N,) the number of each row among the distinct rows of (N, L) codes, lexicographic."""
    if not codes.size:
        return np.zeros(len(codes), dtype=np.int64)
    sizes = [int(top) + 1 for top in codes.max(axis=0)]
    # one integer per row sorts much faster than rows do, where all levels fit into it
    if np.prod(sizes, dtype=float) < 2**62:
        number = np.ravel_multi_index(tuple(codes.T), sizes)
        return np.unique(number, return_inverse=True)[1].ravel()
    return np.unique(codes, axis=0, return_inverse=True)[1].ravel()


def prefix_numbers(codes: np.ndarray) -> np.ndarray:
    """(N, L) integers: column d - 1 numbers the distinct prefixes of depth d from 0.

    Items with the same first d codes, and no others, have the same number; lexicographic.
    """
    numbers = np.empty(codes.shape, dtype=np.int64)
    parent = np.zeros(len(codes), dtype=np.int64)
    for level, code in enumerate(codes.T):
        key = parent * (int(code.max(initial=0)) + 1) + code
        parent = np.unique(key, return_inverse=True)[1].ravel()
        numbers[:, level] = parent
    return numbers


def collision_rate(codes: np.ndarray) -> float:
    """Share of items that share their whole code sequence with another item."""
    return _rate(row_numbers(codes))


def prefix_collisions(codes: np.ndarray) -> pd.DataFrame:
    """``depth``, ``prefixes`` in use, ``collision_rate``: the share of items with another's prefix.

    The rate falls with depth; at the last one it is that of whole identifiers, 0 after repair.
    """
    rows = [
        (depth, int(prefix.max(initial=-1)) + 1, _rate(prefix))
        for depth, prefix in enumerate(prefix_numbers(codes).T, start=1)
    ]
    return pd.DataFrame(rows, columns=["depth", "prefixes", "collision_rate"])


def _rate(number: np.ndarray) -> float:
    """Share of items (N,) whose number another item has, too."""
    size = np.bincount(number)
    return float(size[size > 1].sum() / max(len(number), 1))


def codebook_usage(codes: np.ndarray, codebook_size: int) -> pd.DataFrame:
    """Per level (from 1): share of codewords in use, perplexity, largest share of one code.

    Perplexity is ``exp(-sum p log p)``, in [1, K]: as many codewords used evenly would say as much.
    """
    rows = []
    for level, code in enumerate(codes.T, start=1):
        share = np.bincount(code, minlength=codebook_size) / len(codes)  # (K,)
        used = share[share > 0]
        perplexity = float(np.exp(-(used * np.log(used)).sum()))
        rows.append((level, len(used) / codebook_size, perplexity, float(share.max())))
    return pd.DataFrame(rows, columns=["level", "usage", "perplexity", "largest"])


def code_imbalance(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Gini coefficient of items per codeword at every level, (L,).

    0 where all K codewords hold as many, 1 - 1/K where one has all.
    """
    # of all pairs of codewords, how often a sorted count is added and not taken off
    weight = 2 * np.arange(1, codebook_size + 1) - codebook_size - 1
    counts = [np.sort(np.bincount(code, minlength=codebook_size)) for code in codes.T]
    return np.array([(weight * c).sum() / (codebook_size * len(codes)) for c in counts])


def prefix_purity(codes: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Per prefix depth: number of prefixes, items per prefix, purity by labels `groups` (N,).

    Purity is the share of items in the most frequent group of their prefix. It rises to 1 as
    prefixes become single items, so compare it with that of shuffled labels.
    """
    labels = pd.factorize(np.asarray(groups))[0]
    rows = []
    for depth, prefix in enumerate(prefix_numbers(codes).T, start=1):
        count = pd.Series(labels).groupby([prefix, labels]).size()
        most = count.groupby(level=0).max()  # items of each prefix's most frequent group
        purity = float(most.sum() / len(codes))
        rows.append((depth, len(most), len(codes) / len(most), purity))
    return pd.DataFrame(rows, columns=["depth", "prefixes", "items_per_prefix", "purity"])


def level_information(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Normalised mutual information of each level's code alone with `groups` (N,): (L,) in [0, 1].

    ``I(code; group)`` over the mean of both entropies. Little is expected of deep levels.
    """
    labels = pd.factorize(np.asarray(groups))[0]
    return np.array([normalized_mutual_info_score(labels, code) for code in codes.T])


def co_purchase_lift(codes: np.ndarray, events: pd.DataFrame) -> np.ndarray:
    """How much more often a user's two items share a prefix than any two purchases do, (L,).

    ``P(same prefix | same user) / P(same prefix | any two purchases)``, pairs of different items,
    from **train** events of recommendation alone; both weigh items by popularity, so random codes
    have a lift of about 1. NaN where no two items share a prefix, or nobody bought two.
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

    `near` (P, k) are the nearest items of `items` (P,) in some view (`neighbours`). Asked with both
    views, the shared depths tell whom the trunk serves.
    """
    depths = prefix_numbers(codes).T
    return np.array([(prefix[near] == prefix[items][:, None]).mean() for prefix in depths])


def same_prefix_rate(codes: np.ndarray) -> np.ndarray:
    """Share of all pairs of items with the same prefix, (L,): the recall that chance would have."""
    pairs = max(len(codes) * (len(codes) - 1), 1)
    return np.array([_pairs(np.bincount(prefix)) / pairs for prefix in prefix_numbers(codes).T])


def level_residuals(codes: np.ndarray, vectors: np.ndarray) -> Iterator[np.ndarray]:
    """What is left of centred `vectors` (N, d) after each level: L times (N, d).

    Each level takes off the mean of its code's members: the best codewords for these codes, and
    RQ-KMeans's own on the vectors that it was fitted on, before repair.
    """
    residual = vectors - vectors.mean(axis=0)
    for code in codes.T:
        member = csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))))  # (K, N)
        size = np.maximum(np.asarray(member.sum(axis=1)), 1)  # (K, 1)
        residual = residual - (member @ residual / size)[code]
        yield residual


def unexplained(codes: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Share of the squared norm of centred `vectors` (N, d) left after each level, (L,), falling.

    Random codes leave about ``(1 - (K - 1) / (N - 1))`` per level. NaN where all are the same.
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
