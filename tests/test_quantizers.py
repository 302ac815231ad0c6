"""Quantizers, uniqueness and new items against other ways of knowing: faiss, optimal assignment,
short loops.
"""

from __future__ import annotations

import dataclasses

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy.optimize import linear_sum_assignment

import gensar_lite.identifiers.assignment as assignment_file
import gensar_lite.identifiers.fitted as fitted_file
from gensar_lite.artifacts import VIEWS, ArtifactError, ItemEmbeddings
from gensar_lite.config import VALID_PAIRS, ConfigError, IdentifiersConfig
from gensar_lite.config.tree import settings_of
from gensar_lite.embeddings.fused import Space, fused_concat, principal_components, standardise
from gensar_lite.identifiers import (
    assign,
    build_identifiers,
    codebook_usage,
    collision_rate,
    load_quantizer,
    make_unique,
    residual_quantize,
)
from gensar_lite.identifiers.assignment import spread, with_extra_level
from gensar_lite.identifiers.balanced import (
    balance,
    balanced_codes,
    column_scaling,
    sinkhorn_codes,
)
from gensar_lite.identifiers.fitted import SPACES, FittedQuantizer, unique_codes
from gensar_lite.identifiers.kmeans import fit_product
from gensar_lite.identifiers.measures import row_numbers
from gensar_lite.identifiers.quantizer import squared_distances
from gensar_lite.identifiers.rqvae import DualRQVAE, initialise

BASE = IdentifiersConfig(
    num_levels=3, num_shared=1, codebook_size=16, latent_dim=6, hidden=(16,), epochs=3
)
UNIQUENESS = settings_of("identifiers")["uniqueness"].choices
PAIRS = sorted(VALID_PAIRS - {("random", "none")})


def with_settings(**changes) -> IdentifiersConfig:
    return dataclasses.replace(BASE, **changes)


def embeddings(num_items: int = 60, seed: int = 0) -> ItemEmbeddings:
    rng = np.random.default_rng(seed)
    return ItemEmbeddings(*(rng.normal(size=(num_items, d)).astype(np.float32) for d in (12, 7, 5)))


def rows(of: ItemEmbeddings, keep: slice) -> ItemEmbeddings:
    return ItemEmbeddings(of.semantic[keep], of.collaborative[keep], of.joint[keep])


# ------------------------------------------------------------------------------------------- spaces


def test_spaces_are_what_the_embeddings_room_says():
    e = embeddings()
    both = {"semantic": e.semantic, "collaborative": e.collaborative}
    even = standardise(e.semantic, "semantic")
    cases = {
        (("semantic",), None): even,
        (("semantic",), 4): principal_components(even, 4),
        (("semantic", "collaborative"), None): fused_concat(both),
        (("semantic", "collaborative"), 4): principal_components(fused_concat(both), 4),
    }
    for (views, dim), expected in cases.items():
        space = Space.fit(e, views, dim)
        np.testing.assert_array_equal(space.apply(e), expected)
        again = Space.of(views, space.tensors())
        np.testing.assert_array_equal(again.apply(e), expected)
        np.testing.assert_allclose(
            again.apply(rows(e, slice(3, 5))), expected[3:5]
        )  # fitted, not fitted again


def test_multitask_without_a_joint_view_names_the_setting():
    e = embeddings()
    with pytest.raises(ConfigError, match=r"embeddings\.joint=adapter"):
        build_identifiers(
            ItemEmbeddings(e.semantic, e.collaborative), with_settings(strategy="multitask")
        )


# ----------------------------------------------------------------------------------- codes, by hand


def reference(
    latents: list[np.ndarray], trunk: np.ndarray, branches: list[np.ndarray]
) -> list[np.ndarray]:
    """Codes of each view, one item at a time."""
    found = [[] for _ in branches]
    for item in zip(*latents, strict=True):
        rest, shared = np.concatenate(item), []
        for book in trunk:
            shared.append(int(np.argmin(((rest - book) ** 2).sum(axis=1))))
            rest = rest - book[shared[-1]]
        cut = 0
        for view, books in enumerate(branches):
            own, half = [], rest[cut : cut + len(item[view])] if view < len(item) else rest[:0]
            cut += len(half)
            for book in books:
                own.append(int(np.argmin(((half - book) ** 2).sum(axis=1))))
                half = half - book[own[-1]]
            found[view].append(shared + own)
    return [np.array(codes) for codes in found]


