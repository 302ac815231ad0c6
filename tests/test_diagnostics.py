"""Diagnostics against other ways of knowing: by hand on five items, loops over pairs, scikit-learn,
constructions.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from helpers import random_identifiers, small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy
from sklearn.metrics import normalized_mutual_info_score

from gensar_lite.__main__ import main
from gensar_lite.artifacts import (
    VIEWS,
    ArtifactError,
    Corpus,
    Identifiers,
    ItemEmbeddings,
    Workspace,
)
from gensar_lite.config import ConfigError, IdentifiersConfig, override, preset
from gensar_lite.embeddings.agreement import neighbours
from gensar_lite.experiments.growth import WAYS, grown, growth_cost, held_out
from gensar_lite.experiments.identifier_grid import compare_identifiers
from gensar_lite.identifiers.diagnostics import HEADLINE, describe, diagnose
from gensar_lite.identifiers.figures import (
    code_tree,
    meaning_figure,
    recall_figure,
    residual_steps,
    usage_figure,
)
from gensar_lite.identifiers.measures import (
    co_purchase_lift,
    code_imbalance,
    codebook_usage,
    distance_correlation,
    level_information,
    level_residuals,
    neighbour_recall,
    prefix_collisions,
    prefix_numbers,
    prefix_purity,
    same_prefix_rate,
    unexplained,
)
from gensar_lite.identifiers.quantizer import residual_quantize
from gensar_lite.identifiers.stage import build_identifiers
from gensar_lite.identifiers.words import code_words, typical_words

FIVE = np.array([[0, 0], [0, 1], [0, 1], [2, 0], [2, 2]])  # (N, L), K = 4
CODES = arrays(
    np.int64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(0, 3)
)


def log(rows: list[tuple], split: str = "train", task: str = "recommend") -> pd.DataFrame:
    events = pd.DataFrame(rows, columns=["user_id", "item_id"]).astype(np.int64)
    return events.assign(split=split, task=task)


# -------------------------------------------------------------------------------------- codes alone


def test_five_items_by_hand():
    assert prefix_numbers(FIVE).tolist() == [[0, 0], [0, 1], [0, 1], [1, 2], [1, 3]]
    table = prefix_collisions(FIVE).set_index("depth")
    assert table.loc[1].tolist() == pytest.approx([2, 1.0])
    assert table.loc[2].tolist() == pytest.approx([4, 0.4])
    # counts 0 0 2 3: differences of the six pairs 0 2 3 2 3 1 = 11, twice over 4 * 4 pairs, over
    # twice the mean 1.25
    assert code_imbalance(FIVE, 4) == pytest.approx(
        [22 / 16 / 2.5, (0 + 1 + 2 + 1 + 2 + 1) * 2 / 16 / 2.5]
    )


def test_imbalance_of_even_codes_is_0_and_of_a_single_one_nearly_1():
    assert code_imbalance(np.array([[0, 3], [1, 3], [2, 3], [3, 3]]), 4) == pytest.approx([0, 0.75])


@given(CODES)
@settings(max_examples=60, deadline=None)
def test_prefix_numbers_and_collisions_by_loops(codes):
    numbers, table = prefix_numbers(codes), prefix_collisions(codes)
    for depth in range(1, codes.shape[1] + 1):
        prefixes = [tuple(row[:depth]) for row in codes]
        assert numbers[:, depth - 1].tolist() == [sorted(set(prefixes)).index(p) for p in prefixes]
        assert table["prefixes"][depth - 1] == len(set(prefixes))
        shared = sum(prefixes.count(p) > 1 for p in prefixes) / len(prefixes)
        assert table["collision_rate"][depth - 1] == pytest.approx(shared)
    assert table["collision_rate"].is_monotonic_decreasing


@given(CODES, st.integers(4, 9))
@settings(max_examples=60, deadline=None)
def test_usage_by_other_ways(codes, size):
    table, imbalance = codebook_usage(codes, size), code_imbalance(codes, size)
    for level, code in enumerate(codes.T):
        count = np.array([(code == k).sum() for k in range(size)])
        assert table["perplexity"][level] == pytest.approx(np.exp(entropy(count)))
        assert 1 - 1e-9 <= table["perplexity"][level] <= table["usage"][level] * size + 1e-9
        gini = np.abs(count[:, None] - count).mean() / (2 * count.mean())
        assert imbalance[level] == pytest.approx(gini)
        assert 0 <= imbalance[level] <= 1 - 1 / size + 1e-12


# ----------------------------------------------------------------------------------------- category


def test_purity_of_five_items():
    table = prefix_purity(FIVE, np.array(["a", "b", "b", "c", "a"])).set_index("depth")
    assert table["purity"].tolist() == pytest.approx([3 / 5, 5 / 5])
    assert table["prefixes"].tolist() == [2, 4]


@given(CODES, st.data())
@settings(max_examples=60, deadline=None)
def test_purity_by_loops_and_within_its_range(codes, data):
    groups = data.draw(arrays(np.int64, len(codes), elements=st.integers(0, 3)))
    found = prefix_purity(codes, groups)["purity"]
    for depth in range(1, codes.shape[1] + 1):
        inside = {}
        for row, group in zip(codes, groups, strict=True):
            inside.setdefault(tuple(row[:depth]), []).append(group)
        by_hand = sum(max(map(own.count, own)) for own in inside.values()) / len(codes)
        assert found[depth - 1] == pytest.approx(by_hand)
    assert found.is_monotonic_increasing
    assert 0 < found.iloc[0] <= found.iloc[-1] <= 1


def test_information_by_entropies():
    groups = np.array(["a", "a", "b", "b", "b"])
    for level, code in enumerate(FIVE.T):
        joint = pd.crosstab(code, groups).to_numpy() / 5
        one, two = entropy(joint.sum(axis=0)), entropy(joint.sum(axis=1))
        mutual = one + two - entropy(joint.ravel())
        assert level_information(FIVE, groups)[level] == pytest.approx(2 * mutual / (one + two))
        assert level_information(FIVE, groups)[level] == normalized_mutual_info_score(groups, code)


# -------------------------------------------------------------------------------------- co-purchase


def lift_by_pairs(codes, events):
    """Every pair of a user's different items, and every pair of purchases of different items."""
    rows = sorted(set(map(tuple, events[["user_id", "item_id"]].to_numpy())))
    every = [(a, b) for a, b in combinations(rows, 2) if a[1] != b[1]]
    own = [(a, b) for a, b in every if a[0] == b[0]]
    found = []
    for depth in range(1, codes.shape[1] + 1):

        def same(pairs, depth=depth):
            return (
                np.mean([(codes[a[1], :depth] == codes[b[1], :depth]).all() for a, b in pairs])
                if pairs
                else 0
            )

        found.append(same(own) / same(every) if own and same(every) else np.nan)
    return found


