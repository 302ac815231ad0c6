"""The study of prompts and behaviour tokens: its rows are its models', and what is done is kept."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from gensar_lite.artifacts import ArtifactError, Workspace
from gensar_lite.config import override, preset
from gensar_lite.experiments import ablations
from gensar_lite.experiments.ablations import VARIANTS, ablate, read_ablation
from gensar_lite.pipeline import run_all

FAST = {"training.epochs": 1, "training.eval_sample": 5, "training.eval_beams": 5}
NUMBERS = {"ndcg@10/search": 0.2, "ndcg@10/recommend": 0.1}


@pytest.fixture(scope="module")
def ws(tmp_path_factory) -> Workspace:
    changes = {
        "data.num_items": 80,
        "data.num_users": 40,
        "data.num_events": 390,
        "embeddings.collaborative": "svd",
    }
    changes |= {"embeddings.encoder": "lsa", "embeddings.joint": "none"}
    ws = Workspace.open(override(preset("tiny"), changes), tmp_path_factory.mktemp("ablation"))
    run_all(ws, until="identifiers")
    return ws


def test_a_cell_is_trained_as_its_variant_says(ws):
    table = ablate(ws, (0,), ("neither", "both"), FAST)
    assert table["variant"].tolist() == ["both", "neither"], "in the order of VARIANTS"
    assert table["num_queries/search"].tolist() == [5, 5]
    assert table.attrs["changed"]["training.eval_sample"] == "5"
    assert all(table[f"ndcg@10/{task}"].between(0, 1).all() for task in ("search", "recommend"))
    assert not ws.folder("training").exists(), "the run's own stage is not touched"


def test_cells_are_kept_until_something_changes(ws, monkeypatch):
    trained = []

    def row(key, corpus, identifiers, config, vectors):
        trained.append(config.training)
        return pd.DataFrame([key | NUMBERS])

    monkeypatch.setattr(ablations, "_row", row)
    first = ablate(ws, (3, 4), tuple(VARIANTS), FAST | {"training.lr": 0.5})
    assert [(s.prompts, s.behaviour_tokens, s.seed) for s in trained[:4]] == [
        (True, True, 3),
        (False, True, 3),
        (True, False, 3),
        (False, False, 3),
    ]
    assert len(first) == len(trained) == 8, "rows of other settings are not kept"
    pd.testing.assert_frame_equal(
        ablate(ws, (3, 4), tuple(VARIANTS), FAST | {"training.lr": 0.5}), first
    )
    assert len(trained) == 8
    ablate(ws, (3,), ("both",), FAST | {"training.lr": 0.25})
    assert len(trained) == 9


def test_words_and_files_that_are_not_there(ws, tmp_path):
    with pytest.raises(ArtifactError, match=r"no 'prompts'.*no prompts, no behaviour tokens"):
        ablate(ws, (0,), ("prompts",), FAST)
    assert read_ablation(tmp_path / "ablation.json") is None
    (tmp_path / "ablation.json").write_text(
        json.dumps({"changed": {}, "rows": [{"variant": "both", "seed": 0}]})
    )
    assert len(read_ablation(tmp_path / "ablation.json")) == 1
