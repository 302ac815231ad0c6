"""Identifiers against other ways of knowing: loops by hand, every permutation, gradients, and known
constructions.
"""

from __future__ import annotations

import itertools

import faiss
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file

from gensar_lite.artifacts import VIEWS, ArtifactError, Identifiers, ItemEmbeddings, Workspace
from gensar_lite.config import VALID_PAIRS, IdentifiersConfig, override, preset
from gensar_lite.embeddings.fused import principal_components, standardise
from gensar_lite.identifiers import (
    TokenLayout,
    build_identifiers,
    codebook_usage,
    collision_rate,
    dual_quantize,
    identify,
    layout_for,
    make_unique,
    prefix_purity,
    residual_quantize,
)
from gensar_lite.identifiers.kmeans import fit_dual_kmeans, fit_levels, kmeans
from gensar_lite.identifiers.quantizer import DualCodebooks
from gensar_lite.identifiers.rqvae import DualRQVAE, fit_rq_vae, initialise, latents_of, revive

SMALL = IdentifiersConfig(
    num_levels=4, num_shared=2, codebook_size=8, latent_dim=4, hidden=(16, 8), epochs=12
)


def small(**changes) -> IdentifiersConfig:
    return override(
        preset("tiny"), {f"identifiers.{k}": v for k, v in (vars(SMALL) | changes).items()}
    ).identifiers


def random_embeddings(num_items: int = 60, seed: int = 0) -> ItemEmbeddings:
    rng = np.random.default_rng(seed)
    semantic, collaborative = rng.normal(size=(num_items, 12)), rng.normal(size=(num_items, 6))
    joint = rng.normal(size=(num_items, 5))
    return ItemEmbeddings(*(view.astype(np.float32) for view in (semantic, collaborative, joint)))


def views_of(embeddings: ItemEmbeddings) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(
        torch.tensor(standardise(getattr(embeddings, v), v), dtype=torch.float32) for v in VIEWS
    )


# ---------------------------------------------------------------------------- residual quantization


def by_hand(vectors: np.ndarray, codebooks: np.ndarray) -> tuple[list[list[int]], np.ndarray]:
    """Loops over items, levels and codewords."""
    codes, left = [], []
    for vector in vectors:
        mine, rest = [], vector.copy()
        for book in codebooks:
            distances = [sum((rest[i] - word[i]) ** 2 for i in range(len(rest))) for word in book]
            mine.append(distances.index(min(distances)))
            rest = rest - book[mine[-1]]
        codes.append(mine)
        left.append(rest)
    return codes, np.array(left)


@pytest.mark.parametrize(("levels", "size", "dim"), [(1, 1, 1), (3, 5, 2), (4, 8, 6)])
def test_residual_codes_equal_loops(levels, size, dim):
    rng = np.random.default_rng(levels)
    vectors, books = rng.normal(size=(40, dim)), rng.normal(size=(levels, size, dim))
    codes, residuals = residual_quantize(vectors, books)
    expected, left = by_hand(vectors, books)
    assert codes.tolist() == expected
    assert len(residuals) == levels + 1
    np.testing.assert_array_equal(residuals[0], vectors)
    np.testing.assert_allclose(residuals[-1], left)
    rebuilt = sum(book[codes[:, level]] for level, book in enumerate(books))
    np.testing.assert_allclose(rebuilt + residuals[-1], vectors)


def test_ties_go_to_the_lower_code():
    book = np.array([[[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]])
    assert residual_quantize(np.array([[0.0, 0.0], [2.0, 0.0]]), book)[0].tolist() == [[0], [0]]


def test_both_views_share_the_trunk_and_quantize_their_own_half():
    rng = np.random.default_rng(0)
    latents = (rng.normal(size=(50, 3)), rng.normal(size=(50, 2)))
    books = DualCodebooks(
        rng.normal(size=(2, 6, 5)), rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 6, 2))
    )
    found = dual_quantize(latents, books)
    shared, rest = by_hand(np.hstack(latents), books.trunk)
    for view, half in (("semantic", rest[:, :3]), ("collaborative", rest[:, 3:])):
        codes = getattr(found, view)
        own, _ = by_hand(half, getattr(books, view))
        assert codes.tolist() == [a + b for a, b in zip(shared, own, strict=True)]
        before_last = half - getattr(books, view)[0][codes[:, 2]]
        np.testing.assert_allclose(found.last_residual[view], before_last)
    assert books.num_shared == 2