def test_co_purchase_lift_of_five_items():
    events = log([(0, 0), (0, 1), (1, 3), (1, 4), (2, 2), (2, 4)])
    # own pairs: 0-1 and 3-4 share a first code, 2-4 does not. Of 15 pairs of purchases one is of
    # the same item (4-4);
    # of the others 0-1, 0-2, 1-2 and twice 3-4 share it
    assert co_purchase_lift(FIVE, events)[0] == pytest.approx((2 / 3) / (5 / 14))
    assert co_purchase_lift(FIVE, events)[1] == 0  # 1-2 share both codes; nobody bought both


@given(CODES, st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=14))
@settings(max_examples=80, deadline=None)
def test_co_purchase_lift_by_enumeration(codes, rows):
    events = log([(user, item % len(codes)) for user, item in rows])
    np.testing.assert_allclose(
        co_purchase_lift(codes, events), lift_by_pairs(codes, events), equal_nan=True
    )


def test_only_train_recommendations_count():
    train = log([(0, 0), (0, 1), (1, 3), (1, 4), (2, 2), (2, 4)])
    more = [
        log([(0, 3), (1, 0)], split=split, task=task)
        for split, task in (("test", "recommend"), ("train", "search"))
    ]
    more.append(log([(0, 4)], split="validation"))
    np.testing.assert_array_equal(
        co_purchase_lift(FIVE, train), co_purchase_lift(FIVE, pd.concat([train, *more]))
    )
    assert np.isnan(co_purchase_lift(FIVE, more[0])).all()


