"""The tree of identifiers and its probabilities against numpy, plain loops, dense autograd."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from helpers import random_identifiers, small_corpus, workspace
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse import csr_matrix
from scripted import random_codes
from trees import by_loops, random_nodes, steps, tree_generator, tree_of, tree_settings

from gensar_lite.decoding import Decoder
from gensar_lite.training import load_generator, new_generator, train
from gensar_lite.training.backbones.branches import Spread, branches, word_weights
from gensar_lite.training.backbones.tree import HEADS
from gensar_lite.training.backbones.tree_head import item_log_probabilities, path_loss
from gensar_lite.training.loop.figures import evaluate_loss
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.sequences.mixture import new_mixture
from gensar_lite.training.stage import save_generator

# items, codes per level, levels, seed: from bushes to sticks, with only children in most
shapes = st.tuples(st.integers(1, 40), st.integers(2, 9), st.integers(1, 4), st.integers(0, 999))

# --------------------------------------------------------------------------------------- branches

CODES = np.array([[1, 0, 2], [0, 1, 1], [1, 0, 0], [0, 1, 0], [2, 2, 1], [1, 2, 0]])


def test_a_tree_of_six_items_by_hand():
    rng = np.random.default_rng(0)
    texts = rng.random((6, 4)).astype(np.float32)
    counts = np.array([0, 3, 1, 0, 2, 5])
    tree = branches(CODES, 3, csr_matrix(texts), counts)
    # nodes by prefix: 0 1 2 | 01 10 12 22 | 010 011 100 102 120 221
    codes = [[0, 1, 2], [1, 0, 2, 2], [0, 1, 0, 2, 0, 1]]
    assert [(keys % 3).tolist() for keys in tree.trie.keys] == codes
    parents = [[0, 0, 0], [0, 1, 1, 2], [0, 0, 1, 1, 2, 3]]
    assert [parent.tolist() for parent in tree.parent] == parents
    assert [first.tolist() for first in tree.first] == [[0], [0, 1, 3], [0, 2, 4, 5]]
    assert [count.tolist() for count in tree.count] == [[3], [1, 2, 1], [2, 2, 1, 1]]
    assert tree.path.tolist() == [[1, 0, 1, 0, 2, 1], [1, 0, 1, 0, 3, 2], [3, 1, 2, 0, 5, 4]]
    assert tree.num_levels == 3
    # a node's words are the mean of its items', each as often as it was taken, and once more
    below = {(0, 0): [1, 3], (0, 1): [0, 2, 5], (0, 2): [4], (1, 1): [0, 2], (2, 3): [0]}
    for (level, node), items in below.items():
        mean = np.average(texts[items], axis=0, weights=counts[items] + 1)
        dense = tree.words[level].matrix.to_dense().numpy()
        np.testing.assert_allclose(dense[node], mean, atol=1e-6)
    # 10 shares code 1 of the first level and code 0 of the second
    assert tree.codes[1].matrix.to_dense()[1].tolist() == [0, 1, 0, 1, 0, 0]
    assert tree.codes[2].matrix.to_dense()[5].tolist() == [0, 0, 1, 0, 0, 1, 0, 1, 0]


@given(st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=8))
@settings(deadline=None)
def test_rare_words_weigh_more_and_rows_have_length_one(words):
    table = word_weights(words, 9).toarray()
    frequency = Counter(word for row in words for word in set(row))
    idf = {w: math.log((len(words) + 1) / (n + 0.5)) for w, n in frequency.items()}
    for row, weight in zip(words, table, strict=True):
        assert set(np.flatnonzero(weight)) == set(row)
        assert not row or np.linalg.norm(weight) == pytest.approx(1)
        for one in row:
            for other in row:
                assert weight[one] / weight[other] == pytest.approx(idf[one] / idf[other], rel=1e-5)
                assert frequency[one] >= frequency[other] or weight[one] > weight[other]


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_spread_is_a_dense_product_with_its_gradient(num_sums, num_rows, width, seed):
    rng = np.random.default_rng(seed)
    table = sparse.random(num_sums, num_rows, 0.4, "csr", np.float32, rng)
    dense = torch.from_numpy(table.toarray())
    rows = torch.from_numpy(rng.normal(size=(num_rows, width)).astype(np.float32))
    after = torch.from_numpy(rng.normal(size=(width, num_sums)).astype(np.float32)).T
    one, other = rows.clone().requires_grad_(), rows.clone().requires_grad_()
    sums, wanted = Spread.of(table)(one), dense @ other
    torch.testing.assert_close(sums, wanted)
    sums.backward(after)
    wanted.backward(after)
    torch.testing.assert_close(one.grad, other.grad)


# ---------------------------------------------------------------------------------- probabilities


@given(shapes)
@settings(max_examples=40, deadline=None)
def test_items_sum_to_one_and_equal_loops_over_siblings(shape):
    num_items, num_codes, num_levels, seed = shape
    codes = random_codes(num_items, num_codes, num_levels, seed)
    nodes, context = random_nodes(codes, 5, seed), np.random.default_rng(seed).normal(size=(3, 5))
    tree = tree_of(codes, num_codes)
    scores = item_log_probabilities(torch.from_numpy(context.astype(np.float32)), tree, nodes)
    np.testing.assert_allclose(scores.exp().sum(dim=1), 1, atol=1e-5)
    for item in range(len(codes)):
        wanted = [by_loops(codes, nodes, row, item) for row in context]
        np.testing.assert_allclose(scores[:, item], wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("views", "recommend", "search"),
    [
        ("own", [1], [0]),
        ("recommend", [1, 0], [0]),
        ("search", [1], [0, 1]),
        ("both", [1, 0], [0, 1]),
    ],
)
@pytest.mark.parametrize("head", HEADS)
def test_a_task_is_answered_by_its_view_or_by_the_even_mixture(views, recommend, search, head):
    model = tree_generator(small_corpus(), views=views, head=head).model
    context = torch.randn(4, model.config.hidden_size)
    for task, answering in (("recommend", recommend), ("search", search)):
        with torch.no_grad():
            scores = model.item_scores(context, task)
            parts = [
                HEADS[head].item_log_probabilities(
                    context, model.branches[view], model.nodes()[view]
                )
                for view in answering
            ]
        assert model.views_of(task) == answering
        np.testing.assert_allclose(scores.exp().sum(dim=1), 1, atol=1e-4)
        mean = sum(part.double().exp() for part in parts) / len(parts)
        np.testing.assert_allclose(scores.double().exp(), mean, rtol=1e-4, atol=1e-9)


def test_identifiers_of_one_view_are_one_tree():
    ids = random_identifiers(40, 8)
    ids = type(ids)(ids.semantic, ids.semantic, ids.num_levels, 8)
    model = tree_generator(small_corpus(), ids, views="both").model
    assert len(model.branches) == 1
    assert model.views_of("recommend") == model.views_of("search") == [0]


# -------------------------------------------------------------------------------------- the loss


@given(shapes, st.integers(0, 60))
@example((300, 40, 2, 0), 90)  # wider families
@example((20, 3, 3, 0), 300)  # more contexts of one parent than a group holds
@example((1100, 1100, 1, 0), 5)  # wider than any of `WIDTHS`
@settings(max_examples=30, deadline=None)
def test_the_loss_of_paths_is_that_of_dense_scores(shape, num_targets):
    num_items, num_codes, num_levels, seed = shape
    codes, rng = random_codes(num_items, num_codes, num_levels, seed), np.random.default_rng(seed)
    tree, nodes = tree_of(codes, num_codes), random_nodes(codes, 5, seed)
    items = rng.integers(len(codes), size=num_targets)
    weight = torch.from_numpy(rng.choice([0, 0.5, 2], size=num_targets).astype(np.float32))
    start = torch.from_numpy(rng.normal(size=(num_targets, 5)).astype(np.float32))
    gradients, totals = [], []
    for is_dense in (False, True):
        leaves = [part.clone().requires_grad_() for part in (start, *nodes.vectors, *nodes.biases)]
        context, *rest = leaves
        mine = type(nodes)(rest[: len(rest) // 2], rest[len(rest) // 2 :])
        if is_dense:
            scores = item_log_probabilities(context, tree, mine)
            total = -(weight * scores[torch.arange(num_targets), torch.from_numpy(items)]).sum()
        else:
            loss = path_loss(context, items, weight, tree, mine)
            total = loss.total
        # what the loss does not depend on has a gradient of 0
        (total + 0 * sum(leaf.sum() for leaf in leaves)).backward()
        totals.append(total.item())
        gradients.append([leaf.grad for leaf in leaves])
    assert totals[0] == pytest.approx(totals[1], rel=1e-5, abs=1e-4)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    if len(codes) > 40:  # loops over prefixes take long
        return
    hits = np.zeros(codes.shape[1])
    for row, item in enumerate(items):
        for level, step in enumerate(steps(codes, nodes, start[row].double().numpy(), item)):
            own = tuple(codes[item, : level + 1].tolist())
            hits[level] += float(weight[row]) * (max(step, key=step.get) == own)
    np.testing.assert_allclose(loss.hits, hits, atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_the_held_out_loss_is_minus_the_mean_score_per_code(head):
    generator = tree_generator(small_corpus(twin_rate=0.3), head=head)
    for task, name in (("search", "nsip"), ("recommend", "nrip")):
        targets = generator.corpus.targets("validation", task)
        rows, items = targets["event_id"].to_numpy(), targets["item_id"].to_numpy()
        scores = Decoder.of(generator, tree_settings()).score_rows(task, rows, items[:, None])
        row = evaluate_loss(generator.model, generator.builder, {name: rows}, tree_settings())
        levels = generator.layout.num_levels
        assert row[f"{name}/held_out_loss"] == pytest.approx(-scores.mean() / levels, rel=1e-5)


# ------------------------------------------------------------------------------- learned and kept


def trainer_for(folder=None, **changes) -> Trainer:
    changed = tree_settings(checkpoint_minutes=0.0, epochs=3, **changes)
    vectors = np.random.default_rng(0).normal(size=(40, 9))  # of a tree that starts from them
    ids = random_identifiers(40, 8)
    generator = new_generator(small_corpus(), ids, changed, vectors=vectors)
    mixture = new_mixture(generator, changed)
    return Trainer(generator.model, generator.builder, mixture, changed, None, folder)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("changes", [{}, {"head": "catalogue", "item_vectors": True}])
def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, changes):
    folders = (None, tmp_path, tmp_path)
    whole, killed, again = (trainer_for(folder, **changes) for folder in folders)
    curve, one_step = whole.fit(), killed._one_step

    def stops(plans):
        if killed.step == killed.steps_per_epoch + 1:  # in the middle of epoch 2
            raise Killed
        return one_step(plans)

    killed._one_step = stops
    with pytest.raises(Killed):
        killed.fit()
    losses = [row["events/loss"] for row in curve]
    assert [row["events/loss"] for row in again.fit()] == losses == sorted(losses, reverse=True)
    for one, other in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_model_is_trained_alike_and_comes_back_as_it_was(tmp_path):
    changes = {
        name: getattr(tree_settings(epochs=1, views="both"), name)
        for name in ("backbone", "tasks", "task_weights", "epochs", "views", "max_history")
    }
    corpus, ids = small_corpus(), random_identifiers(40, 8)
    spaces = [workspace(tmp_path / name, corpus, ids, changes) for name in "abc"]
    files = [(train(ws) / "model.safetensors").read_bytes() for ws in spaces[:2]]
    assert files[0] == files[1]
    loaded = load_generator(spaces[0])
    folder = tmp_path / "copy"
    folder.mkdir()
    save_generator(loaded, folder)
    assert (folder / "model.safetensors").read_bytes() == files[0]

    made = tree_generator(corpus, ids, views="both")
    spaces[2].build("training", lambda folder: save_generator(made, folder) or {})
    kept = load_generator(spaces[2])
    assert kept.builder.pseudo.texts == made.builder.pseudo.texts
    for task in ("recommend", "search"):
        rows = corpus.targets("test", task)["event_id"].to_numpy()
        every = np.tile(np.arange(40), (len(rows), 1))
        decoders = (Decoder.of(one, tree_settings()) for one in (made, kept))
        assert np.array_equal(*(one.score_rows(task, rows, every) for one in decoders))
