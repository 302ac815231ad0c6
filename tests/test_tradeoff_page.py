"""The report of the trade-off study, on a made-up study whose ranks are known."""

import csv
import html
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from gensar_lite.__main__ import main
from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import override, preset
from gensar_lite.experiments.cells import write_rows
from gensar_lite.experiments.tradeoff import page as room
from gensar_lite.experiments.tradeoff import study
from gensar_lite.experiments.tradeoff.labels import label_shifts
from gensar_lite.experiments.tradeoff.page import FIGURES, FILES, write_study
from gensar_lite.experiments.tradeoff.page_tables import difference_cell
from gensar_lite.experiments.tradeoff.published import MARK
from gensar_lite.experiments.tradeoff.ranks import COLUMNS

NUM_TARGETS, NUM_USERS = 80, 40
HOSTILE = "<script>alert('$x$')</script>"  # a system that is counted
ON_A_LINE = 'both-views "<img src=x>'  # one that is a point with a name
# system -> cell, rank of all search targets, of all recommendation targets; None: not its task
SYSTEMS = {
    "dual-1": ("dual-1", 2, 3),
    "dual-0": ("dual-0", 1, 3),
    "semantic": ("semantic", 2, 0),
    "collaborative": ("collaborative", 4, 2),
    "weights-1-2": ("weights-1-2", 2, 4),
    "recommend-only": ("recommend-only", None, 3),
    "search-only": ("search-only", 2, None),
    "both-views 0": ("both-views", 3, 3),
    ON_A_LINE: ("both-views", 4, 4),
    "popularity": ("counts", 0, 0),
    "bm25": ("counts", 9, None),
    HOSTILE: ("counts", 5, 5),
}
SEEDS = (0, 1)


def made_up_study(folder):
    """Every target of a system has one rank, but for a few that a seed draws."""
    users = np.arange(NUM_TARGETS) % NUM_USERS
    targets = pd.concat(
        [
            pd.DataFrame({"task": task, "event_id": np.arange(NUM_TARGETS), "user_id": users})
            for task in ("recommend", "search")
        ],
        ignore_index=True,
    )
    row = np.arange(len(targets))
    targets = targets.assign(query_id=row % 7, item_events=row % 9, history=row % 5)
    targets = targets.assign(overlap=(row % 4) / 4, gap=(row % 3) - 1.0, kind="", seen="")
    folder.mkdir(parents=True)
    targets.to_parquet(folder / "targets.parquet", index=False)
    for cell in dict.fromkeys(cell for cell, _, _ in SYSTEMS.values()):
        for seed in (0,) if cell == "counts" else SEEDS:
            write_rows(folder / "cells" / f"{cell}-{seed}.parquet", _cell(cell, seed))


def _cell(cell, seed):
    parts = []
    for system, (of, *ranks) in SYSTEMS.items():
        for task, rank in zip(("search", "recommend"), ranks, strict=True):
            if of != cell or rank is None:
                continue
            full = np.full(NUM_TARGETS, rank, dtype=np.int16)
            full[seed] = 1  # seeds differ, a little
            graded = np.full(NUM_TARGETS, 5000 if task == "search" else -1, dtype=np.int16)
            table = {"rank": full, "sampled_rank": np.minimum(full, 2), "graded": graded}
            parts.append(pd.DataFrame(table).assign(system=system, task=task)[COLUMNS])
    table = pd.concat(parts, ignore_index=True).assign(cell=cell, seed=np.int16(seed))
    table.attrs = {"log": "made up", "minutes": 0.5}
    tasks = {task for task in table["task"] if cell != "counts"}
    if tasks:
        table.attrs["validation"] = dict.fromkeys(sorted(tasks), 0.2)
    return table


@pytest.fixture(scope="module")
def config():
    return override(preset("tour"), {"evaluation.num_bootstrap": 60})


@pytest.fixture(scope="module")
def written(tmp_path_factory, config):
    """The folder of a written study, and its page."""
    folder = tmp_path_factory.mktemp("reports") / "tradeoff-shop"
    made_up_study(folder)
    path = write_study(folder, config)
    return folder, path.read_text(encoding="utf-8")