def test_well_separated_clusters_are_found_level_by_level():
    centres = np.array([[10.0, 0.0], [0.0, 10.0], [-10.0, -10.0]])
    fine = np.array([[1.0, 0.0], [-1.0, 0.0]])
    group, part = np.repeat(np.arange(3), 20), np.tile(np.arange(2), 30)
    vectors = centres[group] + fine[part]
    books = fit_levels(vectors, 2, small(codebook_size=3, kmeans_iterations=50))
    codes, residuals = residual_quantize(vectors, books)
    assert pd.crosstab(codes[:, 0], group).gt(0).sum().tolist() == [1, 1, 1]
    assert len(np.unique(codes, axis=0)) == 6
    np.testing.assert_allclose(residuals[-1], 0, atol=1e-5)


def test_every_level_of_kmeans_leaves_less():
    vectors = np.random.default_rng(0).normal(size=(300, 6))
    _, residuals = residual_quantize(vectors, fit_levels(vectors, 4, small()))
    left = [float((r**2).sum()) for r in residuals]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.5 * left[0]


def test_kmeans_with_fewer_distinct_vectors_than_codes_keeps_each():
    points = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    book = kmeans(points, small(codebook_size=4))
    assert book.shape == (4, 2)
    np.testing.assert_array_equal(np.unique(book, axis=0), [[0, 0], [1, 1]])


# --------------------------------------------------------------------------------------- uniqueness


def cost(residual: np.ndarray, book: np.ndarray, codes) -> float:
    return float(((residual - book[list(codes)]) ** 2).sum())


