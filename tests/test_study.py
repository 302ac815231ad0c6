"""Recommenders over seeds: cells are kept, the summary is a mean, popularity stands beside them."""

import json

import numpy as np
import pandas as pd
import pytest

from gensar_lite.__main__ import main
from gensar_lite.artifacts import ArtifactError, Workspace
from gensar_lite.config import preset
from gensar_lite.experiments.recommenders import compare_recommenders


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    ws = Workspace.open(preset("tiny"), tmp_path_factory.mktemp("study"))
    return (
        ws,
        compare_recommenders(ws, "sasrec-ce", (0, 1)),
        ws.root / "reports" / "baselines" / "tiny",
    )


def row(metrics, system, metric):
    return next(r for r in metrics if r["system"] == system and r["metric"] == metric)


def test_the_value_is_the_mean_over_seeds_of_the_mean_over_targets(study):
    _, metrics, folder = study
    ranks = [
        pd.read_parquet(folder / f"sasrec-ce-{seed}.parquet")["rank"].to_numpy() for seed in (0, 1)
    ]
    by_hand = np.mean(
        [np.mean([1 / np.log2(1 + r) if 0 < r <= 10 else 0 for r in seed]) for seed in ranks]
    )
    found = row(metrics, "sasrec-ce", "ndcg@10")
    assert found["value"] == pytest.approx(by_hand)
    assert found["low"] <= found["value"] <= found["high"]
    assert found["seeds"] == [0, 1]
    assert found["num_queries"] == len(ranks[0])
    assert not np.array_equal(*ranks), "another seed is another model"
    assert row(metrics, "popularity", "recall@10")["value"] > 0


def test_a_finished_cell_is_not_trained_again_and_others_join_it(study):
    ws, metrics, folder = study
    before = (folder / "sasrec-ce-0.json").stat().st_mtime_ns
    compare_recommenders(ws, "svd", (0,))
    again = compare_recommenders(ws, "sasrec-bce", (0,))
    compare_recommenders(ws, "sasrec-ce", (0,))
    assert (folder / "sasrec-ce-0.json").stat().st_mtime_ns == before
    assert row(again, "sasrec-ce", "mrr") == row(metrics, "sasrec-ce", "mrr")
    assert json.loads((folder / "sasrec-bce-0.json").read_text())["settings"]["loss"] == "bce"
    assert {r["system"] for r in json.loads((folder / "metrics.json").read_text())} == {
        "popularity", "transitions", "item-knn", "svd", "sasrec-ce", "sasrec-bce",
    }  # fmt: skip
    assert set(json.loads((folder / "tuned.json").read_text())) == {"transitions", "item-knn"}


def test_names_and_seeds_are_checked(study, capsys):
    with pytest.raises(ArtifactError, match="sasrec-ce, sasrec-bce"):
        compare_recommenders(study[0], "sasrec-hinge", (0,))
    assert main(["study", "recommenders", "--preset", "tiny", "--seeds", "a,b"]) == 1
    assert "--seeds 0,1,2" in capsys.readouterr().err
