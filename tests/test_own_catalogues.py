"""Any catalogue gets identifiers: sizes by its items, room where a prefix overflows, and warnings
that say so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time

import numpy as np
import pandas as pd
import pytest
from helpers import small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from gensar_lite.artifacts import VIEWS, ArtifactError, Identifiers, ItemEmbeddings, Workspace
from gensar_lite.config import (
    OWN_FILES,
    VALID_PAIRS,
    IdentifiersConfig,
    override,
    preset,
)
from gensar_lite.config.tree import settings_of
from gensar_lite.experiments.growth import growth_cost
from gensar_lite.identifiers import (
    assign,
    build_identifiers,
    identify,
    layout_for,
    load_quantizer,
    make_unique,
)
from gensar_lite.identifiers.assignment import with_extra_level
from gensar_lite.identifiers.balanced import within_capacity
from gensar_lite.identifiers.diagnostics import diagnose
from gensar_lite.identifiers.fitted import FittedQuantizer
from gensar_lite.identifiers.room import Room, digits, room_for, sized

SIZES_OPEN = {key: value for key, value in OWN_FILES.items() if key.startswith("identifiers.")}
UNIQUENESS = settings_of("identifiers")["uniqueness"].choices
CHEAP = sorted(pair for pair in VALID_PAIRS if pair[1] != "rq-vae")
COLD = 0.3  # share of a generated catalogue that nobody met


def own(name: str = "tiny", **changes) -> IdentifiersConfig:
    """What own files get under a preset, with further `changes`."""
    config = override(preset(name), SIZES_OPEN)
    return override(
        config, {f"identifiers.{key}": value for key, value in changes.items()}
    ).identifiers


def catalogue(
    num_items: int, num_places: int, seed: int = 0, dims: tuple[int, ...] = (12, 8, 8)
) -> ItemEmbeddings:
    """Items at `num_places` different places in each view, a few of which hold most: vectors are
    often the same.
    """
    rng = np.random.default_rng(seed)
    views = []
    for dim in dims:
        place = np.minimum(rng.geometric(min(1, 3 / num_places), size=num_items), num_places) - 1
        views.append(rng.normal(size=(num_places, dim))[place].astype(np.float32))
    return ItemEmbeddings(*views, cold=rng.random(num_items) < COLD)


def check_promises(built, num_items: int, codes_kept: int) -> None:
    """Unique in each view, in range, one trunk; and up to the last level what was quantized."""
    ids = built.identifiers.check()
    for view in VIEWS:
        rows = {tuple(row) for row in ids.view(view).tolist()}
        assert len(rows) == num_items
        kept = codes_kept if codes_kept else built.before[view].shape[1] - 1
        np.testing.assert_array_equal(ids.view(view)[:, :kept], built.before[view][:, :kept])
    assert layout_for(ids, 10).size > 10


# ----------------------------------------------------------------------------- sizes of a catalogue


@pytest.mark.parametrize(
    ("num_items", "levels", "codes"),
    [
        (1, 3, 8),
        (10, 3, 8),
        (32, 3, 8),
        (33, 3, 16),
        (300, 3, 32),
        (4_000, 3, 128),
        (12_101, 3, 256),
        (30_000, 3, 256),
        (32_768, 3, 256),
        (32_769, 4, 256),
        (100_000, 4, 256),
        (8_388_609, 5, 256),
    ],
)
def test_the_rule(num_items, levels, codes):
    chosen = sized(own("tour"), num_items)
    assert (chosen.num_levels, chosen.codebook_size) == (levels, codes)
    # by definition: there are twice as many prefixes as items, and half as many codes are too few
    if codes < 256:
        assert codes == 8 or (codes // 2) ** 2 < 2 * num_items <= codes**2


def test_what_is_set_stays_and_the_rest_follows():
    assert sized(own(codebook_size=16), 300).num_levels == 4  # 16^3 >= 600 > 16^2
    assert sized(own(num_levels=4), 300).codebook_size == 16  # 16^3 >= 600 > 8^3
    assert sized(own(num_levels=1, strategy="semantic"), 300).codebook_size == 256
    assert sized(own(codebook_size=1), 300).num_levels == 3  # one code never has enough prefixes
    both = own(codebook_size=5, num_levels=2)
    assert sized(both, 10**6) == both


@pytest.mark.parametrize("num_shared", [0, 1, 3, 6])
def test_a_dual_identifier_keeps_a_level_of_its_own(num_shared):
    chosen = sized(own(num_shared=num_shared), 50)
    assert chosen.num_levels == max(3, num_shared + 1)
    assert sized(own(num_shared=6, strategy="separate"), 50).num_levels == 3
    assert (
        build_identifiers(catalogue(50, 50), own(num_shared=num_shared)).identifiers.num_shared
        == num_shared
    )


# --------------------------------------------------------------------------------------------- room


@given(st.integers(1, 3000), st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_room_is_the_least_that_holds_them(most, num_codes):
    room = room_for(most, num_codes)
    assert room.items >= most
    if not room.num_counters:
        assert num_codes <= room.num_codes <= max(num_codes, min(4 * num_codes, 1024))
        assert (
            room.num_codes == num_codes or room.num_codes < 2 * most
        )  # to a power of two, and no further
    else:
        assert room.num_codes == max(num_codes, 2)
        assert room.num_codes**room.num_counters < most  # one level fewer would be too few


def test_room_by_hand():
    assert room_for(32, 32) == (32, 0)
    assert room_for(33, 32) == (64, 0)
    assert room_for(128, 32) == (128, 0)
    assert room_for(180, 32) == (32, 1)
    assert room_for(2000, 32) == (32, 2)
    assert room_for(1000, 256) == (1024, 0)
    assert room_for(1000, 300) == (1024, 0)  # 1,024 at most
    assert room_for(3, 1) == (4, 0)
    assert room_for(5, 1) == (2, 2)
    assert [digits(count, 10) for count in (0, 1, 10, 11, 100, 101)] == [1, 1, 1, 2, 2, 3]


def test_a_grown_level_uses_every_codeword_first():
    """Five items in a prefix, three codewords: the three that lose least by it get codewords, the
    others new codes.
    """
    residual = np.array([[0.0], [1.0], [2.0], [2.1], [0.1]])
    book = np.arange(3.0)[:, None]
    codes = make_unique(
        np.array([[7, 0], [7, 1], [7, 2], [7, 2], [7, 0]]), residual, book, "semantic", room=Room(8)
    )
    last = codes[:, 1]
    assert last[:3].tolist() == [0, 1, 2]
    assert len(set(last.tolist())) == 5
    assert (last[3:] >= 3).all()


def test_counted_items_keep_the_nearest_code_as_long_as_it_can_count():
    """Seven items of one prefix, two codes, a counter of two digits: four a code; the least is lost
    by moving one.
    """
    residual = np.array(
        [[0.0], [0.0], [0.0], [0.0], [0.4], [1.0], [1.0]]
    )  # five are nearest to code 0
    book = np.array([[0.0], [1.0]])
    start = np.stack([np.zeros(7, dtype=np.int64), [0, 0, 0, 0, 0, 1, 1]], axis=1)
    codes = make_unique(start, residual, book, "semantic", room=Room(2, 2))
    assert codes[:, 1].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert codes[:4, 2:].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert len({tuple(row) for row in codes.tolist()}) == 7


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_any_bucket_that_fits_is_repaired_and_may_grow_later(seed, num_codes, num_counters, data):
    """Items come in two parts; the second finds room beside the first, up to the last place."""
    room = Room(max(num_codes, 2), num_counters)
    total = data.draw(st.integers(1, min(room.items, 60)))
    cut = data.draw(st.integers(0, total))
    rng = np.random.default_rng(seed)
    residual, book = rng.integers(2, size=(total, 1)).astype(float), rng.normal(size=(num_codes, 1))
    codes = np.stack([np.zeros(total, dtype=np.int64), rng.integers(num_codes, size=total)], axis=1)
    first = make_unique(codes[:cut], residual[:cut], book, "semantic", room=room)
    later = make_unique(codes[cut:], residual[cut:], book, "semantic", first, room)
    everyone = np.concatenate([first, later])
    assert everyone.shape == (total, 2 + num_counters)
    assert len({tuple(row) for row in everyone.tolist()}) == total
    assert everyone.min() >= 0
    assert everyone.max() < room.num_codes
    if total == room.items:  # full: not one more
        with pytest.raises(ArtifactError, match=f"{total + 1} items share one semantic prefix"):
            make_unique(codes[:1], residual[:1], book, "semantic", everyone, room)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_capacities_of_each_code_are_kept_and_the_result_is_stable(seed, num_items, num_codes):
    rng = np.random.default_rng(seed)
    capacity = rng.integers(0, 3, size=num_codes)
    capacity[0] += max(num_items - capacity.sum(), 0)
    cost = rng.normal(size=(num_items, num_codes))
    codes = within_capacity(cost, capacity)
    assert (np.bincount(codes, minlength=num_codes) <= capacity).all()
    for item, code in itertools.product(range(num_items), range(num_codes)):
        if (
            cost[item, code] < cost[item, codes[item]]
        ):  # whoever would rather be elsewhere finds that place full
            assert (codes == code).sum() == capacity[code]


@given(st.lists(st.integers(0, 1), min_size=1, max_size=40), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_counters_of_several_digits_equal_a_dictionary(numbers, cut):
    codes, seen, expected = np.array(numbers)[:, None], {}, []
    for number in numbers:
        seen[number] = seen.get(number, -1) + 1
        expected.append([int(digit) for digit in f"{seen[number]:06b}"])
    first = with_extra_level(codes[:cut], 2, "semantic", num_digits=6)
    later = with_extra_level(codes[cut:], 2, "semantic", first, num_digits=6)
    assert np.concatenate([first, later])[:, 1:].tolist() == expected
    with pytest.raises(ArtifactError, match="65 items share one whole semantic code sequence"):
        with_extra_level(np.zeros((65, 1), dtype=np.int64), 2, "semantic", num_digits=6)


# ----------------------------------------------------------------------------- any catalogue at all


@given(
    st.sampled_from(CHEAP),
    st.sampled_from(UNIQUENESS),
    st.one_of(st.integers(1, 40), st.integers(41, 2000)),
    st.integers(1, 30),
    st.sampled_from([(0, 0), (0, 0), (1, 1), (1, 3), (2, 2), (4, 2), (8, 3), (0, 2), (16, 0)]),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_no_catalogue_stops(pair, how, num_items, num_places, sizes, seed):
    e = catalogue(num_items, num_places, seed)
    changes = {"codebook_size": sizes[0], "num_levels": sizes[1], "kmeans_iterations": 5}
    told = own(strategy=pair[0], uniqueness=how, **changes)
    told = told if pair[0] == "random" else dataclasses.replace(told, quantizer=pair[1])
    built = build_identifiers(e, told)
    check_promises(
        built, num_items, built.before["semantic"].shape[1] if how == "extra-level" else 0
    )
    again = build_identifiers(catalogue(num_items, num_places, seed), told).identifiers
    for view in VIEWS:
        np.testing.assert_array_equal(built.identifiers.view(view), again.view(view))
    if pair[0] == "random":
        return
    shared = {"dual": min(1, built.settings.num_levels), "separate": 0}.get(
        pair[0], built.settings.num_levels
    )
    np.testing.assert_array_equal(
        built.before["semantic"][:, :shared], built.before["collaborative"][:, :shared]
    )
    assert built.identifiers.num_shared >= shared
    fitted = FittedQuantizer.of(built.tensors, told)
    assert (fitted.settings.codebook_size, fitted.settings.num_levels) == (
        built.settings.codebook_size,
        built.settings.num_levels,
    )
    new = e.rows(
        slice(1)
    )  # a twin of the first item arrives: it gets an identifier, or hears that there is no room
    with contextlib.suppress(ArtifactError):
        codes = assign(new, fitted, built.identifiers)
        for view in VIEWS:
            rows = np.concatenate([built.identifiers.view(view), codes.view(view)])
            assert len({tuple(row) for row in rows.tolist()}) == num_items + 1


@pytest.mark.parametrize("strategy", ["dual", "separate", "semantic", "fused-concat", "multitask"])
@pytest.mark.parametrize("num_items", [1, 2, 10, 60])
def test_no_catalogue_stops_an_rq_vae(strategy, num_items):
    for how, places in itertools.product(UNIQUENESS, (1, 5)):
        told = own(
            strategy=strategy,
            quantizer="rq-vae",
            uniqueness=how,
            epochs=3,
            latent_dim=4,
            hidden=(8,),
        )
        check_promises(build_identifiers(catalogue(num_items, places), told), num_items, 0)


@pytest.mark.parametrize("same", [("semantic",), ("collaborative",), VIEWS])
@pytest.mark.parametrize(("strategy", "quantizer"), CHEAP)
def test_views_that_say_nothing_are_warned_about(strategy, quantizer, same):
    e = catalogue(10, 10)
    for view in same:
        getattr(e, view)[:] = 1.5
    told = (
        own(strategy=strategy)
        if quantizer == "none"
        else own(strategy=strategy, quantizer=quantizer)
    )
    built = build_identifiers(e, told)
    check_promises(built, 10, 0)
    read = {"random": (), "multitask": ()}.get(
        strategy, (strategy,) if strategy in VIEWS else VIEWS
    )
    warned = [
        view for view in VIEWS if any(f"the same {view} vector" in text for text in built.warnings)
    ]
    assert warned == [view for view in same if view in read]


def test_a_view_that_says_nothing_leaves_the_other_ones_codes_meaningful():
    e = catalogue(60, 60, dims=(6, 4))
    flat = ItemEmbeddings(np.full_like(e.semantic, 0.5), e.collaborative)
    built, alone = (
        build_identifiers(flat, own()),
        build_identifiers(e, own(strategy="collaborative")),
    )
    assert np.isfinite(built.tensors["trunk"]).all()
    places = np.unique(e.collaborative, axis=0, return_inverse=True)[1].ravel()
    for made in (built, alone):  # items of one place have one code, those of two have two
        codes = made.before["collaborative"]
        assert len(np.unique(codes, axis=0)) == len(np.unique(places)) == len(
            np.unique(np.column_stack([codes, places]), axis=0)
        )  # fmt: skip


# ------------------------------------------------------------------------ warnings with the numbers


def one_place(num_items: int, num_apart: int) -> ItemEmbeddings:
    """`num_items` cold ones at one collaborative place and `num_apart` items far from it and from
    each other.
    """
    rng = np.random.default_rng(0)
    semantic = rng.normal(size=(num_items + num_apart, 8)).astype(np.float32)
    collaborative = 10 * rng.normal(size=(num_items + num_apart, 8)).astype(np.float32)
    collaborative[:num_items] = 1.0
    return ItemEmbeddings(
        semantic, collaborative, cold=np.arange(num_items + num_apart) < num_items
    )


@pytest.mark.parametrize(
    ("num_items", "words", "codes", "levels"),
    [
        (20, "So the last level has grown to 32 codes.", 32, 2),
        (
            60,
            "So 1 counting level comes after the last one, so that an identifier has 3 levels.",
            8,
            3,
        ),
        (180, "So 2 counting levels come after the last one", 8, 4),  # 8^2 < 180 <= 8^3
        (600, "So 3 counting levels come after the last one", 8, 5),  # 8^3 < 600 <= 8^4
    ],
)
def test_an_overflow_says_how_many_and_why(num_items, words, codes, levels):
    built = build_identifiers(
        one_place(num_items, 5), own(strategy="collaborative", codebook_size=8, num_levels=2)
    )
    assert built.identifiers.num_levels == levels
    assert built.identifiers.codebook_size == codes
    (warning,) = built.warnings
    assert (
        f"{num_items} items share one collaborative prefix, but the last level has 8 codes"
        in warning
    )
    assert f"{num_items} of them cold, {num_items} with the same collaborative vector" in warning
    assert words in warning


def test_no_overflow_no_warning():
    assert build_identifiers(one_place(8, 5), own(codebook_size=8, num_levels=2)).warnings == ()
    assert (
        build_identifiers(one_place(180, 5), own(uniqueness="extra-level")).warnings == ()
    )  # it has a counter anyway


def test_overflow_of_one_view_lengthens_both():
    built = build_identifiers(one_place(300, 40), own(codebook_size=8, num_levels=3))
    ids = built.identifiers
    assert ids.num_levels > 3
    assert ids.num_shared == 1
    alike = built.before["semantic"]
    small = np.array([(alike[:, :-1] == row[:-1]).all(axis=1).sum() <= 8 for row in alike])
    assert (ids.semantic[small, 3:] == 0).all()  # whoever needs no counter has zeros
    assert (ids.collaborative[:, 3:] != 0).any()


def test_blind_codes_become_longer_instead_of_stopping():
    built = build_identifiers(
        catalogue(60, 5), own(strategy="random", codebook_size=2, num_levels=4)
    )
    assert built.identifiers.semantic.shape == (60, 6)
    assert built.warnings == (
        "identifiers: 60 items do not fit into 2^4 code sequences. There are 6 levels instead.",
    )
    assert (
        build_identifiers(
            catalogue(60, 5), own(strategy="random", codebook_size=1)
        ).identifiers.codebook_size
        == 2
    )
    long = build_identifiers(
        catalogue(60, 5), own(strategy="random", codebook_size=256, num_levels=12)
    ).identifiers
    assert long.semantic.shape == (60, 12)


# -------------------------------------------------------------------------------- the own-data road


def crowd(num_items: int, dims: tuple[int, int]) -> ItemEmbeddings:
    """A log as strangers bring it: groups of very different size, a third of the items cold at
    three places.
    """
    rng = np.random.default_rng(num_items)
    groups = max(num_items // 12, 1)
    group = (rng.zipf(1.3, size=num_items) - 1) % groups
    views = []
    for dim in dims:
        centre = rng.standard_normal((groups, dim), dtype=np.float32)
        views.append(centre[group] + 0.5 * rng.standard_normal((num_items, dim), dtype=np.float32))
    cold = rng.random(num_items) < COLD
    views[1][cold] = rng.normal(size=(3, dims[1])).astype(np.float32)[
        rng.integers(3, size=int(cold.sum()))
    ]
    return ItemEmbeddings(*views, cold=cold)


@pytest.mark.parametrize(
    ("num_items", "seconds"),
    [
        (10, 10),
        (300, 10),
        (4_000, 30),
        pytest.param(30_000, 60),
        pytest.param(100_000, 600, marks=pytest.mark.slow),
    ],
)
def test_catalogues_of_every_size(num_items, seconds):
    e, started = crowd(num_items, (64, 32)), time.perf_counter()
    built = build_identifiers(e, own("tour"))
    assert time.perf_counter() - started < seconds
    check_promises(built, num_items, 0)
    assert bool(built.warnings) == (num_items >= 4_000)
    assert built.identifiers.num_levels <= 6


def test_the_stage_chooses_and_says_so(tmp_path, capsys):
    ws = Workspace.open(
        override(preset("tiny"), SIZES_OPEN | {"identifiers.strategy": "separate"}), tmp_path
    )
    ws.build("data", lambda folder: small_corpus(60).save(folder) or {})
    ws.build("embeddings", lambda folder: one_place(40, 20).save(folder) or {})
    folder = identify(ws)
    printed = capsys.readouterr().out
    assert "identifiers: 60 items -> 3 levels of 16 codes" in printed
    ids, sizes = Identifiers.load(folder), ws.meta("identifiers")["statistics"]["sizes"]
    assert sizes["codewords"] == 16
    assert (sizes["num_levels"], sizes["num_shared"]) == (ids.num_levels, ids.num_shared) == (3, 0)
    assert sizes["codebook_size"] == ids.codebook_size == 64
    assert len(sizes["warnings"]) == 1
    assert f"WARN {sizes['warnings'][0]}" in printed
    fitted = load_quantizer(folder, ws.config.identifiers)  # the settings still say 0
    later = assign(one_place(40, 20).rows(slice(2)), fitted, ids)
    for view in VIEWS:
        rows = np.concatenate([ids.view(view), later.view(view)]).tolist()
        assert len({tuple(row) for row in rows}) == 62
    usage = pd.read_parquet(folder / "diagnostics.parquet").query("measure == 'usage'")["value"]
    assert usage.max() == 1  # of the 16 codewords that were fitted, not of the 64 codes there are


def test_growing_and_diagnosing_a_catalogue_whose_sizes_are_open():
    e, corpus = one_place(40, 20), small_corpus(60)
    e.semantic[:] = 1.0
    table = growth_cost(e, corpus.items["category"].to_numpy(), own())
    assert set(table["way"]) == {"assigned", "refitted"}
    built = build_identifiers(e, own())
    measures = diagnose(built.identifiers, e, corpus, built.before)
    assert "unexplained/collaborative" in set(measures["measure"])
    assert "unexplained/semantic" not in set(measures["measure"])  # nothing there to explain
