"""Ranking beside the look of codes: correlations by hand and by construction, and the whole road
with a tiny model."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest

from gensar_lite.__main__ import main
from gensar_lite.artifacts import TASKS, Identifiers, Workspace
from gensar_lite.config import ConfigError, override, preset
from gensar_lite.drawing.canvas import figure_png
from gensar_lite.experiments import identifier_ranking as studies
from gensar_lite.experiments.cells import read_rows
from gensar_lite.experiments.identifier_ranking import (
    MEASURES,
    over_seeds,
    rank_correlations,
    rank_identifiers,
    ranking_figure,
)
from gensar_lite.identifiers import codebook_usage
from gensar_lite.pipeline import run_all

PAIRS = (("semantic", "rq-kmeans"), ("random", "none"))


def rows_of(perplexity: list[float], search: list[float], seeds: int = 1) -> pd.DataFrame:
    """Pairs with these numbers; every other measure is equal for all; seeds stray evenly."""
    rows = []
    for i, seed in product(range(len(perplexity)), range(seeds)):
        strategy = ("dual", "separate", "semantic", "random")[i % 4]
        off = (seed - (seeds - 1) / 2) / 100
        told = {
            "strategy": strategy,
            "quantizer": "rq-kmeans" if i < 4 else "balanced",
            "seed": seed,
        }
        told |= dict.fromkeys(MEASURES, 1.0) | {
            "perplexity": perplexity[i],
            "ndcg@10/search": search[i] + off,
        }
        rows.append(told | {"ndcg@10/recommend": -search[i] + off, "minutes": 1.0})
    return pd.DataFrame(rows)


def found(rows: pd.DataFrame, measure: str, task: str) -> dict:
    return next(r for r in rank_correlations(rows) if (r["measure"], r["task"]) == (measure, task))


def test_rank_correlation_by_hand():
    """Ranks 1 2 3 4 against 2 1 4 3: the differences are 1, so rho = 1 - 6 * 4 / (4 * 15) = 0.6."""
    rows = rows_of([10, 20, 30, 40], [0.2, 0.1, 0.4, 0.3])
    assert found(rows, "perplexity", "search")["rho"] == pytest.approx(0.6)
    assert found(rows, "perplexity", "recommend")["rho"] == pytest.approx(-0.6)
    assert found(rows, "usage", "search")["rho"] is None, "what does not vary has no rank"
    assert found(rows, "perplexity", "search")["pairs"] == 4


def test_seeds_are_averaged_before_pairs_are_ranked():
    one, three = (
        rows_of([1, 2, 3, 4], [0.2, 0.1, 0.4, 0.3]),
        rows_of([1, 2, 3, 4], [0.2, 0.1, 0.4, 0.3], seeds=3),
    )
    assert over_seeds(three)["seeds"].tolist() == [3] * 4
    np.testing.assert_allclose(over_seeds(three)["ndcg@10/search"], one["ndcg@10/search"])
    assert rank_correlations(three) == rank_correlations(one)


def test_the_figure_says_what_it_shows():
    figure, alt = ranking_figure(rows_of([10, 20, 30, 40, 50], [0.2, 0.1, 0.4, 0.3, 0.5], seeds=2))
    search, recommend = figure.axes
    assert search.get_title() == "Search: rank correlation +0.80"
    assert recommend.get_title() == "Recommendation: rank correlation -0.80"
    assert "dual, balanced 50.0/0.500" in alt
    assert figure_png(figure).startswith(b"\x89PNG")
    assert "not defined" in ranking_figure(rows_of([10, 20], [0.2, 0.1]))[1]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two tiny models. They learn next to nothing; it is checked that the numbers are theirs."""
    changes = {
        "data.num_items": 80,
        "data.num_users": 40,
        "data.num_events": 390,
        "embeddings.collaborative": "svd",
    }
    changes |= {"embeddings.encoder": "lsa", "embeddings.joint": "none", "training.eval_sample": 5}
    config = override(
        preset("tiny"), changes | {"training.eval_beams": 5, "decoding.num_beams": 10}
    )
    ws = Workspace.open(config, tmp_path_factory.mktemp("studies"))
    run_all(ws, until="embeddings")
    return ws, rank_identifiers(ws, (1,), PAIRS), ws.root / "reports" / "identifiers-tiny"


def test_each_row_is_its_own_models(study):
    ws, rows, _folder = study
    rows = rows.to_dict("records")
    assert [(r["strategy"], r["quantizer"], r["seed"]) for r in rows] == [
        (*pair, 1) for pair in PAIRS
    ]
    for row in rows:
        run = ws.root / "artifacts" / f"identifiers-tiny-{row['strategy']}-{row['quantizer']}-1"
        codes = Identifiers.load(run / "identifiers")
        ranked = pd.read_parquet(run / "decoding" / "run.parquet")
        events = pd.read_parquet(run / "data" / "events.parquet")
        for task in TASKS:
            targets = events[(events["split"] == "validation") & (events["task"] == task)]
            hits = ranked.merge(targets[["event_id", "item_id"]], on=["event_id", "item_id"])
            by_hand = (1 / np.log2(hits.loc[hits["rank"] <= 10, "rank"] + 1)).sum() / len(targets)
            assert row[f"ndcg@10/{task}"] == pytest.approx(by_hand, abs=1e-6)
            assert row[f"num_queries/{task}"] == len(targets) > 0
        if (
            row["strategy"] == "random"
        ):  # nothing was repaired, so the codes on disk are those that were diagnosed
            table = codebook_usage(codes.semantic, codes.codebook_size)
            assert row["perplexity"] == pytest.approx(table["perplexity"].mean(), abs=1e-5)
        assert json.loads((run / "training" / "meta.json").read_text())["settings"]["seed"] == 1
    assert rows[1]["perplexity"] > rows[0]["perplexity"], "blind codes are used more evenly"
    assert rows[1]["purity at 1"] < rows[0]["purity at 1"], "and mean less"


def test_the_report_can_be_read_back_and_a_second_run_reuses_every_stage(study):
    ws, rows, folder = study
    table = read_rows(folder / "ranking.json")
    pd.testing.assert_frame_equal(table, rows)
    assert table.attrs["changed"]["training.eval_sample"] == "5"
    written = json.loads((folder / "ranking.json").read_text())
    assert written["changed"]["data.num_items"] == "80"
    assert "Search" in written["figure"]
    assert (folder / "ranking.png").stat().st_size > 5000
    assert read_rows(folder / "nothing.json") is None
    before = {path: path.stat().st_mtime_ns for path in ws.root.rglob("meta.json")}
    assert len(before) == 2 + 2 * 5
    pd.testing.assert_frame_equal(rank_identifiers(ws, (1,), PAIRS), rows)
    assert {path: path.stat().st_mtime_ns for path in ws.root.rglob("meta.json")} == before


def test_wrong_words_are_told(study, capsys, monkeypatch):
    with pytest.raises(ConfigError, match=r"dual \+ pq is no valid pair.*dual \+ rq-kmeans"):
        rank_identifiers(study[0], (0,), (("dual", "pq"),))
    called = []
    monkeypatch.setattr(
        studies, "rank_identifiers", lambda ws, seeds: called.append((ws.run, seeds)) or [{}, {}]
    )
    assert main(["study", "identifier-ranking", "--preset", "tiny", "--seeds", "0,2"]) == 0
    assert called == [("tiny", (0, 2))]
    assert "ranking of 2 models" in capsys.readouterr().out
    assert main(["study", "identifier-ranking", "--preset", "tiny", "--seeds", "x"]) == 1
