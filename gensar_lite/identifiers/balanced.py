"""Equal shares: codes of which none holds much more than its part of the items.

In: residuals (N, d) and a codebook (K, d), or distances. Out: codes (N,), by Sinkhorn as the paper
spreads items, or within the capacity ceil(N / K); a codebook that fits them. float64: with the
paper's epsilon exponentials leave float32's range. Nothing is drawn: ties go to the lower code.
"""

import numpy as np

from gensar_lite.identifiers.quantizer import squared_distances
from gensar_lite.machine.ranges import within

EPSILON, ITERATIONS = 0.003, 50  # the paper's, of Sinkhorn
_TINY = 1e-250
_ROUNDS = 5  # of Lloyd's steps
_SHARPNESS = 0.1  # epsilon of the prices, as a share of the mean cost
_PRICE_ITERATIONS = 60  # of Sinkhorn for prices


def column_scaling(kernel: np.ndarray, iterations: int) -> np.ndarray:
    """v (..., K) so that ``diag(u) kernel diag(v)`` has equal row sums and equal column sums.

    Only the two scaling vectors are updated (Cuturi, NeurIPS 2013); the kernel (..., n, K) is read,
    never written.
    """
    rows, columns = kernel.shape[-2:]
    v = np.ones((*kernel.shape[:-2], columns, 1))  # (..., K, 1)
    turned = np.swapaxes(kernel, -1, -2)
    for _ in range(iterations):
        # u makes each row sum to 1 / n, then v each column to 1 / K, which spoils the rows a little
        u = 1 / (rows * np.maximum(kernel @ v, _TINY))  # (..., n, 1)
        v = 1 / (columns * np.maximum(turned @ u, _TINY))
    return v[..., 0]


def sinkhorn_codes(
    distances: np.ndarray, epsilon: float = EPSILON, iterations: int = ITERATIONS
) -> np.ndarray:
    """The code with most mass for each item (..., n), of distances (..., n, K) scaled to [-1, 1].

    Leading axes are separate problems. Items at the same place get the same code.
    """
    low = distances.min(axis=(-2, -1), keepdims=True)
    high = distances.max(axis=(-2, -1), keepdims=True)
    # the kernel exp(-distance / epsilon); a row's own minimum may go, since u takes up any factor
    # of a row, and without it the largest entry of each row is 1 and none vanishes altogether
    kernel = distances - distances.min(axis=-1, keepdims=True).astype(np.float64)
    kernel *= -2 / (np.maximum(high - low, 1e-12) * epsilon)
    np.exp(kernel, out=kernel)
    # u scales whole rows and changes no row's largest entry, so v alone decides
    kernel *= column_scaling(kernel, iterations)[..., None, :]
    return kernel.argmax(axis=-1)


def balance(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Lloyd's steps under the capacity: codewords (K, d) become their items' means."""
    for _ in range(_ROUNDS):
        codes = balanced_codes(vectors, codebook)
        counts = np.bincount(codes, minlength=len(codebook))[:, None]  # (K, 1)
        sums = np.zeros_like(codebook)
        np.add.at(sums, codes, vectors)
        codebook = np.where(counts > 0, sums / np.maximum(counts, 1), codebook)
    return codebook


def balanced_codes(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """A code for each item (N,), none more than ceil(N / K) times, at little extra distance."""
    if not len(vectors):
        return np.zeros(0, dtype=np.int64)
    cost = squared_distances(vectors, codebook)  # (N, K)
    cost = cost - cost.min(axis=1, keepdims=True)
    # Sinkhorn finds what codewords must cost for all to be wanted alike: few are over capacity then
    epsilon = max(_SHARPNESS * float(cost.mean()), 1e-12)
    price = -epsilon * np.log(column_scaling(np.exp(-cost / epsilon), _PRICE_ITERATIONS))  # (K,)
    return within_capacity(cost + price, -(-len(vectors) // len(codebook)))


def within_capacity(cost: np.ndarray, capacity: int | np.ndarray) -> np.ndarray:
    """Codes (N,) of little `cost` (N, K) so that no code exceeds its `capacity`, a number or (K,).

    Every item asks its cheapest code; a full code keeps those with most to lose, the others ask on.
    Ends because nobody asks twice, and everybody finds room because all capacities together are at
    least N (deferred acceptance, Gale and Shapley 1962).
    """
    cost = cost.copy()
    codes = np.full(len(cost), -1)
    capacity = np.broadcast_to(capacity, cost.shape[1])
    # what an item loses where it does not get its best code but the second
    second = min(1, cost.shape[1] - 1)
    best = np.partition(cost, second, axis=1)
    regret = best[:, second] - best[:, 0]
    while (codes < 0).any():
        asking = np.flatnonzero(codes < 0)
        codes[asking] = cost[asking].argmin(axis=1)
        # items by code, most regret first: those behind a code's capacity are sent on
        order = np.lexsort((-regret, codes))
        counts = np.bincount(codes, minlength=cost.shape[1])
        sent_on = order[within(counts) >= np.repeat(capacity, counts)]
        cost[sent_on, codes[sent_on]] = np.inf
        codes[sent_on] = -1
    return codes