def test_a_page_made_again_is_the_same_to_the_byte(written, config):
    folder, _ = written
    names = (*FILES, "index.html")
    before = {name: (folder / name).read_bytes() for name in names}
    write_study(folder, config)
    assert {name: (folder / name).read_bytes() for name in names} == before


def test_names_are_text_and_nothing_is_loaded(written):
    _, page = written
    for name in SYSTEMS:
        assert f">{escape(name)}</th>" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert not re.search(r"https?:|url\(\s*['\"]?(?!#)|@import", page.replace("url(#", ""))
    assert all(
        re.match(r"data:image/png|#", at) for at in re.findall(r'(?:src|href)="([^"]*)', page)
    )
    assert "default-src 'none'" in page


def test_every_figure_says_what_it_shows(written):
    _, page = written
    alts = re.findall(r'<img src="[^"]*" alt="([^"]*)"', page)
    assert len(alts) == len(FIGURES)
    assert all(len(alt) > 100 for alt in alts)
    assert all(
        "NDCG@10" in label for label in re.findall(r'<svg class="plane"[^>]*label="([^"]*)', page)
    )
    points = re.findall(
        r'<g class="point [^>]*tabindex="0"[^>]*aria-label="([^"]*)"[^>]*><title>', page
    )
    assert any(words.startswith("dual-0; Search 1.000 [") for words in points)


def cells_of(page, title):
    """Cells (class, text, interval) by row name of the table in the region called `title`."""
    part = page[page.index(f'aria-label="{title}"') :]
    part = part[: part.index("</table>")]
    rows = {}
    for line in re.findall(r"<tr.*?</tr>", part, re.S)[1:]:
        name = html.unescape(re.search(r'<th scope="row" data-sort="([^"]*)"', line)[1])
        cell = r'<td(?: class="(\w+)")? data-sort="[^"]*">([^<]*)(?:<small>([^<]*)</small>)?'
        rows[name] = re.findall(cell, line)
    return rows


def test_a_difference_has_a_colour_and_a_sign_only_where_its_interval_excludes_0(written):
    _, page = written
    joint = cells_of(page, "Against the joint model")
    assert [joint["dual-0"][i][0] for i in (0, 3)] == ["up", ""]  # rank 1 for 2; the same ranks
    assert [joint["weights-1-2"][i][0] for i in (0, 3)] == ["", "down"]
    assert [joint["popularity"][i][0] for i in (0, 3)] == ["down", "down"]
    specialists = cells_of(page, "Against the specialists")
    assert [specialists["dual-1"][i][0] for i in (0, 3)] == ["", ""]
    assert specialists["bm25"][3][1] == "–"
    seen = 0
    for title in ("Against the joint model", "Against the specialists", "All systems"):
        for cells in cells_of(page, title).values():
            for kind, text, ends in cells:
                if not text.startswith(("+", "−")) or not ends:
                    continue
                low, high = (float(end.replace("−", "-")) for end in ends.split(", "))
                assert kind == ("up" if low > 0 else "down" if high < 0 else "")
                seen += 1
    assert seen > 40
    style = page[: page.index("</style>")]
    assert "td.up::before" in style  # not by colour alone
    assert "td.down::before" in style


def test_a_difference_that_touches_0_may_be_chance():
    kinds = [
        difference_cell({"value": 0.1, "low": low, "high": high})["kind"]
        for low, high in ((0.0, 0.2), (0.01, 0.2), (-0.2, 0.0), (-0.2, -0.01), (-0.1, 0.1))
    ]
    assert kinds == ["", "up", "", "down", ""]


def test_what_is_missing_is_told(written):
    _, page = written
    note = page[page.index("The study is not finished") : page.index("<nav")]
    for name in ("dsi", "tiger", "unisar", "t5-no-trunk", "weights-4-1"):
        assert name in note
    assert "2 of 5 seeds so far: dual-1" in note
    assert "counts" not in note  # no seed changes it: it is whole
    assert note.index("quantizers") > 0


