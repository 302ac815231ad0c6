"""A tree backbone for a catalogue: its sizes, and what its buffers hold.

In: settings, a corpus, identifiers, the numbers of words. Out: an untrained `TreeModel`.
"""

import numpy as np
import torch

from gensar_lite.artifacts import Corpus, Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.config.rules import TREES
from gensar_lite.data.histories import train_counts
from gensar_lite.identifiers import TokenLayout
from gensar_lite.training.backbones.branches import word_weights
from gensar_lite.training.backbones.tree import TREE_SIZES, TreeConfig, TreeModel, views_of
from gensar_lite.training.text import WordCodec

# backbone "tree": the first size whose catalogue is not smaller than the items
SIZE_FOR = {3_000: "tree-micro", 50_000: "tree-mini", None: "tree-small"}
MOST_ITEMS = 50_000  # of a catalogue that competes as a whole
START = 0.1  # deviation of the numbers of item vectors at the start


def is_tree(backbone: str) -> bool:
    """Whether a backbone's name is one of `TREES`."""
    return backbone in TREES


def sizes_of(backbone: str, num_items: int) -> tuple[int, int, int, int]:
    """A row of `TREE_SIZES`: the named one, or for ``tree`` the one that suits the catalogue."""
    if backbone in TREE_SIZES:
        return TREE_SIZES[backbone]
    fits = (name for most, name in SIZE_FOR.items() if most is None or num_items <= most)
    return TREE_SIZES[next(fits)]


def head_for(head: str, num_items: int) -> str:
    """The named head, or for ``auto`` the one that suits the catalogue: every step of `catalogue`
    scores all of its items."""
    if head != "auto":
        return head
    return "catalogue" if num_items <= MOST_ITEMS else "level"


def new_tree(
    settings: TrainingConfig,
    layout: TokenLayout,
    corpus: Corpus,
    identifiers: Identifiers,
    codec: WordCodec,
    vectors: np.ndarray | None = None,
) -> TreeModel:
    """A tree of random weights over a catalogue; with ``training.item_vectors`` its items start
    from `vectors` (N, d), the collaborative view, where there are any."""
    titles, texts = (corpus.items[name].fillna("").tolist() for name in ("title", "text"))
    whole = [f"{title} {text}" for title, text in zip(titles, texts, strict=True)]
    # an item's text is no query: it has words and no phrase
    words = [[w for w in row if w < codec.first_phrase] for row in codec.encode(whole)]
    words = word_weights(words, codec.num_tokens)  # (N, num_text)
    nodes = []
    for view in views_of(identifiers):
        codes = identifiers.view(view)
        levels = range(1, codes.shape[1] + 1)
        nodes.append([len(np.unique(codes[:, :level], axis=0)) for level in levels])
    width, event_size, num_layers, num_heads = sizes_of(settings.backbone, corpus.num_items)
    torch.manual_seed(settings.seed)
    config = TreeConfig(
        hidden_size=width,
        event_size=event_size,
        num_layers=num_layers,
        num_heads=num_heads,
        dropout=settings.dropout,
        max_history=settings.max_history,
        num_items=corpus.num_items,
        num_text=layout.num_text,
        num_pairs=words.nnz,
        codebook_size=layout.codebook_size,
        nodes=nodes,
        first_item=layout.size,
        first_phrase=codec.first_phrase,
        recommend_token=layout.recommend_item,
        views=settings.views,
        head=head_for(settings.head, corpus.num_items),
        item_vectors=settings.item_vectors,
        behaviours=settings.behaviour_tokens,
    )
    model = TreeModel(config).learn_catalogue(identifiers, words, train_counts(corpus))
    if settings.item_vectors and vectors is not None:
        with torch.no_grad():
            model.items.weight.copy_(torch.from_numpy(_start(vectors, event_size)))
    return model


def _start(vectors: np.ndarray, size: int) -> np.ndarray:
    """(N, size) the principal components of item vectors (N, d), zeros where they have fewer, in
    numbers as large as those of words."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    kept = (left * strength)[:, :size]
    kept = np.pad(kept, ((0, 0), (0, size - kept.shape[1])))
    return (kept * (START / max(float(kept.std()), 1e-12))).astype(np.float32)
