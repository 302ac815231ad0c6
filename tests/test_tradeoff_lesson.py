"""What lesson 07 shows: costs by enumeration, sentences that turn with their numbers, pictures that
tell all they show, a slider that moves the point, answers that a cell does not tell."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest

from gensar_lite.experiments.tradeoff import lesson_figures as figures
from gensar_lite.experiments.tradeoff.cost import (
    balance_sentence,
    cost_difference,
    cost_rows,
    cost_sentence,
    crossed_points,
    flip_sentence,
    gain_sentences,
    point_sentence,
)
from gensar_lite.experiments.tradeoff.frontier import Plane
from gensar_lite.experiments.tradeoff.slider import frontier_slider
from gensar_lite.experiments.tradeoff.tables import Draws
from gensar_lite.notebook import seal, sealed_check

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
DRAWS = Draws(20, 0.95, 0)


def point(name: str, search: float, recommend: float, arm: float = 0.01) -> dict:
    """A row of an analysis' points."""
    row = {"system": name, "on_front": True, "front_share": 0.5, "search": 0.4, "recommend": 0.2}
    for task, value in (("search", search), ("recommend", recommend)):
        row[f"{task}_change"] = {"value": value, "low": value - arm, "high": value + arm}
    return row


POINTS = [
    point("dual-1", -0.06, 0.02),
    point("dual-0", -0.01, 0.03),
    point("weights-1-4", 0.01, -0.20),
    point("weights-4-1", -0.10, 0.05),
]
LINES = {
    "task_weights": ["weights-1-4", "dual-1", "weights-4-1"],
    "num_shared": ["dual-0", "dual-1"],
}


# -------------------------------------------------------------------------------------------- costs


def test_the_worse_change_orders_systems():
    rows = cost_rows(POINTS, ["dual-1", "dual-0", "weights-1-4", "nobody"])
    assert [row["system"] for row in rows] == ["dual-0", "dual-1", "weights-1-4"]
    assert [row["worse"] for row in rows] == [-0.01, -0.06, -0.20]


def test_points_take_the_intervals_of_differences():
    result = {"points": POINTS[:1], "specialists": {"search": "dsi", "recommend": "tiger"}}
    sides = (("search", "dsi", -0.02), ("recommend", "tiger", 0.01))
    result["rows"] = [
        {"task": task, "system": name, "metric": "ndcg@10", "protocol": "full", "value": 0.4}
        for task, name, _ in sides
    ]
    result["against_specialists"] = [
        {"task": task, "system": "dual-1", "metric": "ndcg@10"}
        | {"value": value, "low": value - 0.04, "high": value + 0.04}
        for task, _, value in sides
    ]
    (row,) = crossed_points(result)
    assert row["search_change"] == pytest.approx({"value": -0.05, "low": -0.15, "high": 0.05})
    assert row["recommend_change"]["high"] == pytest.approx(0.125)
    assert row["search"] == POINTS[0]["search"]


def plane(first: np.ndarray, second: np.ndarray) -> Plane:
    """Two systems drawn twenty times; the specialists stand at 1."""
    means = np.array([first, second])
    shift = np.linspace(-0.05, 0.05, 20)[:, None, None]
    drawn = np.repeat(means[None], 20, axis=0)
    drawn[:, :1] += shift  # the first one varies alone
    return Plane(["a", "b"], means, drawn, np.ones(2), np.ones((20, 2)))


def test_a_cost_is_compared_inside_each_draw():
    made = plane([0.9, 1.2], [1.1, 0.7])
    found = cost_difference(made, "a", "b", DRAWS)
    assert found.value == pytest.approx(-0.1 + 0.3)
    by_hand = [min(d[0] - 1) - min(d[1] - 1) for d in made.drawn]
    assert found[1:] == pytest.approx(np.quantile(by_hand, [0.025, 0.975]))


