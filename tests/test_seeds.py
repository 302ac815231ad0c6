"""The study over training seeds: means by hand, nothing trained twice, leads that are paired."""

import json

import numpy as np
import pandas as pd
import pytest

from gensar_lite.artifacts import ArtifactError, Workspace
from gensar_lite.config import override, preset
from gensar_lite.experiments.seeds import KEY, TRAINED, compare_seeds, mean_over_seeds
from gensar_lite.pipeline import run_all

TREE = {
    "training.backbone": "tree-micro",
    "training.tasks": ("nrip", "nsip", "adhoc"),
    "training.task_weights": (1.0, 1.0, 1.0),
    "training.small_embeddings": False,
    "training.epochs": 2,
    "evaluation.num_bootstrap": 50,
}


def table(values, events=(0, 1)):
    rows = [("joint", "full", "search", "ndcg@10", event) for event in events]
    return pd.DataFrame(rows, columns=KEY).assign(value=values)


def test_the_mean_over_seeds_is_that_of_each_query():
    shuffled = table([0.5, 1.0], (1, 0))
    mean = mean_over_seeds([table([0.0, 0.25]), shuffled]).sort_values("event_id")
    assert mean["value"].tolist() == [0.5, 0.375]


def test_other_queries_are_refused():
    with pytest.raises(ArtifactError, match="other queries or systems"):
        mean_over_seeds([table([0.0, 0.25]), table([0.0, 0.25], (0, 2))])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("seeds")
    ws = Workspace(root, override(preset("tiny"), TREE), "tiny")
    run_all(ws, "identifiers")
    return ws, compare_seeds(ws, (0, 1))


@pytest.mark.slow
def test_rows_are_means_over_the_runs(study):
    ws, record = study
    parts = []
    for run in ("tiny", "tiny-1"):
        scores = pd.read_parquet(ws.root / "artifacts" / run / "evaluation" / "scores.parquet")
        is_it = (scores["system"] == "joint") & (scores["metric"] == "ndcg@10")
        parts.append(scores[is_it & (scores["protocol"] == "full")])
    for task in ("search", "recommend"):
        row = next(
            r
            for r in record["rows"]
            if (r["system"], r["task"], r["protocol"]) == ("joint", task, "full")
            and r["metric"] == "ndcg@10"
        )
        means = [part.loc[part["task"] == task, "value"].mean() for part in parts]
        assert row["value"] == pytest.approx(np.mean(means))
        assert row["low"] <= row["value"] <= row["high"]
        assert row["seeds"] == [0, 1]
        mine = {"system": "joint", "task": task, "protocol": "full", "metric": "ndcg@10"}
        told = [r["value"] for r in record["per_seed"] if mine.items() <= r.items()]
        assert told == pytest.approx(means)
        assert means[0] != means[1]  # another seed is another model


@pytest.mark.slow
def test_what_is_not_trained_has_no_seed_and_one_value(study):
    _, record = study
    others = [row for row in record["rows"] if row["system"] not in TRAINED]
    assert others
    assert all(row["seeds"] == [] for row in others)


@pytest.mark.slow
def test_leads_are_paired_differences(study):
    _, record = study
    values = {
        (row["task"], row["system"]): row["value"]
        for row in record["rows"]
        if row["protocol"] == "full" and row["metric"] in ("recall@10", "ndcg@10")
        if row["metric"] == {"recommend": "recall@10", "search": "ndcg@10"}[row["task"]]
    }
    assert {row["task"] for row in record["differences"]} == {"search", "recommend"}
    for row in record["differences"]:
        first, second = (values[row["task"], row[name]] for name in ("system", "other"))
        assert row["value"] == pytest.approx(first - second)


@pytest.mark.slow
def test_a_second_call_trains_nothing(study):
    ws, record = study
    models = [
        ws.root / "artifacts" / run / "training" / "model.safetensors" for run in ("tiny", "tiny-1")
    ]
    before = [path.stat().st_mtime_ns for path in models]
    assert compare_seeds(ws, (0, 1)) == record
    assert [path.stat().st_mtime_ns for path in models] == before
    kept = json.loads((ws.root / "reports" / "tiny" / "seeds.json").read_text())
    assert kept == json.loads(json.dumps(record))


@pytest.mark.slow
def test_a_seed_never_stands_on_stages_that_were_rebuilt_since(tmp_path):
    few = TREE | {"embeddings.joint": "none"}
    ws = Workspace(tmp_path, override(preset("tiny"), few), "tiny")
    run_all(ws, "identifiers")
    compare_seeds(ws, (0, 1))
    other = Workspace(tmp_path, override(ws.config, {"identifiers.seed": 7}), "tiny")
    run_all(other, "identifiers")
    compare_seeds(other, (0, 1))
    copy = Workspace(tmp_path, other.config, "tiny-1")
    assert copy.meta("identifiers")["digest"] == other.meta("identifiers")["digest"]
