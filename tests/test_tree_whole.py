"""Whole identifiers that compete, items that start from a view, marks of behaviours: against plain
loops, autograd and numpy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from helpers import random_identifiers, small_corpus, workspace
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripted import random_codes
from trees import random_nodes, tree_generator, tree_of, tree_settings, whole_by_loops

from gensar_lite.artifacts import ItemEmbeddings
from gensar_lite.config import DecodingConfig
from gensar_lite.decoding import Decoder, Recommender
from gensar_lite.training import load_generator, new_generator, train
from gensar_lite.training.backbones import tree_head, tree_whole
from gensar_lite.training.backbones.new_tree import START
from gensar_lite.training.backbones.tree_head import Nodes
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.sequences.mixture import new_mixture
from gensar_lite.training.stage import save_generator

# items, codes per level, levels, seed: from bushes to sticks, with only children in most
shapes = st.tuples(st.integers(1, 40), st.integers(2, 9), st.integers(1, 4), st.integers(0, 999))
CODES = np.array([[1, 0, 2], [0, 1, 1], [1, 0, 0], [0, 1, 0], [2, 2, 1], [1, 2, 0]])
WHOLE = {"head": "catalogue", "item_vectors": True}

# ---------------------------------------------------------------------------------- probabilities


def floats(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


def check_probabilities(codes: np.ndarray, nodes: Nodes, context: torch.Tensor) -> None:
    """Items and nodes of a tree are worth what loops over items make of them."""
    tree = tree_of(codes, int(codes.max()) + 1)
    items = tree_whole.item_log_probabilities(context, tree, nodes)
    levels = tree_whole.node_log_probabilities(context, tree, nodes)
    np.testing.assert_allclose(items.exp().sum(dim=1), 1, atol=1e-5)
    for row, vector in enumerate(context.double().numpy()):
        wanted = whole_by_loops(codes, nodes, vector)
        np.testing.assert_allclose(items[row], wanted, atol=1e-4)
        for level, values in enumerate(levels):
            below = {}  # prefix -> probability of what hangs there
            for code, value in zip(codes.tolist(), wanted, strict=True):
                for length in (level, level + 1):
                    prefix = tuple(code[:length])
                    below[prefix] = below.get(prefix, 0.0) + math.exp(value)
            prefixes = sorted(prefix for prefix in below if len(prefix) == level + 1)
            share = [below[prefix] / below[prefix[:-1]] for prefix in prefixes]
            np.testing.assert_allclose(values[row].exp(), share, atol=1e-4)
    # along a path they multiply to the item's, and siblings share out what their parent has
    path = [values[:, tree.path[level]] for level, values in enumerate(levels)]
    np.testing.assert_allclose(sum(path), items, atol=1e-4)
    for parent, values in zip(tree.parent, levels, strict=True):
        sums = torch.zeros(len(context), int(parent.max()) + 1)
        np.testing.assert_allclose(sums.index_add(1, parent, values.exp()), 1, atol=1e-5)


def test_six_items_compete_by_hand():
    check_probabilities(CODES, random_nodes(CODES, 5, 0), floats(np.random.default_rng(0), 3, 5))


@given(shapes)
@settings(max_examples=25, deadline=None)
def test_items_and_nodes_equal_loops_over_items(shape):
    codes, seed = random_codes(*shape), shape[-1]
    context = floats(np.random.default_rng(seed), 2, 5)
    check_probabilities(codes, random_nodes(codes, 5, seed), context)


@pytest.mark.parametrize("size", [100.0, 1e4])
def test_scores_far_apart_make_no_nan(size):
    nodes, rng = random_nodes(CODES, 5, 1), np.random.default_rng(1)
    far = Nodes([size * part for part in nodes.vectors], nodes.biases)
    tree, context = tree_of(CODES, 3), floats(rng, 4, 5).requires_grad_()
    items = tree_whole.item_log_probabilities(context, tree, far)
    assert (items.amax(dim=1) - items.amin(dim=1)).min() > 200
    np.testing.assert_allclose(items.detach().exp().sum(dim=1), 1, atol=1e-5)
    levels = tree_whole.node_log_probabilities(context, tree, far)
    assert all(values.isfinite().all() for values in levels)
    # float32 keeps a few digits of numbers this large
    path = sum(values[:, tree.path[level]] for level, values in enumerate(levels))
    torch.testing.assert_close(path, items, atol=1e-3, rtol=1e-4)
    loss = tree_whole.path_loss(context, np.arange(4), torch.ones(4), tree, far)
    loss.total.backward()
    assert loss.total.isfinite()
    assert context.grad.isfinite().all()


def test_what_speaks_against_an_only_child_is_heard():
    """Label bias: a softmax among siblings gives an only child everything that its parent has."""
    codes = np.array([[0, 0], [1, 0], [1, 1]])
    context = torch.ones(1, 2)
    plain = Nodes([torch.zeros(2, 2), torch.zeros(3, 2)], [torch.zeros(2), torch.zeros(3)])
    against = plain._replace(biases=[torch.zeros(2), torch.tensor([-9.0, 0.0, 0.0])])
    chance = {
        (name, kind): head.item_log_probabilities(context, tree_of(codes, 2), nodes).exp()[0, 0]
        for name, head in (("level", tree_head), ("catalogue", tree_whole))
        for kind, nodes in (("plain", plain), ("against", against))
    }
    assert chance["level", "plain"] == chance["level", "against"] == pytest.approx(1 / 2)
    assert chance["catalogue", "plain"] == pytest.approx(1 / 3)
    assert chance["catalogue", "against"] == pytest.approx(math.exp(-9) / (math.exp(-9) + 2))


# -------------------------------------------------------------------------------------- the loss


def hits_by_loops(codes: np.ndarray, nodes: Nodes, context, items, weight) -> np.ndarray:
    """(L,) weights of targets whose best item has the right codes up to each level."""
    hits = np.zeros(codes.shape[1])
    for row, item in enumerate(items):
        best = int(np.argmax(whole_by_loops(codes, nodes, context[row])))
        for level in range(len(hits)):
            same = codes[best, : level + 1].tolist() == codes[item, : level + 1].tolist()
            hits[level] += float(weight[row]) * same
    return hits


@given(shapes, st.integers(0, 40))
@example((30, 5, 3, 0), 300)  # more contexts than are scored at once
@settings(max_examples=25, deadline=None)
def test_the_loss_of_whole_items_is_a_log_softmax(shape, count):
    codes, rng = random_codes(*shape), np.random.default_rng(shape[-1])
    tree, nodes = tree_of(codes, shape[1]), random_nodes(codes, 5, shape[-1])
    items = rng.integers(len(codes), size=count)
    weight = torch.from_numpy(rng.choice([0.25, 0.5, 2], size=count).astype(np.float32))
    start, place = floats(rng, count, 5), torch.from_numpy(tree.path)
    gradients, totals = [], []
    for is_dense in (False, True):
        leaves = [part.clone().requires_grad_() for part in (start, *nodes.vectors, *nodes.biases)]
        context, *rest = leaves
        mine = Nodes(rest[: len(rest) // 2], rest[len(rest) // 2 :])
        if is_dense:
            levels = zip(place, *mine, strict=True)
            scores = sum((context @ v.T + b)[:, node] for node, v, b in levels)
            chosen = scores.log_softmax(dim=1)[torch.arange(count), torch.from_numpy(items)]
            total = -(weight * chosen).sum()
        else:
            loss = tree_whole.path_loss(context, items, weight, tree, mine)
            total = loss.total
        (total + 0 * sum(leaf.sum() for leaf in leaves)).backward()
        totals.append(total.item())
        gradients.append([leaf.grad for leaf in leaves])
    assert totals[0] == pytest.approx(totals[1], rel=1e-5, abs=1e-4)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    # while something is learned, some are looked up and stand for all
    facts = start.double().numpy(), items, weight
    some = [part[:: tree_whole.SAMPLE] for part in facts]
    scale = float(weight.sum() / some[2].sum()) if count else 0.0
    np.testing.assert_allclose(loss.hits, scale * hits_by_loops(codes, nodes, *some), rtol=1e-4)
    with torch.no_grad():
        held_out = tree_whole.path_loss(start, items, weight, tree, nodes)
    assert held_out.total.item() == pytest.approx(totals[0], rel=1e-6)
    np.testing.assert_allclose(held_out.hits, hits_by_loops(codes, nodes, *facts), rtol=1e-4)


def test_hits_are_counted_in_full_where_products_are_bf16():
    """A third of 1,000 targets, 1.1 each; bf16 has eight bits."""
    codes = np.array([[0], [1], [2]])
    nodes = Nodes([torch.eye(3)], [torch.zeros(3)])
    context, items = torch.eye(3)[[0] * 1000], np.arange(1000) % 3
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        loss = tree_whole.path_loss(
            context, items, torch.full((1000,), 1.1), tree_of(codes, 3), nodes
        )
    assert loss.hits.tolist() == pytest.approx([334 * 1.1], rel=1e-5)
    assert (loss.total.dtype, loss.hits.dtype) == (torch.float32, torch.float32)


# ----------------------------------------------------------------------------------- item vectors


@pytest.mark.parametrize("width", [7, 60])
def test_items_start_from_the_principal_components_of_their_vectors(width):
    corpus, ids = small_corpus(num_items=120), random_identifiers(120, 16)
    vectors = np.random.default_rng(0).normal(2, 1, size=(120, width)) * np.arange(1, width + 1)
    made = new_generator(corpus, ids, tree_settings(**WHOLE), vectors=vectors).model
    start = made.items.weight.detach().double().numpy()  # (120, 48)
    assert start.std() == pytest.approx(START, rel=1e-4)
    assert (start[:, width:] == 0).all()
    # what items have in common with one another, in as many directions as there is room for
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # (width, width), the strongest last
    shown = centred @ axes[:, ::-1][:, : start.shape[1]]
    scale = np.linalg.norm(start) / np.linalg.norm(shown)
    atol = 1e-4 * np.abs(start @ start.T).max()
    np.testing.assert_allclose(start @ start.T, scale**2 * (shown @ shown.T), atol=atol)
    strength = np.linalg.norm(start, axis=0)
    assert (np.diff(strength) <= 1e-6).all()
    assert torch.equal(made.of_items[0].weight, torch.eye(96, 48))
    # nothing else of the model depends on them, and without the setting nothing at all
    other = new_generator(corpus, ids, tree_settings(**WHOLE)).model
    for (name, one), two in zip(made.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two) == (name != "items.weight")
    plain = tree_settings(head="catalogue")
    models = [new_generator(corpus, ids, plain, vectors=v).model for v in (vectors, None)]
    assert all(map(torch.equal, *(model.parameters() for model in models)))


def test_vectors_that_say_nothing_start_at_zero():
    corpus, ids = small_corpus(), random_identifiers(40, 8)
    made = new_generator(corpus, ids, tree_settings(**WHOLE), vectors=np.ones((40, 5)))
    assert (made.model.items.weight == 0).all()


@pytest.mark.parametrize("head", ["level", "catalogue"])
def test_a_node_has_a_share_of_the_items_below_it(head):
    generator = tree_generator(small_corpus(), head=head, item_vectors=True)
    model, corpus = generator.model, generator.corpus
    train_items = corpus.events.query("split == 'train'")["item_id"].tolist()
    taken = np.array([1.0 + train_items.count(item) for item in range(40)])
    known = model.items.weight.detach().double().numpy()
    with torch.no_grad():
        made = model.nodes()
        bare = [
            part(tree, model.words.weight)
            for part, tree in zip(model.heads, model.branches, strict=True)
        ]
    for view, codes in enumerate(
        (generator.identifiers.semantic, generator.identifiers.collaborative)
    ):
        of_items = model.of_items[view].weight.detach().double().numpy()  # (96, 48)
        for level in range(3):
            prefixes = sorted({tuple(row[: level + 1]) for row in codes.tolist()})
            for node, prefix in enumerate(prefixes):
                below = [i for i in range(40) if tuple(codes[i, : level + 1]) == prefix]
                mean = np.average(known[below], axis=0, weights=taken[below])
                wanted = bare[view].vectors[level][node].double().numpy() + of_items @ mean
                np.testing.assert_allclose(made[view].vectors[level][node], wanted, atol=1e-4)
            assert torch.equal(made[view].biases[level], bare[view].biases[level])
    # an item is learned from what it is as an answer
    model.train()
    sum(part.square().sum() for nodes in model.nodes() for part in nodes.vectors).backward()
    assert (model.items.weight.grad.abs().sum(dim=1) > 0).all()
    assert all((part.weight.grad != 0).any() for part in model.of_items)


# ------------------------------------------------------------------------- behaviours, and on disk


def test_an_event_is_its_item_and_what_was_done_with_it():
    model = tree_generator(small_corpus()).model
    codes = model.codes.numpy()  # (2, 40, 3)
    table = model.item_table().detach().numpy()
    assert table.shape == (120, 48)
    for item in (0, 17, 39):
        columns = [codes[view, item, level] for view in range(2) for level in range(3)]
        pairs = zip(model.item_codes, columns, strict=True)
        plain = sum(part.weight[code] for part, code in pairs) + model.items.weight[item]
        for place, done in enumerate(model.behaviours.weight):
            wanted = (plain + done).detach().numpy()
            np.testing.assert_allclose(table[item + 40 * place], wanted, atol=1e-6)
    histories = torch.tensor([[3, 5, 7], [3, 45, 7], [3, 85, 7]])
    one, two, three = model.states(histories, np.arange(3), np.full(3, 2)).detach()
    assert min((one - two).abs().max(), (one - three).abs().max(), (two - three).abs().max()) > 1e-3
    unmarked = tree_generator(small_corpus(), behaviour_tokens=False).model
    assert unmarked.behaviours is None
    assert unmarked.item_table().shape == (40, 48)


def scores_of(generator, task: str) -> np.ndarray:
    rows = generator.corpus.targets("test", task)["event_id"].to_numpy()
    decoder = Decoder.of(generator, generator.builder.settings)
    return decoder.score_rows(task, rows, np.tile(np.arange(40), (len(rows), 1)))


def test_a_tree_of_an_earlier_version_reads_unmarked_histories(tmp_path):
    corpus, ids = small_corpus(twin_rate=0.3), random_identifiers(40, 8)
    made = tree_generator(corpus, ids, behaviour_tokens=False)

    def as_before(folder) -> dict:
        save_generator(made, folder)
        config = json.loads((folder / "config.json").read_text())
        for name in ("behaviours", "head", "item_vectors"):
            del config[name]
        (folder / "config.json").write_text(json.dumps(config))
        return {}

    # its settings say true, as those of everyone who never touched them
    space = workspace(tmp_path, corpus, ids, {"backbone": "tree-micro", "max_history": 5})
    assert space.config.training.behaviour_tokens
    space.build("training", as_before)
    kept = load_generator(space)
    assert not kept.builder.settings.behaviour_tokens
    config = kept.model.config
    assert (config.behaviours, config.head, config.item_vectors) == (False, "level", False)
    for task in ("recommend", "search"):
        assert np.array_equal(scores_of(made, task), scores_of(kept, task))
    shops = [Recommender.of(one, DecodingConfig(num_beams=5)) for one in (made, kept)]
    answers = [shop.search("red thing", [3, (5, "thing"), 7]) for shop in shops]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 10


def test_the_stage_starts_from_the_collaborative_view_and_keeps_what_it_made(tmp_path):
    corpus, ids, rng = (
        small_corpus(twin_rate=0.3),
        random_identifiers(40, 8),
        np.random.default_rng(0),
    )
    views = rng.normal(size=(2, 40, 9)).astype(np.float32)
    changes = WHOLE | {"backbone": "tree-micro", "epochs": 1, "min_steps": 0, "max_history": 5}
    space = workspace(tmp_path, corpus, ids, changes, ItemEmbeddings(*views))
    train(space)
    kept, settings = load_generator(space), space.config.training
    config = kept.model.config
    assert (config.behaviours, config.head, config.item_vectors) == (True, "catalogue", True)
    trained = {}
    for name, vectors in zip(("semantic", "collaborative"), views, strict=True):
        made = new_generator(corpus, ids, settings, vectors=vectors)
        mixture = new_mixture(made, settings)
        Trainer(made.model, made.builder, mixture, settings, None, None).fit()
        trained[name] = made.model.eval()
    for name, model in trained.items():
        pairs = zip(model.parameters(), kept.model.parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs) == (name == "collaborative")
    for task in ("recommend", "search"):
        assert np.isfinite(scores_of(kept, task)).all()