def test_the_sentence_of_costs_turns_with_the_numbers():
    said = cost_sentence(plane([0.9, 1.2], [1.1, 0.7]), "a", "b", DRAWS)
    assert "-10.0% for a (search) and -30.0% for b (recommendation)" in said
    assert "a costs 20.0 points less than b" in said
    assert "chance" not in said
    said = cost_sentence(plane([0.9, 1.2], [0.91, 1.2]), "a", "b", DRAWS)
    assert "b costs 1.0 points less than a" in said
    assert "which may be chance" in said
    low, high = map(float, re.search(r"\[(\S+), (\S+)\]", said).groups())
    assert low < 1.0 < high


def test_sentences_of_points_lines_and_flips():
    assert point_sentence(POINTS[0]) == (
        "dual-1: search -6.0% [-7.0%, -5.0%], recommendation +2.0% [+1.0%, +3.0%] against the "
        "specialists"
    )
    assert "no place" in balance_sentence("fusion", None)
    found = {"change": -0.05, "between": ["dual-0", "dual-1"], "share": 0.25}
    assert "-5.0% between dual-0 and dual-1, 25% of the way" in balance_sentence("x", found)
    ends = {"low": 0.0, "high": 0.0}
    flip = {"task": "search", "protocol": "bm25-99", "first": "a", "second": "b"}
    flip |= {"full": {"value": -0.02, **ends}, "sampled": {"value": 0.07, **ends}}
    said = flip_sentence(flip)
    assert "b leads a by 0.0200" in said
    assert "a leads by 0.0700" in said


def gain(task: str, cause: str, start: int, value: float, arm: float = 0.01) -> dict:
    row = {"task": task, "cause": cause, "system": "dual-1", "other": "alone"}
    row |= {"from": start, "to": start + 9, "num_queries": 50, "rho": 0.1, "p": 0.5}
    return row | {"value": value, "low": value - arm, "high": value + arm}


GAINS = [
    *(gain("search", "history", 10 * i, v) for i, v in enumerate((-0.08, -0.02, 0.005, 0.03))),
    *(gain("recommend", "history", 10 * i, 0.001) for i in range(4)),
    gain("search", "overlap", 0, 0.0),
    gain("recommend", "overlap", 0, 0.0),
]


def test_gains_are_told_where_they_are_more_than_chance():
    search, recommend = gain_sentences(GAINS)
    assert "loses most where history is 0 to 9: -0.080" in search
    assert "gains most where history is 30 to 39: +0.030" in search
    assert "no quarter" in recommend
    only_losses = gain_sentences(GAINS[:2])[0]
    assert "loses most" in only_losses
    assert "gains most" not in only_losses


# ----------------------------------------------------------------------------------------- pictures


def test_pictures_tell_every_number_that_they_show():
    intervals = {t: {"value": 0.3, "low": 0.25, "high": 0.35} for t in ("search", "recommend")}
    alone = {"search": 0.4, "recommend": 0.2}
    seeds = np.array([[0.31, 0.29], [0.28, 0.32]])
    _, alt = figures.point_figure("dual-1", intervals, seeds, alone)
    assert "search 0.300 [0.250, 0.350], the specialist 0.400" in alt
    assert "0.280 to 0.310" in alt
    figure, alt = figures.lines_figure(POINTS, LINES, "dual-1")
    assert all(f"{row['system']} " in alt for row in POINTS)
    assert len(figure.axes[0].get_lines()) >= 2 + len(LINES)


def test_bars_and_crossing_lines():
    ends = {"low": 0.1, "high": 0.4}
    rows = [
        {"system": name, "task": "search", "protocol": way, "metric": "ndcg@10", "value": value}
        for name, values in (("a", (0.2, 0.6)), ("b", (0.3, 0.5)))
        for way, value in zip(("full", "bm25-99"), values, strict=True)
    ]
    flip = {"task": "search", "protocol": "bm25-99", "first": "a", "second": "b"}
    _, alt = figures.flip_figure(rows, flip)
    assert "a 0.200 full, 0.600 sampled; b 0.300 full, 0.500 sampled" in alt
    groups = [
        {"task": "search", "column": "item", "name": name, "system": system, "value": 0.2, **ends}
        for name in ("head", "tail")
        for system in ("a", "b")
    ]
    figure, alt = figures.groups_figure(groups, "item", ["a", "b", "absent"])
    assert len(figure.axes[0].patches) == 4
    assert "Search, a: head 0.200, tail 0.200" in alt
    assert "absent" not in alt