@pytest.mark.parametrize(
    ("strategy", "quantizer"), [pair for pair in PAIRS if pair[1] != "balanced"]
)
def test_codes_equal_the_reference_and_survive_a_reload(strategy, quantizer, tmp_path):
    e, told = embeddings(), with_settings(strategy=strategy, quantizer=quantizer)
    built = build_identifiers(e, told)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in built.tensors.items()},
        tmp_path / "quantizer.safetensors",
    )
    fitted = load_quantizer(tmp_path, told)
    latents = [space.apply(e) for space in fitted.spaces]
    if quantizer == "rq-vae":
        encoders = fitted.model.encoders
        with torch.no_grad():
            latents = [
                f(torch.tensor(x, dtype=torch.float32)).double().numpy()
                for f, x in zip(encoders, latents, strict=True)
            ]
        latents = [
            x / np.linalg.norm(x, axis=1, keepdims=True) * np.sqrt(x.shape[1]) for x in latents
        ]
    trunk, *branches = (built.tensors[name] for name in ("trunk", *VIEWS))
    expected = reference(latents, trunk, branches)
    again = fitted.quantize(e)
    for view, codes in zip(VIEWS, expected, strict=True):
        np.testing.assert_array_equal(built.before[view], codes)
        np.testing.assert_array_equal(getattr(again, view), codes)


def test_one_vector_strategies_answer_both_views_with_one_array():
    for strategy, spaces in SPACES.items():
        ids = build_identifiers(embeddings(), with_settings(strategy=strategy)).identifiers
        assert (ids.semantic is ids.collaborative) == (len(spaces) == 1)
        assert ids.num_shared == {"dual": 1, "separate": 0}.get(strategy, 3)


def test_a_dual_identifier_that_is_all_trunk_is_one_array():
    ids = build_identifiers(embeddings(), with_settings(num_shared=3)).identifiers
    assert ids.semantic is ids.collaborative
    assert ids.num_shared == 3


def test_separate_is_dual_without_a_trunk():
    one = build_identifiers(embeddings(), with_settings(strategy="separate", num_shared=2))
    two = build_identifiers(embeddings(), with_settings(strategy="dual", num_shared=0))
    np.testing.assert_array_equal(one.identifiers.semantic, two.identifiers.semantic)
    np.testing.assert_array_equal(one.identifiers.collaborative, two.identifiers.collaborative)


def test_product_codes_equal_faiss():
    vectors = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    books = fit_product(vectors, with_settings(strategy="semantic", quantizer="pq")).trunk
    dealt = np.concatenate([np.arange(level, 6, 3) for level in range(3)])
    theirs = faiss.ProductQuantizer(6, 3, 4)
    centroids = np.stack([books[level][:, level::3] for level in range(3)])
    faiss.copy_array_to_vector(centroids.astype(np.float32).ravel(), theirs.centroids)
    packed = theirs.compute_codes(
        np.ascontiguousarray(vectors[:, dealt])
    )  # 3 codes of 4 bits in 2 bytes
    expected = np.stack([packed[:, 0] & 15, packed[:, 0] >> 4, packed[:, 1] & 15], axis=1)
    np.testing.assert_array_equal(residual_quantize(vectors, books)[0], expected)


def test_more_parts_than_dimensions_are_refused():
    with pytest.raises(ConfigError, match="8 parts, one per level, but they have only 5"):
        build_identifiers(
            embeddings(), with_settings(strategy="multitask", quantizer="pq", num_levels=8)
        )


def test_the_residuals_gradient_reaches_a_one_view_encoder():
    torch.manual_seed(0)
    inner = with_settings(num_shared=3)
    model = DualRQVAE((12,), inner)
    views = (torch.tensor(standardise(embeddings().semantic, "semantic"), dtype=torch.float32),)
    initialise(model, views, inner)
    _, _, terms, _ = model._levels(model.encode(*views)[0], model.trunk)
    terms[-1].backward()
    assert all(p.grad.abs().sum() > 0 for p in model.encoders[0].parameters())