def test_the_table_has_a_row_for_each_system(written):
    folder, _ = written
    rows = list(csv.DictReader((folder / "table.csv").open(encoding="utf-8")))
    assert sorted(row["system"] for row in rows) == sorted(SYSTEMS)
    by_name = {row["system"]: row for row in rows}
    first = by_name["dual-0"]
    assert (first["group"], first["seeds"], first["minutes"]) == ("strategy", "0 1", "0.5")
    assert float(first["search_ndcg@10"]) == 1
    assert float(first["search_ndcg@10_less_joint"]) == pytest.approx(
        (1 - 1 / np.log2(3)) * (NUM_TARGETS - 1) / NUM_TARGETS, abs=1e-5
    )
    for column in ("low", "high", "p_holm"):
        assert first[f"search_ndcg@10_less_joint_{column}"]
    assert float(first["recommend_recall@20"]) == 1
    assert by_name["bm25"]["recommend_ndcg@10"] == ""
    assert float(by_name["dual-1"]["search_ndcg@10_less_specialist"]) == 0


def test_published_figures_stand_apart_and_only_for_beauty(written, config, monkeypatch):
    folder, page = written
    assert MARK not in page
    contexts = []
    monkeypatch.setattr(room, "write_page", lambda folder, context, room: contexts.append(context))
    monkeypatch.setattr(room, "FIGURES", {})
    write_study(folder, override(config, {"data.source": "beauty"}))
    tables = contexts[0]["published"]
    theirs, ours = ([row["name"] for row in tables[key]["rows"]] for key in ("theirs", "ours"))
    assert tables["theirs"]["caption"] == MARK
    assert "TIGER" in theirs
    assert not set(theirs) & set(ours)


def test_a_study_without_what_others_are_compared_with_has_no_page(tmp_path, config, monkeypatch):
    folder = tmp_path / "tradeoff"
    made_up_study(folder)
    for path in folder.glob("cells/recommend-only-*"):
        path.unlink()
    with pytest.raises(ArtifactError, match=r"no cell of recommend-only or tiger\. Run gensar"):
        write_study(folder, config)
    # a run of a few systems ends well all the same
    for name in ("run_cells", "_write_targets"):
        monkeypatch.setattr(study, name, lambda *_: None)
    monkeypatch.setattr(study, "plan_cells", lambda *_: [])
    monkeypatch.setattr(study, "study_folder", lambda ws: folder)
    ws = SimpleNamespace(require=lambda stage: None, config=config)
    assert study.run_study(ws, (0,), ("dual-1",)) == folder
    assert not (folder / "index.html").exists()


def test_a_page_of_someone_else_is_kept(tmp_path, config):
    folder = tmp_path / "tradeoff"
    made_up_study(folder)
    (folder / "index.html").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"index\.html, which this program did not write"):
        write_study(folder, config)


def test_the_report_needs_no_artefact(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(room, "write_study", lambda *asked: calls.append(asked) or asked[0])
    assert not main(["study", "tradeoff", "--report", "--workspace", str(tmp_path)])
    ((folder, config),) = calls
    assert (folder, config.name) == (tmp_path / "reports" / "tradeoff-shop", "tour")
    assert not (tmp_path / "artifacts").exists()
    assert "tradeoff-shop" in capsys.readouterr().out


def test_names_lie_on_no_name_and_no_point():
    from matplotlib.transforms import Bbox

    places = {f"s{i}": np.array([200.0 + 9 * (i % 4), 200.0 + 9 * (i // 4)]) for i in range(8)}
    sizes = {name: np.array([40.0, 12.0]) for name in places}
    shifts = label_shifts(places, sizes, [["s0", "s7"]], Bbox([[0, 0], [400, 400]]))
    boxes = [
        Bbox.from_bounds(*(places[name] + shift - sizes[name] / 2), *sizes[name])
        for name, shift in shifts.items()
    ]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not any(box.contains(*place) for place in places.values())
