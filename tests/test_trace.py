"""The trace of a search: the same search, and the place of loss found again by a beam written with
lists."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted, asked, random_codes

from gensar_lite.decoding.figures import trace_figure, trace_table
from gensar_lite.decoding.trace import trace


def plain_beam(
    decoder: Scripted, num_beams: int, target: tuple[int, ...]
) -> tuple[list[tuple], int | None]:
    """Items' codes by a beam over lists, best first, and the level at which the target's prefix
    fell out."""
    codes = {tuple(c) for c in decoder.generator.identifiers.collaborative.tolist()}
    beams, lost = [((), np.float32(0))], None
    for level in range(len(target)):
        prefixes = {c[: level + 1] for c in codes}
        longer = [
            ((*prefix, code), score + logp)
            for prefix, score in beams
            for code, logp in enumerate(decoder.script(0, prefix))
            if (*prefix, code) in prefixes
        ]
        beams = sorted(longer, key=lambda pair: -pair[1])[:num_beams]
        if lost is None and target[: level + 1] not in [prefix for prefix, _ in beams]:
            lost = level + 1
    return beams, lost


@given(
    st.integers(1, 40), st.integers(2, 6), st.integers(1, 4), st.integers(0, 999), st.integers(1, 8)
)
@settings(max_examples=40, deadline=None)
def test_a_trace_is_the_search_and_says_where_the_item_was_lost(
    num_items, num_codes, num_levels, seed, num_beams
):
    codes = random_codes(num_items, num_codes, num_levels, seed)
    decoder, target = Scripted.of_codes(codes, num_codes, seed), seed % len(codes)
    watched = trace(decoder, asked(1), num_beams, target)
    beams, level = plain_beam(decoder, num_beams, tuple(codes[target].tolist()))
    ranking = decoder.answer(asked(1), num_beams)
    assert np.array_equal(watched.ranking.items, ranking.items)
    assert np.array_equal(watched.ranking.scores, ranking.scores)
    assert [tuple(codes[item].tolist()) for item in ranking.items[0]] == [
        prefix for prefix, _ in beams
    ]
    assert (watched.lost.level if watched.lost else None) == level
    assert (target in ranking.items[0]) == (watched.lost is None)
    steps = watched.steps
    last = steps[(steps["level"] == num_levels) & steps["kept"]]
    assert last["item"].tolist() == ranking.items[0].tolist()
    np.testing.assert_allclose(last["score"], ranking.scores[0], atol=1e-6)
    for row in steps.itertuples():
        below = (codes[:, : row.level] == np.array(row.codes)).all(axis=1)
        inside = codes[(codes[:, : row.level - 1] == np.array(row.parent)).all(axis=1)]
        assert row.items == below.sum()
        assert row.allowed == len(np.unique(inside[:, row.level - 1]))
        assert row.on_target == bool(below[target])
        assert np.isclose(
            row.log_probability, decoder.script(0, row.parent)[row.codes[-1]], atol=1e-5
        )
        assert row.kept == (row.place <= num_beams)
    if watched.lost:
        gone = steps[(steps["level"] == watched.lost.level) & steps["on_target"]]
        assert gone["place"].tolist() == [watched.lost.place]
        assert watched.lost.score <= watched.lost.worst_kept


def test_an_item_that_is_not_allowed_is_not_called_lost():
    codes = random_codes(30, 4, 3, 0)
    decoder = Scripted.of_codes(codes, 4, 0)
    watched = trace(decoder, asked(1, allowed=np.arange(len(codes)) != 3), 50, 3)
    assert watched.lost is None
    assert 3 not in watched.ranking.items
    assert "not allowed" in trace_figure(watched)[1]


def test_table_and_figure_show_strangers_titles_as_text():
    codes = random_codes(30, 4, 3, 0)
    decoder = Scripted.of_codes(codes, 4, 0)
    titles = ["<a href='x'>click</a>\n"] * len(codes)
    best = int(decoder.enumerate(0).argmax())
    worst = int(decoder.enumerate(0).argmin())
    watched = trace(decoder, asked(1), 3, worst)
    figure, alt = trace_figure(watched, titles)
    page = figure.to_json()
    assert "<a href" not in page.replace("\\u003c", "<")
    assert "&lt;a href" in page.replace("\\u003c", "<") or best not in watched.ranking.items
    assert f"lost at code {watched.lost.level}" in alt
    assert {trace.name for trace in figure.data if trace.name} == {
        "kept",
        "cut",
        "on the way to the item taken",
    }
    table = trace_table(watched, titles)
    assert len(table) == len(watched.steps)
    assert (table["title"] != "").sum() == (watched.steps["item"] >= 0).sum()
    assert not table["title"].str.contains("\n").any()
    assert "found at place 1" in trace_figure(trace(decoder, asked(1), 30, best))[1]