@pytest.fixture(scope="module")
def tastes():
    """200 items of 10 tastes; 400 users buy eight items of one taste each, some items more often
    than others.
    """
    rng = np.random.default_rng(0)
    taste, liked = rng.permutation(np.repeat(np.arange(10), 20)), rng.integers(10, size=400)
    share = rng.random(200) ** 2 + 0.1
    rows = []
    for user, own in enumerate(liked):
        pool = np.flatnonzero(taste == own)
        rows += [
            (user, i) for i in rng.choice(pool, 8, replace=False, p=share[pool] / share[pool].sum())
        ]
    return taste, log(rows)


def test_codes_that_are_tastes_have_a_high_lift_and_random_codes_one_of_about_1(tastes):
    taste, events = tastes
    rng = np.random.default_rng(1)
    assert (
        8 < co_purchase_lift(taste[:, None], events)[0] < 12
    )  # all own pairs, a tenth of the others
    random = [co_purchase_lift(rng.permutation(taste)[:, None], events)[0] for _ in range(20)]
    assert np.mean(random) == pytest.approx(1, abs=0.08)


# ------------------------------------------------------------------------------------------ vectors


def test_neighbour_recall_by_loops():
    rng = np.random.default_rng(2)
    vectors, codes = rng.normal(size=(40, 5)), rng.integers(3, size=(40, 3))
    items = np.array([3, 7, 39])
    near = neighbours(vectors, 6, items)
    for depth in range(1, 4):
        kept = [
            (codes[j, :depth] == codes[i, :depth]).all()
            for i, row in zip(items, near, strict=True)
            for j in row
        ]
        assert neighbour_recall(codes, near, items)[depth - 1] == pytest.approx(np.mean(kept))
        pairs = [
            (codes[i, :depth] == codes[j, :depth]).all() for i, j in combinations(range(40), 2)
        ]
        assert same_prefix_rate(codes)[depth - 1] == pytest.approx(np.mean(pairs))


def test_recall_is_1_for_groups_of_neighbours_and_chance_for_all_the_others():
    vectors = np.repeat(np.eye(5), 8, axis=0)
    items, group = np.arange(40), np.repeat(np.arange(5), 8)
    near = neighbours(vectors, 7)
    assert neighbour_recall(group[:, None], near, items) == 1
    everyone = np.arange(40)[:, None]
    assert neighbour_recall(everyone, near, items) == 0
    assert same_prefix_rate(group[:, None]) == pytest.approx(7 / 39)
    rng = np.random.default_rng(3)
    mixed = np.mean(
        [neighbour_recall(rng.permutation(group)[:, None], near, items)[0] for _ in range(60)]
    )
    assert mixed == pytest.approx(7 / 39, abs=0.02)


def test_residuals_are_what_loops_leave_over():
    rng = np.random.default_rng(4)
    vectors, codes = rng.normal(size=(30, 4)) + 2, rng.integers(4, size=(30, 3))
    left = vectors - vectors.mean(axis=0)
    for level, found in enumerate(level_residuals(codes, vectors)):
        left = np.stack(
            [
                row - left[codes[:, level] == codes[i, level]].mean(axis=0)
                for i, row in enumerate(left)
            ]
        )
        np.testing.assert_allclose(found, left, atol=1e-12)


@given(CODES, st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_what_is_unexplained_only_falls(codes, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(codes) + 1, 3))
    codes = np.concatenate([codes, codes[:1]])
    share = unexplained(codes, vectors)
    assert (np.diff(share, prepend=1) <= 1e-12).all()
    assert (share >= 0).all()