# ----------------------------------------------------------------------------------------- balanced


@given(st.integers(1, 40), st.integers(1, 7), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_no_codeword_is_over_its_capacity(num_items, size, seed):
    rng = np.random.default_rng(seed)
    codes = balanced_codes(rng.normal(size=(num_items, 2)), rng.normal(size=(size, 2)))
    assert np.bincount(codes, minlength=size).max() <= -(-num_items // size)
    assert codes.min() >= 0


@pytest.mark.parametrize("seed", range(3))
def test_balanced_codes_are_near_the_optimum(seed):
    rng = np.random.default_rng(seed)
    x, book = rng.normal(size=(120, 3)) ** 3, rng.normal(size=(8, 3))
    far = squared_distances(x, book) + (x**2).sum(axis=1, keepdims=True)
    r, c = linear_sum_assignment(np.repeat(far, 15, axis=1))  # every codeword has 15 seats
    best, ours = (
        np.repeat(far, 15, axis=1)[r, c].sum(),
        far[np.arange(120), balanced_codes(x, book)].sum(),
    )
    assert best <= ours + 1e-9
    assert ours < 1.05 * best


def test_balancing_moves_codewords_to_where_their_share_is():
    x = (
        np.concatenate([np.zeros((30, 1)), np.full((10, 1), 10.0)])
        + np.linspace(0, 1e-3, 40)[:, None]
    )
    book = balance(x, np.array([[0.0], [10.0]]))
    assert book.ravel() == pytest.approx([0, 5], abs=0.01)


@pytest.mark.parametrize("strategy", ["dual", "fused-svd"])
def test_every_level_of_a_balanced_catalogue_is_balanced(strategy):
    built = build_identifiers(
        embeddings(100), with_settings(strategy=strategy, quantizer="balanced")
    )
    for view in VIEWS:
        for level in range(3):
            assert (
                np.bincount(built.before[view][:, level], minlength=16).max() <= 7
            )  # ceil(100 / 16)


# ----------------------------------------------------------------------------------------- Sinkhorn


def test_column_scaling_makes_equal_sums():
    kernel = np.random.default_rng(0).random((4, 5, 3)) + 0.1
    v = column_scaling(kernel, 200)
    mass = kernel * v[:, None, :]
    mass /= mass.sum(axis=2, keepdims=True)  # rows sum to one by the other scaling vector
    np.testing.assert_allclose(mass.sum(axis=1), 5 / 3, rtol=1e-6)


def test_sinkhorn_equals_the_plain_form_and_the_best_assignment():
    rng = np.random.default_rng(1)
    far = rng.random((6, 6))
    scaled = 2 * (far - far.min()) / (far.max() - far.min())
    plain = np.exp(-scaled / 0.05)
    for _ in range(500):
        plain = plain / plain.sum(axis=1, keepdims=True)
        plain = plain / plain.sum(axis=0, keepdims=True)
    codes = sinkhorn_codes(far, 0.05, 500)
    np.testing.assert_array_equal(codes, plain.argmax(axis=1))
    np.testing.assert_array_equal(sinkhorn_codes(far, 0.005, 5000), linear_sum_assignment(far)[1])


def test_the_papers_epsilon_stays_finite_and_groups_are_separate():
    far = np.random.default_rng(2).random((5, 9, 16)) * 100
    with np.errstate(all="raise", under="ignore"):
        together = sinkhorn_codes(far)
    np.testing.assert_array_equal(together, np.stack([sinkhorn_codes(group) for group in far]))


def test_spreading_resolves_what_differs_and_leaves_twins_to_repair():
    residual = np.array([[0.0], [0.1], [0.2], [5.0], [5.0], [9.0]])
    codes = np.array([[0, 0], [0, 0], [0, 0], [1, 2], [1, 2], [2, 3]])
    book = np.array([[0.0], [1.0], [5.0], [9.0]])
    after = spread(codes, residual, book)
    np.testing.assert_array_equal(after[:, 0], codes[:, 0])
    assert after[5].tolist() == [2, 3]  # no collision, no change
    assert len(np.unique(after[:3], axis=0)) == 3
    assert (after[3] == after[4]).all()
    assert collision_rate(make_unique(after, residual, book, "semantic")) == 0


def test_training_with_sinkhorn_uses_the_last_level_evenly():
    torch.manual_seed(0)
    views = [
        torch.tensor(standardise(v, "any"), dtype=torch.float32)
        for v in vars(embeddings(64)).values()
        if v is not None
    ]
    spreads = {}
    for how in ("nearest", "sinkhorn"):
        torch.manual_seed(0)
        model = DualRQVAE((12, 7), with_settings(uniqueness=how))
        initialise(model, views[:2], BASE)
        training, plain = model.train()(*views[:2])[1], model.eval()(*views[:2])[1]
        spreads[how] = [
            int(torch.bincount(codes[-1], minlength=16).max()) for codes in (training, plain)
        ]
        for level in range(len(plain) - 1):
            if level not in (2, 4):  # the last level of each branch
                assert (training[level] == plain[level]).all()
    assert (
        spreads["nearest"][0]
        == spreads["nearest"][1]
        == spreads["sinkhorn"][1]
        > spreads["sinkhorn"][0]
    )


def test_a_fit_uses_every_codeword_and_spreads_items():
    rng = np.random.default_rng(
        0
    )  # 30 uneven groups of correlated dimensions, as text vectors have them
    group = np.minimum(rng.geometric(0.1, size=600), 30) - 1
    mixing = rng.normal(size=(8, 40)) / np.arange(1, 9)[:, None]
    views = [
        rng.normal(size=(30, 40))[group] + rng.normal(size=(600, 8)) @ mixing,
        rng.normal(size=(600, 12)),
    ]
    told = IdentifiersConfig(
        quantizer="rq-vae", num_levels=3, num_shared=1, codebook_size=24, latent_dim=8
    )
    told = dataclasses.replace(told, hidden=(64, 32), epochs=30, batch_size=128)
    built = build_identifiers(ItemEmbeddings(*(v.astype(np.float32) for v in views)), told)
    for view in VIEWS:
        usage = codebook_usage(built.before[view], 24)
        assert (usage["usage"] == 1).all()
        assert (usage["perplexity"] > 15).all()
        assert collision_rate(built.before[view]) < 0.3


# --------------------------------------------------------------------------------------- uniqueness


@pytest.mark.parametrize("how", UNIQUENESS)
@pytest.mark.parametrize("strategy", ["dual", "fused-svd"])
def test_every_uniqueness_is_unique_and_keeps_prefixes(how, strategy):
    e = embeddings(60)
    for view in (e.semantic, e.collaborative):
        view[:6] = view[0]  # six twins
    built = build_identifiers(e, with_settings(strategy=strategy, uniqueness=how))
    ids = built.identifiers.check()
    assert ids.num_levels == (4 if how == "extra-level" else 3)
    assert ids.num_shared == (1 if strategy == "dual" else ids.num_levels)
    for view in VIEWS:
        kept = 3 if how == "extra-level" else 2
        np.testing.assert_array_equal(ids.view(view)[:, :kept], built.before[view][:, :kept])
    if how == "extra-level":
        assert ids.semantic[:6, 3].tolist() == list(range(6))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30),
    st.integers(0, 30),
)
@settings(max_examples=60, deadline=None)
def test_counters_equal_a_dictionary(pairs, cut):
    codes, seen, expected = np.array(pairs), {}, []
    for pair in pairs:
        expected.append(seen.get(pair, 0))
        seen[pair] = expected[-1] + 1
    first = with_extra_level(codes[:cut], 30, "semantic")
    later = with_extra_level(codes[cut:], 30, "semantic", first)
    assert np.concatenate([first, later])[:, -1].tolist() == expected