@st.composite
def colliding(draw):
    """Codes with many collisions, never more than K items a bucket."""
    size = draw(st.integers(2, 5))
    buckets = draw(st.lists(st.integers(1, size), min_size=1, max_size=4))
    prefix = np.repeat(np.arange(len(buckets)), buckets)
    last = draw(arrays(np.int64, len(prefix), elements=st.integers(0, min(1, size - 1))))
    order = draw(st.permutations(range(len(prefix))))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    codes = np.stack([prefix % 2, prefix // 2, last], axis=1)[list(order)]
    return codes, rng.normal(size=(len(codes), 2)), rng.normal(size=(size, 2))


@given(colliding())
@settings(max_examples=60, deadline=None)
def test_repair_is_unique_keeps_prefixes_and_is_the_cheapest(case):
    codes, residual, book = case
    before = codes.copy()
    after = make_unique(codes, residual, book, "semantic")
    np.testing.assert_array_equal(codes, before)  # the input is not written to
    assert len(np.unique(after, axis=0)) == len(after)
    np.testing.assert_array_equal(after[:, :-1], codes[:, :-1])
    assert collision_rate(after) == 0
    for prefix in np.unique(codes[:, :-1], axis=0):
        rows = np.flatnonzero((codes[:, :-1] == prefix).all(axis=1))
        if len(np.unique(codes[rows, -1])) == len(rows):
            np.testing.assert_array_equal(
                after[rows], codes[rows]
            )  # nothing to repair, nothing changed
            continue
        every = itertools.permutations(range(len(book)), len(rows))
        best = min(cost(residual[rows], book, choice) for choice in every)
        assert cost(residual[rows], book, after[rows, -1]) == pytest.approx(best)


def test_a_bucket_with_more_items_than_codes_says_so():
    with pytest.raises(
        ArtifactError,
        match="5 items share one semantic prefix, but the last level has only 4 codes",
    ):
        make_unique(
            np.zeros((5, 3), dtype=np.int64), np.zeros((5, 2)), np.zeros((4, 2)), "semantic"
        )


def test_repair_of_one_level_and_of_nothing():
    book = np.arange(6.0)[:, None]
    after = make_unique(
        np.array([[2], [2], [2]]), np.array([[2.0], [2.1], [2.6]]), book, "semantic"
    )
    assert sorted(after.ravel()) in ([1, 2, 3], [2, 3, 4])
    assert make_unique(
        np.zeros((0, 3), dtype=np.int64), np.zeros((0, 2)), book, "semantic"
    ).shape == (0, 3)


def test_collision_rate_counts_items_not_groups():
    assert collision_rate(np.array([[0, 1], [0, 1], [0, 2], [1, 1]])) == 0.5
    assert collision_rate(np.array([[0, 1], [1, 0]])) == 0
    assert collision_rate(np.zeros((0, 2))) == 0


# ------------------------------------------------------------------------------------------ latents


def test_standardise_and_principal_components_against_sklearn():
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    x = np.random.default_rng(0).normal(size=(80, 6)) @ np.diag([5, 4, 3, 2, 1, 0.5]) + 3
    ours = standardise(x, "semantic")
    np.testing.assert_allclose(ours, StandardScaler().fit_transform(x))
    latent, theirs = principal_components(ours, 3), PCA(3).fit_transform(ours)
    assert (latent**2).sum(axis=1).mean() == pytest.approx(1)
    scale = np.sqrt((theirs**2).sum(axis=1).mean())
    np.testing.assert_allclose(np.abs(latent * scale), np.abs(theirs))


def test_a_dimension_that_never_varies_becomes_zero():
    x = np.array([[1.0, 5.0], [2.0, 5.0]])
    np.testing.assert_array_equal(standardise(x, "semantic"), [[-1, 0], [1, 0]])


# --------------------------------------------------------------------------------------- the RQ-VAE


def test_a_later_levels_commitment_reaches_the_encoder():
    torch.manual_seed(0)
    model = DualRQVAE((12, 6), SMALL)
    views = views_of(random_embeddings())
    initialise(model, views, SMALL)
    z = torch.cat(model.encode(*views), dim=1)
    _, _, terms, _ = model._levels(z, model.trunk)
    for term in terms:
        model.zero_grad()
        term.backward(retain_graph=True)
        grads = [p.grad.abs().sum() for encoder in model.encoders for p in encoder.parameters()]
        assert all(g > 0 for g in grads)
        assert model.trunk.grad.abs().sum() > 0
    z = z.detach().requires_grad_()  # by hand: d/dz of mu * mean((r_2 - e_2)^2), with r_2 = z - e_1
    _, residual, terms, _ = model._levels(z, model.trunk)
    (grad,) = torch.autograd.grad(terms[1], z)
    torch.testing.assert_close(grad, SMALL.commitment * 2 * residual.detach() / residual.numel())


def numpy_loss(state: dict[str, np.ndarray], views: list[np.ndarray], mu: float) -> float:
    """The paper's loss from saved tensors alone: no torch, no function of the library."""

    def mlp(x: np.ndarray, name: str) -> np.ndarray:
        layers = sorted({int(k.split(".")[2]) for k in state if k.startswith(f"{name}.")})
        for layer in layers:
            x = x @ state[f"{name}.{layer}.weight"].T + state[f"{name}.{layer}.bias"]
            x = np.maximum(x, 0) if layer != layers[-1] else x
        return x

    def levels(rest: np.ndarray, books: np.ndarray):
        total, terms = np.zeros_like(rest), []
        for book in books:
            word = book[((rest[:, None] - book) ** 2).sum(axis=2).argmin(axis=1)]
            terms.append(
                (1 + mu) * ((rest - word) ** 2).mean()
            )  # sg[] changes gradients, not values
            rest, total = rest - word, total + word
        return total, rest, terms

    z = [mlp(view, f"encoders.{i}") for i, view in enumerate(views)]
    z = [x / np.linalg.norm(x, axis=1, keepdims=True) * np.sqrt(x.shape[1]) for x in z]
    shared, rest, terms = levels(np.concatenate(z, axis=1), state["trunk"])
    error, width = 0.0, z[0].shape[1]
    for i, view in enumerate(views):
        half = slice(i * width, (i + 1) * width)
        own, _, more = levels(rest[:, half], state[f"branches.{i}"])
        error += ((mlp(shared[:, half] + own, f"decoders.{i}") - view) ** 2).mean()
        terms += more
    return error + np.mean(terms)


@pytest.mark.parametrize(("widths", "shared"), [((12, 6), 2), ((12, 6), 0), ((12,), 4)])
def test_the_loss_is_the_papers(widths, shared):
    torch.manual_seed(0)
    told = small(num_shared=shared)
    model = DualRQVAE(widths, told).double()
    views = [view.double() for view in views_of(random_embeddings())[: len(widths)]]
    with torch.no_grad():
        model.set_codebooks(fit_dual_kmeans(latents_of(model, tuple(views)), told))
    state = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    loss, codes = model(*views)
    assert len(codes) == shared + 2 * (4 - shared) if len(widths) == 2 else 4
    assert loss.item() == pytest.approx(
        numpy_loss(state, [view.numpy() for view in views], told.commitment)
    )
    # of a codeword: the codebook term alone, for nothing else of the loss may move it
    loss.backward()
    name = "trunk" if shared else "branches.1"
    grad = dict(model.named_parameters())[name].grad[0] if shared else model.branches[1].grad[0]
    z = torch.cat(model.encode(*views), dim=1) if shared else model.encode(*views)[1]
    first, word = codes[0] if shared else codes[4], torch.tensor(state[name])[0]
    expected = torch.zeros_like(word).index_add_(0, first, 2 * (word[first] - z.detach()))
    torch.testing.assert_close(grad, expected / z.numel() / len(codes))


def test_codebooks_start_from_kmeans_on_the_whole_catalogue():
    torch.manual_seed(0)
    model = DualRQVAE((12, 6), SMALL)
    assert not model.trunk.any()
    views = views_of(random_embeddings())
    initialise(model, views, SMALL)
    expected = fit_dual_kmeans(latents_of(model, views), SMALL)
    for ours, theirs in zip(model.codebooks(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_dead_codewords_are_revived():
    torch.manual_seed(0)
    model = DualRQVAE((12, 6), SMALL)
    views = views_of(random_embeddings())
    initialise(model, views, SMALL)
    with torch.no_grad():
        model.trunk[0, 1:] = 1e6  # far from everything
        model.branches[1][1, 3:] = 1e6
    codes = model(*views)[1]
    assert (len(codes[0].unique()), len(codes[5].unique())) == (1, 3)
    moved = revive(model, views, torch.Generator().manual_seed(0))
    assert moved >= 7 + 5
    assert float(model.trunk.detach().max()) < 1e5
    assert float(model.branches[1].detach().max()) < 1e5
    codes = model(*views)[1]
    assert len(codes[0].unique()) >= 7
    assert len(codes[5].unique()) >= 6


def test_the_last_epoch_leaves_no_codeword_unused(monkeypatch):
    def spoiled(model, views, settings):
        initialise(model, views, settings)
        with torch.no_grad():
            model.trunk[0, 4:] = 1e4

    monkeypatch.setattr("gensar_lite.identifiers.rqvae.initialise", spoiled)
    views = [standardise(getattr(random_embeddings(), v), v) for v in VIEWS]
    model, curve = fit_rq_vae(views, small(epochs=3))
    assert [row["revived"] >= 4 for row in curve] == [False, False, True]
    with torch.no_grad():
        assert len(model(*views_of(random_embeddings()))[1][0].unique()) >= 7


def test_training_learns_and_tells_every_epoch():
    rng = np.random.default_rng(0)
    groups = rng.integers(6, size=60)  # six groups with noise: something to learn
    views = [
        standardise(rng.normal(size=(6, d))[groups] + rng.normal(size=(60, d)) / 5, "any")
        for d in (12, 6)
    ]
    model, curve = fit_rq_vae(views, small(epochs=40, lr=0.01))
    assert [row["epoch"] for row in curve] == list(range(1, 41))
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
    assert not model.training


def test_a_reloaded_model_in_training_mode_keeps_its_codebooks():
    embeddings = random_embeddings()
    built = build_identifiers(embeddings, small(quantizer="rq-vae"))
    state = {
        k.removeprefix("rqvae."): torch.tensor(v)
        for k, v in built.tensors.items()
        if k.startswith("rqvae.")
    }
    model = DualRQVAE((12, 6), SMALL)
    model.load_state_dict(state)  # strict: nothing outside the saved tensors
    with torch.no_grad():
        codes = model.train()(*views_of(embeddings))[1]
    for ours, saved in zip(model.codebooks(), ("trunk", *VIEWS), strict=True):
        np.testing.assert_array_equal(ours, built.tensors[saved])
    np.testing.assert_array_equal(torch.stack(codes[:4], dim=1), built.before["semantic"])


def test_a_loss_that_is_not_finite_stops():
    views = [standardise(getattr(random_embeddings(), v), v) for v in VIEWS]
    with pytest.raises(ArtifactError, match=r"loss became .* Lower identifiers\.lr"):
        fit_rq_vae(views, small(lr=1e30))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_kmeans_refuses_what_would_end_the_process(bad):
    points = np.random.default_rng(0).normal(size=(20, 2))
    points[3, 1] = bad
    with pytest.raises(ArtifactError, match="NaN, infinity or huge values"):
        kmeans(points, small(codebook_size=4))


# --------------------------------------------------------------------------------------- strategies


def built(num_items: int = 60, **changes):
    pair = {"strategy": "dual", "quantizer": "rq-kmeans"} | changes
    return build_identifiers(random_embeddings(num_items), small(**pair))


@pytest.mark.parametrize(("strategy", "quantizer"), sorted(VALID_PAIRS))
@pytest.mark.parametrize("num_items", [60, 3])
def test_every_valid_pair_builds(strategy, quantizer, num_items):
    quantizer = "rq-kmeans" if strategy == "random" else quantizer
    found = built(num_items, strategy=strategy, quantizer=quantizer)
    found.identifiers.check()
    assert found.identifiers.semantic.shape == (num_items, 4)
    assert found.identifiers.num_shared == {"dual": 2, "separate": 0}.get(strategy, 4)
    assert bool(found.curve) == (quantizer == "rq-vae")
    for view in VIEWS:
        np.testing.assert_array_equal(
            found.before[view][:, :-1], getattr(found.identifiers, view)[:, :-1]
        )
        assert collision_rate(getattr(found.identifiers, view)) == 0


@pytest.mark.parametrize("quantizer", ["rq-kmeans", "rq-vae"])
@pytest.mark.parametrize("num_shared", [0, 1, 3, 4])
def test_any_trunk(num_shared, quantizer):
    found = built(quantizer=quantizer, num_shared=num_shared, epochs=2)
    assert found.identifiers.check().num_shared == num_shared
    assert found.tensors["trunk"].shape[0] == num_shared
    assert found.tensors["semantic"].shape[0] == 4 - num_shared


def test_vectors_that_are_not_finite_are_named():
    embeddings = random_embeddings()
    embeddings.semantic[[7, 12]] = np.nan
    for strategy in ("dual", "semantic"):
        with pytest.raises(
            ArtifactError, match=r"2 of 60 semantic rows hold NaN or infinity \(items 7, 12\)"
        ):
            build_identifiers(embeddings, small(strategy=strategy))


def test_twins_get_different_identifiers():
    embeddings = random_embeddings()
    embeddings.semantic[:5], embeddings.collaborative[:5] = (
        embeddings.semantic[0],
        embeddings.collaborative[0],
    )
    found = build_identifiers(embeddings, SMALL)
    assert len(np.unique(found.before["semantic"][:5], axis=0)) == 1
    assert len(np.unique(found.identifiers.semantic[:5, :-1], axis=0)) == 1
    assert len(np.unique(found.identifiers.semantic[:5], axis=0)) == 5


@pytest.mark.parametrize(("strategy", "quantizer"), sorted(VALID_PAIRS))
def test_one_seed_one_result(strategy, quantizer):
    quantizer = "rq-kmeans" if strategy == "random" else quantizer
    one, two = (built(strategy=strategy, quantizer=quantizer) for _ in range(2))
    other = built(strategy=strategy, quantizer=quantizer, seed=5)
    for view in VIEWS:
        np.testing.assert_array_equal(
            getattr(one.identifiers, view), getattr(two.identifiers, view)
        )
        assert (getattr(one.identifiers, view) != getattr(other.identifiers, view)).any()


def test_the_number_of_threads_changes_nothing():
    found, before = [], (torch.get_num_threads(), faiss.omp_get_max_threads())
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            faiss.omp_set_num_threads(threads)
            found.append(build_identifiers(random_embeddings(500), small(codebook_size=16)))
            assert faiss.omp_get_max_threads() == threads  # given back as it was
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])
    for name, tensor in found[0].tensors.items():
        np.testing.assert_array_equal(tensor, found[1].tensors[name])
    np.testing.assert_array_equal(found[0].identifiers.semantic, found[1].identifiers.semantic)
    np.testing.assert_array_equal(
        found[0].identifiers.collaborative, found[1].identifiers.collaborative
    )


# -------------------------------------------------------------------------------------- diagnostics


def test_usage_and_perplexity_by_hand():
    codes = np.array([[0, 0], [1, 0], [2, 0], [3, 0]])
    table = codebook_usage(codes, 8).set_index("level")
    assert table.loc[1].tolist() == pytest.approx([0.5, 4.0, 0.25])
    assert table.loc[2].tolist() == pytest.approx([0.125, 1.0, 1.0])


def test_purity_by_hand():
    codes = np.array([[0, 0], [0, 1], [0, 1], [1, 0]])
    table = prefix_purity(codes, np.array(["a", "b", "b", "c"])).set_index("depth")
    assert table["prefixes"].tolist() == [2, 3]
    assert table["items_per_prefix"].tolist() == pytest.approx([2, 4 / 3])
    assert table["purity"].tolist() == [0.75, 1.0]


# ------------------------------------------------------------------------------------------- tokens


@given(st.integers(1, 5), st.data())
@settings(max_examples=40, deadline=None)
def test_tokens_lead_back_to_codes_and_blocks_are_disjoint(levels, data):
    shared, size = data.draw(st.integers(0, levels)), data.draw(st.integers(1, 9))
    layout = TokenLayout(data.draw(st.integers(0, 50)), levels, shared, size)
    codes = data.draw(arrays(np.int64, (6, levels), elements=st.integers(0, size - 1)))
    every = np.repeat(np.arange(size)[:, None], levels, axis=1)
    blocks = []
    for view in VIEWS:
        tokens = layout.tokens(codes, view)
        np.testing.assert_array_equal(layout.codes(tokens, view), codes)
        blocks += [tuple(block) for block in layout.tokens(every, view).T]
    assert blocks[:shared] == blocks[levels : levels + shared]  # one trunk
    distinct = set(blocks)
    assert len(distinct) == shared + 2 * (levels - shared)
    used = [token for block in distinct for token in block]
    behaviours = [layout.recommend_item, layout.search_query, layout.search_item]
    assert sorted(used + behaviours) == list(range(layout.num_text, layout.size))
    names = [layout.name(token) for token in range(layout.size)]
    assert len(set(names)) == layout.size


def test_names_and_foreign_tokens():
    layout = TokenLayout(num_text=100, num_levels=3, num_shared=1, codebook_size=4)
    assert layout.size == 100 + 3 + 5 * 4
    assert [layout.name(t) for t in (5, 100, 101, 102)] == ["text:5", "<R_I>", "<S_Q>", "<S_I>"]
    assert [layout.name(t) for t in layout.tokens(np.array([3, 0, 1]), "semantic")] == [
        "shared1:3",
        "sem2:0",
        "sem3:1",
    ]
    collaborative = layout.tokens(np.array([3, 0, 1]), "collaborative")
    assert [layout.name(t) for t in collaborative] == ["shared1:3", "col2:0", "col3:1"]
    with pytest.raises(ValueError, match="not a semantic identifier"):
        layout.codes(collaborative, "semantic")


def test_a_one_view_strategy_has_one_set_of_tokens():
    found = built(strategy="semantic").identifiers
    layout = layout_for(found, 10)
    assert layout.size == 10 + 3 + 4 * 8
    np.testing.assert_array_equal(
        layout.tokens(found.semantic, "semantic"),
        layout.tokens(found.collaborative, "collaborative"),
    )


# -------------------------------------------------------------------------------------------- stage


@pytest.mark.parametrize("quantizer", ["rq-kmeans", "rq-vae"])
def test_the_stage(tmp_path, quantizer):
    changes = {
        f"identifiers.{k}": v
        for k, v in (vars(SMALL) | {"quantizer": quantizer, "epochs": 3}).items()
    }
    ws = Workspace.open(override(preset("tiny"), changes), tmp_path)
    with pytest.raises(ArtifactError, match="01_data"):
        identify(ws)
    ws.build("data", lambda folder: small_corpus(60).save(folder) or {})
    ws.build("embeddings", lambda folder: random_embeddings().save(folder) or {})
    folder = identify(ws)
    found = Identifiers.load(folder)
    assert ws.config.identifiers.num_shared == found.num_shared == 2
    tensors = load_file(folder / "quantizer.safetensors")
    assert {"trunk", "semantic", "collaborative", "before.semantic", "before.collaborative"} <= set(
        tensors
    )
    assert (folder / "curve.parquet").exists() == (quantizer == "rq-vae")
    statistics = ws.meta("identifiers")["statistics"]
    layout = {"num_levels": 4, "num_shared": 2, "codebook_size": 8, "codewords": 8, "warnings": []}
    assert statistics.pop("sizes") == layout
    assert ("bf16" in statistics.pop("machine", {})) == (quantizer == "rq-vae")
    for view, facts in statistics.items():
        assert facts["collision_rate_before"] == collision_rate(tensors[f"before.{view}"])
        assert facts["collision_rate_after"] == 0
        assert [row["level"] for row in facts["levels"]] == [1, 2, 3, 4]