def test_codes_that_name_the_vector_explain_it_all_and_keep_every_distance():
    words = np.array([[0.0, 0], [5, 1], [1, 7]])
    small = np.array([[0.5, 0], [-0.5, 0.25], [0, -0.25]])
    codes = np.array([[i, j] for i in range(3) for j in range(3)])
    vectors = words[codes[:, 0]] + small[codes[:, 1]]
    pairs = np.array(list(combinations(range(9), 2)))
    assert unexplained(codes, vectors)[1] == pytest.approx(0, abs=1e-20)
    assert 0 < unexplained(codes, vectors)[0] < 0.1
    found = distance_correlation(codes, vectors, pairs)
    assert found[1] == pytest.approx(1)
    assert 0.9 < found[0] < 1
    assert np.isnan(distance_correlation(np.zeros((9, 1), dtype=int), vectors, pairs)[0])


def test_random_codes_explain_next_to_nothing():
    rng = np.random.default_rng(5)
    vectors, codes = rng.normal(size=(2000, 8)), rng.integers(20, size=(2000, 1))
    assert unexplained(codes, vectors)[0] == pytest.approx(1 - 19 / 1999, abs=0.004)
    assert abs(distance_correlation(codes, vectors, rng.integers(2000, size=(4000, 2)))[0]) < 0.2


# -------------------------------------------------------------------------------------------- words


def test_typical_words_by_hand():
    texts = ["red tent tent", "red lamp", "red kettle kettle", "blue kettle"]
    found = typical_words(texts, np.array([7, 7, 9, 9]), top=2)
    # ten words in two groups: A = 5. Group 7: tent 2 log(1 + 5/2) = 2.51, red 2 log(1 + 5/3) =
    # 1.96, lamp log 6 = 1.79
    # Group 9: kettle 3 log(1 + 5/3) = 2.94, blue log 6 = 1.79, red log(1 + 5/3) = 0.98
    assert found == {7: ["tent", "red"], 9: ["kettle", "blue"]}
    assert typical_words(["the", ""], np.array([0, 1])) == {0: [], 1: []}


def test_code_words_of_a_level_and_after_a_prefix():
    items = pd.DataFrame(
        {"title": ["tent", "big tent", "lamp", "<b>pan</b>", "kettle"], "text": ""}
    )
    codes = np.array([[0, 0], [0, 1], [0, 1], [1, 0], [1, 1]])
    table = code_words(codes, items)
    assert table["code"].tolist() == [0, 1]
    assert table["items"].tolist() == [3, 2]
    assert table["examples"].tolist() == [["tent", "big tent", "lamp"], ["<b>pan</b>", "kettle"]]
    assert code_words(codes, items, prefix=(1,))["words"].tolist() == [["pan"], ["kettle"]]
    assert code_words(codes, items, level=2)["items"].tolist() == [3, 2]
    assert code_words(codes, items, prefix=(3,)).empty


# ----------------------------------------------------------------------------------------- together