def test_a_counter_that_overflows_says_the_numbers():
    with pytest.raises(
        ArtifactError, match=r"5 items share one whole semantic code sequence.* only 4 codes"
    ):
        with_extra_level(np.zeros((5, 2), dtype=np.int64), 4, "semantic")


@pytest.mark.parametrize("top", [3, 2**40])
def test_row_numbers_equal_numpys(top):
    codes = np.random.default_rng(0).integers(0, 3, size=(50, 3)) * (top // 3)
    np.testing.assert_array_equal(
        row_numbers(codes), np.unique(codes, axis=0, return_inverse=True)[1].ravel()
    )


# ---------------------------------------------------------------------------------------- new items


@given(
    st.sampled_from(PAIRS),
    st.sampled_from(UNIQUENESS),
    st.integers(20, 50),
    st.integers(1, 30),
    st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_new_items_get_free_identifiers(pair, how, old, new, seed):
    e = embeddings(old + new, seed)
    e.semantic[old], e.collaborative[old], e.joint[old] = (
        e.semantic[0],
        e.collaborative[0],
        e.joint[0],
    )  # a twin
    told = with_settings(
        strategy=pair[0], quantizer=pair[1], uniqueness=how, codebook_size=64, epochs=1
    )
    built = build_identifiers(rows(e, slice(old)), told)
    before = built.identifiers.semantic.copy(), built.identifiers.collaborative.copy()
    fitted = FittedQuantizer.of(built.tensors, told)
    found = assign(rows(e, slice(old, None)), fitted, built.identifiers).check()
    codes = fitted.quantize(rows(e, slice(old, None)))
    for view, earlier in zip(VIEWS, before, strict=True):
        taken = built.identifiers.view(view)
        np.testing.assert_array_equal(taken, earlier)
        assert collision_rate(np.concatenate([taken, found.view(view)])) == 0
        kept = 3 if how == "extra-level" else 2
        np.testing.assert_array_equal(found.view(view)[:, :kept], getattr(codes, view)[:, :kept])
    assert (found.num_shared, found.num_levels) == (
        built.identifiers.num_shared,
        built.identifiers.num_levels,
    )


def test_a_new_item_takes_the_nearest_free_code():
    book = np.arange(5.0)[:, None]
    taken = np.array([[0, 2], [0, 3], [1, 2]])
    found = make_unique(
        np.array([[0, 2], [2, 2]]), np.array([[2.2], [2.2]]), book, "semantic", taken
    )
    assert found.tolist() == [[0, 1], [2, 2]]  # 3 is nearer, but taken; the second prefix is free


def test_a_full_prefix_says_the_numbers():
    taken = np.stack([np.zeros(4, dtype=np.int64), np.arange(4)], axis=1)
    with pytest.raises(
        ArtifactError, match="5 items share one semantic prefix, but the last level has only 4"
    ):
        make_unique(np.array([[0, 1]]), np.zeros((1, 1)), np.zeros((4, 1)), "semantic", taken)


def test_new_vectors_that_are_not_finite_are_named():
    built = build_identifiers(embeddings(), BASE)
    new = embeddings(4, seed=1)
    new.collaborative[2] = np.nan
    with pytest.raises(ArtifactError, match=r"1 of 4 new items .* \(rows 2\)"):
        assign(new, FittedQuantizer.of(built.tensors, BASE), built.identifiers)


def test_random_identifiers_have_no_quantizer():
    with pytest.raises(ConfigError, match="random fits no quantizer"):
        FittedQuantizer.of({}, with_settings(strategy="random"))


# ----------------------------------------------------------------------------------------- promises


@pytest.mark.parametrize(("strategy", "quantizer"), PAIRS)
def test_the_promises_of_every_pair_and_uniqueness(strategy, quantizer, tmp_path):
    e = embeddings(56)
    for table in (e.semantic, e.collaborative, e.joint):
        table[50:53] = table[:3]  # three later items are the twins of earlier ones
    first, new = rows(e, slice(50)), rows(e, slice(50, None))
    for how in UNIQUENESS:
        told = with_settings(
            strategy=strategy, quantizer=quantizer, uniqueness=how, codebook_size=24, epochs=2
        )
        one, two = build_identifiers(first, told), build_identifiers(first, told)
        kept = 3 if how == "extra-level" else 2
        grown = assign(new, FittedQuantizer.of(one.tensors, told), one.identifiers)
        for view in VIEWS:
            ids = one.identifiers.view(view)
            np.testing.assert_array_equal(ids, two.identifiers.view(view))
            assert len({tuple(codes) for codes in ids.tolist()}) == 50
            np.testing.assert_array_equal(ids[:, :kept], one.before[view][:, :kept])
            assert not {tuple(c) for c in grown.view(view).tolist()} & {
                tuple(c) for c in ids.tolist()
            }
        shared = {"dual": 1, "separate": 0}.get(strategy, 3)
        np.testing.assert_array_equal(
            one.before["semantic"][:, :shared], one.before["collaborative"][:, :shared]
        )


@pytest.mark.parametrize("strategy", sorted(SPACES))
@pytest.mark.parametrize("how", UNIQUENESS)
def test_a_reloaded_rq_vae_is_not_changed_by_a_forward_pass_in_training(strategy, how, tmp_path):
    e, told = (
        embeddings(40),
        with_settings(strategy=strategy, quantizer="rq-vae", uniqueness=how, codebook_size=24),
    )
    built = build_identifiers(e, told)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in built.tensors.items()},
        tmp_path / "quantizer.safetensors",
    )
    fitted = load_quantizer(tmp_path, told)
    inputs = tuple(torch.tensor(space.apply(e), dtype=torch.float32) for space in fitted.spaces)
    with torch.no_grad():
        fitted.model.train()(*inputs)
    for name, tensor in fitted.tensors().items():
        np.testing.assert_array_equal(tensor, built.tensors[name])
    codes = fitted.quantize(e)  # still in training mode
    for view in VIEWS:
        np.testing.assert_array_equal(getattr(codes, view), built.before[view])
    again = unique_codes(codes, fitted)
    np.testing.assert_array_equal(again.semantic, built.identifiers.semantic)
    np.testing.assert_array_equal(again.collaborative, built.identifiers.collaborative)