# -------------------------------------------------------------------------------------- the slider


def test_slider_and_its_twin_move_the_point():
    box = frontier_slider(POINTS, LINES)
    setting, (slider, field), picture, said = (
        box.children[0],
        box.children[1].children,
        *box.children[2:],
    )
    assert slider.value == field.value == "weights-1-4"
    slider.value = "dual-1"
    assert field.value == "dual-1"
    assert "dual-1: search -6.0%" in said.value
    assert list(picture.data[-1].x) == pytest.approx([-6.0])
    assert list(picture.data[-1].y) == pytest.approx([2.0])
    field.value = "weights-4-1"
    assert slider.value == "weights-4-1"
    setting.value = "num_shared"  # a shorter line
    assert slider.value == field.value == "dual-0"
    assert "dual-0: search -1.0%" in said.value
    assert list(picture.data[-1].y) == pytest.approx([3.0])
    slider.value = "dual-1"
    setting.value = "task_weights"
    assert field.value == "weights-1-4"
    assert list(picture.data[-1].x) == pytest.approx([1.0])


def test_without_anywidget_the_sentence_remains(monkeypatch):
    import plotly.graph_objects as go

    class Missing:
        def __init__(self, *_):
            raise ImportError("Please install anywidget")

    monkeypatch.setattr(go, "FigureWidget", Missing)
    box = frontier_slider(POINTS, LINES)
    assert "anywidget" in box.children[2].value
    box.children[1].children[0].value = "dual-1"
    assert "dual-1: search -6.0%" in box.children[3].value


# ------------------------------------------------------------------------------------------ answers


def test_a_seal_knows_equal_answers(capsys):
    for first, second in (
        (0.12345, 0.1234501),
        (-0.00001, 0),
        (" Search", "search"),
        ((1, 0.5), np.array([1.0, 0.5])),
        (["a", 2], ("A ", 2.0)),
        (np.True_, True),
    ):
        assert seal(first, "one") == seal(second, "one")
        sealed_check(first, seal(second, "one"), "one", "")
    assert capsys.readouterr().out.count("Right.") == 6


def test_a_seal_tells_wrong_answers_and_does_not_tell_the_right_one():
    sealed = seal(0.125, "one")
    assert re.fullmatch("[0-9a-f]{16}", sealed)
    assert sealed != seal(0.125, "two")
    for wrong in (0.126, -0.125, [0.125], "x", None, True, (0.125, 0.125)):
        with pytest.raises(AssertionError, match="think of zero"):
            sealed_check(wrong, sealed, "one", "think of zero")
    assert seal([1, 2], "one") != seal([2, 1], "one")
    assert seal(0.125, "one", digits=2) == seal(0.12, "one", digits=2)
    assert seal(True, "one") != seal(1, "one")


def test_exercise_cells_of_the_lesson_hold_seals_alone():
    """No expression that gives the answer, and the solutions' cells carry the same seals."""
    calls = [_seals(NOTEBOOKS / folder / "07_tradeoff.ipynb") for folder in ("", "solutions")]
    assert len(calls[0]) >= 3
    assert calls[0] == calls[1]


def _seals(path: Path) -> list[list[str]]:
    """Seal and salt of every check of a notebook; each is a plain text."""
    found = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "sealed_check(" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "sealed_check":
                assert all(isinstance(part, ast.Constant) for part in node.args[1:3])
                found.append([part.value for part in node.args[1:3]])
        assert not re.search(r"(?<!sealed_)check\(", source)
    return found