@pytest.fixture(scope="module")
def made():
    """First codes are categories, second ones random; one view's vectors follow the category, the
    other's are noise.
    """
    rng = np.random.default_rng(6)
    group, corpus = np.arange(60) % 6, small_corpus(60, 40)
    items = corpus.items.assign(category=[f"Top {g % 2} > Leaf {g}" for g in group])
    codes = np.stack([group, rng.permutation(60) // 10, np.arange(60) // 6], axis=1)
    other = np.stack([group, rng.permutation(60) // 10, np.arange(60) // 6], axis=1)
    vectors = (np.eye(6)[group] + 0.01 * rng.normal(size=(60, 6))).astype(np.float32)
    noise = rng.normal(size=(60, 4)).astype(np.float32)
    corpus = Corpus(items, corpus.queries, corpus.events, corpus.relevance)
    return Identifiers(codes, other, 1, 10).check(), ItemEmbeddings(vectors, noise), corpus


def value(table, view, level, measure):
    return table.set_index(["view", "level", "measure"])["value"][view, level, measure]


def test_diagnose_knows_a_catalogue_whose_codes_are_categories(made):
    table = diagnose(*made)
    assert list(table.columns) == ["view", "level", "measure", "value"]
    assert not table.duplicated(["view", "level", "measure"]).any()
    assert np.isfinite(table["value"]).all()
    for view in VIEWS:
        assert value(table, view, 1, "purity/leaf") == 1
        assert value(table, view, 1, "purity/top") == 1
        assert value(table, view, 1, "nmi/leaf") == pytest.approx(1)
        assert value(table, view, 1, "purity_shuffled/leaf") < 0.6
        assert value(table, view, 1, "unexplained/semantic") < 0.05
        assert value(table, view, 1, "unexplained/collaborative") > 0.7
        assert value(table, view, 1, "distance_correlation/semantic") > 0.95
        assert value(table, view, 3, "collision_rate") == 0
        assert value(table, view, 1, "neighbour_chance") == pytest.approx(9 / 59)
        assert value(table, view, 1, "usage") == 0.6
    # ten items a category, nine others: nine of ten neighbours can be kept
    assert value(table, "semantic", 1, "neighbour_recall/semantic") == pytest.approx(0.9)
    assert value(table, "semantic", 1, "neighbour_recall/collaborative") < 0.4


def test_diagnose_is_the_same_again_and_reads_codes_before_repair(made):
    table = diagnose(*made)
    pd.testing.assert_frame_equal(table, diagnose(*made))
    before = {view: np.zeros((60, 3), dtype=np.int64) for view in VIEWS}
    other = diagnose(*made, before=before)
    assert value(table, "semantic", 3, "collision_rate_before") == 0
    assert value(other, "semantic", 3, "collision_rate_before") == 1
    assert value(other, "semantic", 3, "collision_rate") == 0
    assert value(other, "semantic", 1, "perplexity") == 1
    assert (
        value(other, "semantic", 1, "purity/leaf") == 1
    )  # meaning is that of the final identifiers


def test_a_joint_view_is_asked_and_a_missing_category_left_out(made):
    identifiers, embeddings, corpus = made
    joint = ItemEmbeddings(
        embeddings.semantic, embeddings.collaborative, embeddings.semantic, np.zeros(60, dtype=bool)
    )
    assert value(
        diagnose(identifiers, joint, corpus), "semantic", 1, "neighbour_recall/joint"
    ) == pytest.approx(0.9)
    half = corpus.items.assign(category=corpus.items["category"].where(np.arange(60) < 30, ""))
    blank = Corpus(half, corpus.queries, corpus.events, corpus.relevance)
    assert value(diagnose(identifiers, embeddings, blank), "semantic", 1, "purity/leaf") == 1
    none = Corpus(half.assign(category=""), corpus.queries, corpus.events, corpus.relevance)
    assert not diagnose(identifiers, embeddings, none)["measure"].str.contains("purity|nmi").any()


def test_describe_keeps_the_headline():
    identifiers, corpus = random_identifiers(40, 8), small_corpus(40)
    rng = np.random.default_rng(7)
    embeddings = ItemEmbeddings(*(rng.normal(size=(40, 5)).astype(np.float32) for _ in VIEWS))
    before = {view: identifiers.view(view) for view in VIEWS}
    table = diagnose(identifiers, embeddings, corpus, before)
    facts = describe(identifiers, before, table)
    assert set(facts) == set(VIEWS)
    for view in VIEWS:
        assert facts[view]["collision_rate_after"] == 0
        assert set(HEADLINE) <= set(facts[view])
        assert facts[view]["neighbour_recall/semantic"][0] == round(
            value(table, view, 1, "neighbour_recall/semantic"), 4
        )


# ------------------------------------------------------------------------------------------ figures


def test_figures_show_the_table_and_say_it(made):
    table = diagnose(*made)
    for draw, panels in ((usage_figure, 2), (meaning_figure, 2), (recall_figure, 2)):
        figure, alt = draw(table)
        assert len(figure.layout.annotations) == panels
        named = [trace.name for trace in figure.data if trace.showlegend]
        assert len(named) == len(set(named)), "each line stands in the legend once"
        looks = {
            view: {(t.line.color, t.marker.symbol) for t in figure.data if t.name.startswith(view)}
            for view in VIEWS
        }
        assert all(len(look) == 1 for look in looks.values())
        assert not looks["semantic"] & looks["collaborative"]
        assert "semantic ID" in alt
        assert "collaborative ID" in alt
        assert len(figure.to_json()) < 30_000
    figure, alt = recall_figure(table)
    semantic = next(trace for trace in figure.data if trace.name == "semantic ID")
    assert list(semantic.x) == [1, 2, 3]
    assert semantic.y[0] == pytest.approx(0.9)
    assert "neighbours by semantic vector, semantic ID: 0.9" in alt


def test_the_code_tree_counts_items_and_escapes_strangers():
    codes = np.array([[4, 0], [4, 0], [4, 1], [2, 0], [2, 3], [1, 1]])
    titles = [
        '<a href="https://x.example">tent</a>',
        "R&D",
        "%{x} $y$",
        "pan\u202e",
        "kettle",
        "lamp",
    ]
    groups = ["<b>Camp</b>", "<b>Camp</b>", "Other", "Kitchen", "Kitchen", ""]
    figure, alt = code_tree(codes, titles, groups, codes_per_node=(2, 1))
    tree = figure.data[0]
    assert tree.type == "icicle"
    assert list(tree.ids) == ["all items", "4", "4 0", "4 others", "2", "2 0", "2 others", "others"]
    assert list(tree.parents) == ["", "all items", "4", "4", "all items", "2", "2", "all items"]
    assert list(tree.values) == [6, 3, 2, 1, 2, 1, 1, 1]
    assert tree.labels[1] == "4<br>&lt;b&gt;Camp&lt;/b&gt;"
    written = " ".join([*tree.labels, *tree.hovertext]).replace("<br>", "")
    assert "<" not in written
    assert "&lt;a href=" in written
    assert "R&amp;D" in written
    assert "\u202e" not in written
    assert (
        "2 of 3 first codes, the largest holding 3 items, mostly <b>Camp</b>;" in alt
    )  # a page escapes its alt texts


def test_residuals_shrink_frame_by_frame():
    """Two dimensions are their own plane, so distances stay; the shares of the norm are counted by
    hand.
    """
    items = np.array([[4.5, 3.0], [3.5, 2.0], [-3.0, 1.0], [-2.5, 2.5], [0.5, -3.0]])
    books = np.array(
        [[[4.0, 2.5], [-3.0, 2.0], [0.0, -3.0]], [[0.5, 0.5], [-0.25, -0.75], [0.5, -0.25]]]
    )  # (L, K, d)
    codes, steps = residual_quantize(items, books)
    figure, alt = residual_steps(steps, codes)
    assert [frame.name for frame in figure.frames] == ["0", "1", "2"]
    for frame, step in zip(figure.frames, steps, strict=True):
        drawn = np.stack([frame.data[0].x, frame.data[0].y], axis=1)  # (N, 2)
        np.testing.assert_allclose(
            np.linalg.norm(drawn, axis=1), np.linalg.norm(step, axis=1), atol=0.02
        )
    squares = [(step**2).sum() for step in steps]
    assert squares == pytest.approx([77.25, 2.75, 0.3125])
    assert "100%, 4%, 0% of the squared norm" in alt
    assert figure.frames[1].layout.title.text == "left after level 1: 4% of the squared norm"
    look = figure.data[0].marker
    assert look.color[0] == look.color[1] != look.color[2] == look.color[3]
    assert look.symbol[0] != look.symbol[2], "not told by colour alone"
    assert [list(step.args[0]) for step in figure.layout.sliders[0].steps] == [["0"], ["1"], ["2"]]


def test_residual_steps_are_a_fixed_sample_and_mark_the_largest_codes():
    rng = np.random.default_rng(1)
    steps = [rng.normal(size=(50, 3)), np.zeros((50, 3))]
    codes = np.repeat(np.arange(7), [20, 10, 8, 6, 3, 2, 1])[:, None]
    figure, alt = residual_steps(steps, codes, sample=50)
    assert list(figure.data[0].marker.symbol).count("circle-open") == 6, (
        "three codes beyond the largest four"
    )
    assert "100%, 0%" in alt
    few, _ = residual_steps(steps, codes, sample=12, seed=3)
    assert len(few.data[0].x) == 12
    again, _ = residual_steps(steps, codes, sample=12, seed=3)
    assert few.to_json() == again.to_json()
    assert few.to_json() != residual_steps(steps, codes, sample=12, seed=4)[0].to_json()


# --------------------------------------------------------------------------------------------- grid


@pytest.fixture(scope="module")
def workspace(made, tmp_path_factory):
    _, embeddings, corpus = made
    small = {
        "codebook_size": 16,
        "num_levels": 3,
        "num_shared": 1,
        "latent_dim": 4,
        "hidden": (8,),
        "epochs": 3,
    }
    config = override(preset("tiny"), {f"identifiers.{key}": value for key, value in small.items()})
    ws = Workspace.open(config, tmp_path_factory.mktemp("grid"))
    ws.build("data", lambda folder: corpus.save(folder) or {})
    ws.build("embeddings", lambda folder: embeddings.save(folder) or {})
    return ws


PAIRS = [("dual", "rq-kmeans"), ("semantic", "rq-kmeans"), ("random", "none")]


@pytest.fixture(scope="module")
def grid(workspace):
    return compare_identifiers(
        workspace, (0, 1), PAIRS
    ), workspace.root / "reports" / "identifiers-tiny"


def test_the_grid_knows_its_control(grid):
    table, folder = grid
    found = table.set_index(["strategy", "view", "level", "measure"])["mean"]
    pure = ("semantic", 1, "purity/leaf")
    assert found["semantic", *pure] == pytest.approx(1), "vectors follow the category, so codes do"
    assert found["random", *pure] < 0.7
    assert set(table["seeds"]) == {2}
    seconds = table.loc[table["measure"] == "seconds", "mean"]  # a random cell may round to nothing
    assert len(seconds) == 3
    assert seconds.sum() > 0
    kept = pd.read_parquet(folder / "cells" / "random-none.parquet")
    cells = [kept[kept["seed"] == seed] for seed in (0, 1)]
    values = [c.set_index(["view", "level", "measure"])["value"][pure] for c in cells]
    assert values[0] != values[1], "another seed is another control"
    row = table[
        (table["strategy"] == "random")
        & (table["measure"] == "purity/leaf")
        & (table["level"] == 1)
    ].iloc[0]
    assert row["mean"] == pytest.approx(np.mean(values), rel=1e-6)
    assert row["std"] == pytest.approx(np.std(values), abs=1e-6)


def test_the_report_holds_a_row_a_pair_and_no_title(grid):
    table, folder = grid
    page = (folder / "index.md").read_text()
    for strategy, quantizer in PAIRS:
        assert f"| {strategy} | {quantizer} |" in page
    assert "does not predict" in page
    written = page + (folder / "table.csv").read_text()
    assert "thing number" not in written
    assert "Leaf" not in written
    kept = pd.read_csv(folder / "table.csv")
    np.testing.assert_allclose(kept["mean"], table["mean"], atol=1e-5)


def test_the_pages_picture_is_there_and_said(grid):
    _, folder = grid
    page = (folder / "index.md").read_text()
    assert (folder / "grid.png").read_bytes()[:4] == b"\x89PNG"
    assert (
        "![A dot per view for 3 pairs of strategy and quantizer: least codewords in use from"
        in page
    )
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 300_000


# ------------------------------------------------------------------------------------------ growing


def test_held_out_items_are_drawn_once_a_seed():
    assert len(held_out(60, 0)) == 6
    assert held_out(60, 0).tolist() == held_out(60, 0).tolist() != held_out(60, 1).tolist()
    assert len(held_out(2, 0)) == 1


def test_growth_keeps_the_order_of_items_and_the_quantizer_of_the_others(made):
    _, embeddings, _ = made
    told = IdentifiersConfig(num_levels=3, num_shared=1, codebook_size=16, latent_dim=4)
    held = held_out(60, 0)
    found, known = grown(embeddings, held, told), np.setdiff1d(np.arange(60), held)
    alone = build_identifiers(embeddings.rows(known), told).identifiers
    np.testing.assert_array_equal(found.semantic[known], alone.semantic)
    np.testing.assert_array_equal(found.collaborative[known], alone.collaborative)


def test_the_cost_of_growth_by_hand(made):
    _, embeddings, corpus = made
    told = IdentifiersConfig(num_levels=3, num_shared=1, codebook_size=16, latent_dim=4)
    categories = corpus.items["category"].to_numpy().copy()
    categories[held_out(60, 0)[0]] = ""  # one held-out item has no category, so five are asked
    table = growth_cost(embeddings, categories, told)
    found = table.set_index(["way", "view", "level", "measure"])["value"]
    codes = {
        "assigned": grown(embeddings, held_out(60, 0), told),
        "refitted": build_identifiers(embeddings, told)[0],
    }
    for way, ids in codes.items():
        asked, right = held_out(60, 0)[1:], 0
        for item in asked:
            inside = [
                categories[j]
                for j in range(60)
                if ids.semantic[j, 0] == ids.semantic[item, 0] and categories[j]
            ]
            counts = Counter(inside).most_common()
            right += categories[item] in [name for name, count in counts if count == counts[0][1]]
        assert found[way, "semantic", 1, "purity"] == pytest.approx(right / 5)
        assert found[way, "semantic", 1, "purity"] == 1, (
            "vectors follow the category, also of items never seen"
        )
        assert (
            found[way, "semantic", 1, "unexplained"]
            < 0.1
            < found[way, "semantic", 1, "neighbour_recall"]
        )
    assert set(table["way"]) == set(WAYS)


def test_the_report_says_what_growing_costs(grid):
    _, folder = grid
    kept = pd.read_csv(folder / "growth.csv")
    assert set(kept["way"]) == set(WAYS)
    assert set(kept["quantizer"]) == {"rq-kmeans"}
    assert set(kept["seeds"]) == {2}
    assert "| rq-kmeans | semantic |" in (folder / "index.md").read_text()


def test_a_finished_cell_is_reused_until_what_it_was_made_from_changes(workspace, grid):
    table, folder = grid
    cell = folder / "cells" / "dual-rq-kmeans.parquet"
    before = cell.stat().st_mtime_ns
    pd.testing.assert_frame_equal(compare_identifiers(workspace, (0, 1), PAIRS), table)
    assert cell.stat().st_mtime_ns == before
    compare_identifiers(workspace, (2,), PAIRS[:1])
    assert pd.read_parquet(cell)["seed"].unique().tolist() == [0, 1, 2]  # the others stay
    other = Workspace(
        workspace.root, override(workspace.config, {"identifiers.num_shared": 2}), workspace.run
    )
    compare_identifiers(other, (0,), PAIRS[:1])
    assert pd.read_parquet(cell)["seed"].unique().tolist() == [0]


def test_wrong_pairs_and_seeds_are_told(workspace, capsys):
    with pytest.raises(ConfigError, match=r"dual \+ none is no valid pair.*dual \+ rq-kmeans"):
        compare_identifiers(workspace, (0,), [("dual", "none")])
    many = Workspace(
        workspace.root, override(workspace.config, {"identifiers.num_levels": 20}), workspace.run
    )
    with pytest.raises(
        ArtifactError, match=r"no pair could be built.*pq cuts vectors into 20 parts"
    ):
        compare_identifiers(many, (0,), [("semantic", "pq")])
    assert main(["study", "identifiers", "--preset", "tiny", "--seeds", "a"]) == 1
    assert "--seeds 0,1,2" in capsys.readouterr().err