def test_a_catalogue_is_quantized_in_slices_as_it_would_be_at_once(monkeypatch):
    e = embeddings(60)
    for quantizer in ("rq-kmeans", "rq-vae"):
        fitted = FittedQuantizer.of(
            (built := build_identifiers(e, with_settings(quantizer=quantizer))).tensors, BASE
        )
        monkeypatch.setattr(fitted_file, "_TOGETHER", 7)
        parts = fitted.quantize(e)
        monkeypatch.undo()
        for view in VIEWS:
            np.testing.assert_array_equal(getattr(parts, view), built.before[view])
            assert parts.last_residual[view].shape == (60, 6)


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_repair_in_blocks_equals_one_assignment_a_bucket(seed, num_items, fixed):
    rng = np.random.default_rng(seed)
    residual, book = rng.normal(size=(num_items, 2)), rng.normal(size=(80, 2))
    codes = np.stack([rng.integers(3, size=num_items), rng.integers(6, size=num_items)], axis=1)
    taken = np.unique(
        np.stack([rng.integers(3, size=fixed), rng.integers(80, size=fixed)], axis=1), axis=0
    )
    found, everyone = codes.copy(), np.concatenate([taken, codes])
    for bucket in range(3):
        mine, old = np.flatnonzero(codes[:, 0] == bucket), taken[taken[:, 0] == bucket, 1]
        inside = everyone[everyone[:, 0] == bucket, 1]
        if len(np.unique(inside)) < len(inside):
            free = [code for code in range(80) if code not in old]
            far = ((residual[mine][:, None] - book[free]) ** 2).sum(axis=2)
            found[mine, 1] = np.array(free)[linear_sum_assignment(far)[1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment_file, "_TOGETHER", 8)
        np.testing.assert_array_equal(make_unique(codes, residual, book, "semantic", taken), found)


# ------------------------------------------------------------------------------------------ threads


@pytest.mark.parametrize(
    ("strategy", "quantizer"),
    [
        ("dual", "rq-vae"),
        ("dual", "balanced"),
        ("fused-svd", "rq-kmeans"),
        ("semantic", "pq"),
        ("multitask", "rq-vae"),
    ],
)
def test_the_number_of_threads_changes_nothing(strategy, quantizer):
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            told = with_settings(
                strategy=strategy, quantizer=quantizer, codebook_size=64, hidden=(128, 64), epochs=5
            )
            found.append(build_identifiers(embeddings(1500), told))
            assert torch.get_num_threads() == threads  # given back as it was
    finally:
        torch.set_num_threads(before)
    for name, tensor in found[0].tensors.items():
        np.testing.assert_array_equal(tensor, found[1].tensors[name])
    np.testing.assert_array_equal(found[0].identifiers.semantic, found[1].identifiers.semantic)
