"""A slider that moves a joint model through the plane of both tasks, from kept results.

In: points and lines of an analysis. Out: one ipywidgets box. Every control has a twin that takes
keys, and a sentence says what the picture shows; its static twin is `lines_figure`. This file
trains nothing.
"""

from collections.abc import Sequence

import ipywidgets as widgets
import plotly.graph_objects as go

from gensar_lite.drawing.palette import BLACK, FREE_COLOURS, GREY, SYMBOLS, TASK_TITLE, escape
from gensar_lite.experiments.tradeoff.cost import point_sentence
from gensar_lite.experiments.tradeoff.frontier import AXES


def frontier_slider(points: Sequence[dict], lines: dict[str, list[str]]) -> widgets.VBox:
    """Choose a setting, move the slider or choose a value from the list beside it: the point moves
    along the setting's line, its cross with it."""
    by_name = {row["system"]: row for row in points}
    setting = widgets.Dropdown(options=list(lines), description="setting")
    first = next(iter(lines.values()))
    named = {"options": first, "description": "system", "style": {"description_width": "60px"}}
    slider = widgets.SelectionSlider(continuous_update=True, **named)
    field = widgets.Dropdown(**named)  # takes keys, and has a name for a screen reader
    said, picture = widgets.HTML(), _view(points, lines)

    def move(_=None) -> None:
        if field.value is not None:
            row = by_name[field.value]
            said.value = f"<p role='status'>{escape(point_sentence(row), 300)}.</p>"
            if isinstance(picture, go.FigureWidget):
                picture.data[-1].update(**_cross(row))

    def change_line(_) -> None:
        slider.options = field.options = lines[setting.value]  # both go to its first system
        move()

    # by place, not by name: while options change, one of the two does not know the other's
    widgets.link((slider, "index"), (field, "index"))
    field.observe(move, names="value")
    setting.observe(change_line, names="value")
    move()
    return widgets.VBox([setting, widgets.HBox([slider, field]), picture, said])


def _view(points: Sequence[dict], lines: dict[str, list[str]]) -> widgets.Widget:
    """The plane as a figure that can change; a hint where the package that it needs is missing."""
    by_name = {row["system"]: row for row in points}
    try:
        figure = go.FigureWidget()
    except ImportError:  # plotly's widget needs anywidget
        return widgets.HTML("To see the point move, install anywidget and restart the kernel.")
    for (name, systems), colour, symbol in zip(lines.items(), FREE_COLOURS, SYMBOLS, strict=False):
        rows = [by_name[system] for system in systems]
        x, y = ([100 * row[f"{task}_change"]["value"] for row in rows] for task in AXES)
        look = {"marker": {"symbol": symbol, "color": colour, "size": 8}, "line_color": colour}
        figure.add_scatter(x=x, y=y, text=systems, name=name, mode="lines+markers", **look)
    marker = {"symbol": "diamond", "size": 14, "color": BLACK}
    start = _cross(by_name[next(iter(lines.values()))[0]])
    figure.add_scatter(name="chosen", mode="markers", marker=marker, **start)
    figure.add_hline(y=0, line_color=GREY).add_vline(x=0, line_color=GREY)
    titles = [f"{TASK_TITLE[task]}, change in % of the specialist" for task in AXES]
    figure.update_layout(height=420, width=720, xaxis_title=titles[0], yaxis_title=titles[1])
    return figure


def _cross(row: dict) -> dict[str, object]:
    """A point with the arms of both intervals, in per cent."""
    place: dict[str, object] = {}
    for axis, task in zip("xy", AXES, strict=True):
        value, low, high = (100 * row[f"{task}_change"][key] for key in ("value", "low", "high"))
        place[axis] = [value]
        arms = {"type": "data", "symmetric": False, "array": [high - value]}
        place[f"error_{axis}"] = arms | {"arrayminus": [value - low]}
    return place
