"""The trade-off study: its systems, what it keeps, and that a killed one goes on."""

import numpy as np
import pandas as pd
import pytest
from helpers import small_corpus

from gensar_lite.artifacts import ArtifactError, Corpus, Workspace
from gensar_lite.config import ConfigError, override, preset
from gensar_lite.data import prepare
from gensar_lite.evaluation.baselines import BM25, CategoryPopularity, Popularity, top_k_run
from gensar_lite.evaluation.protocols import ALL_RELEVANT, FULL
from gensar_lite.evaluation.scores import score_run
from gensar_lite.experiments.tradeoff import study as room
from gensar_lite.experiments.tradeoff.making import make_cell
from gensar_lite.experiments.tradeoff.ranks import COLUMNS, NOT_ASKED, Court, targets_table
from gensar_lite.experiments.tradeoff.results import Outcome, values
from gensar_lite.experiments.tradeoff.study import plan_cells, plan_lines, run_study, study_folder
from gensar_lite.experiments.tradeoff.systems import (
    COUNTS,
    base_name,
    cell_config,
    systems_of,
)
from gensar_lite.pipeline import run_all

TREE = {
    "training.backbone": "tree-micro",
    "training.tasks": ("nrip", "nsip", "adhoc"),
    "training.task_weights": (1.0, 1.0, 0.5),
    "training.small_embeddings": False,
    "training.epochs": 2,
    "evaluation.num_bootstrap": 50,
}


# ------------------------------------------------------------------------------------------ systems


@pytest.mark.parametrize("name", ["tour", "beauty-quick"])
def test_every_system_has_valid_settings_and_a_name_of_its_own(name):
    config = preset(name)
    systems = systems_of(config, "semantic")
    assert systems[0].name == base_name(config)
    assert len({system.name for system in systems}) == len(systems)
    for system in systems:
        changed = cell_config(config, system, 3)
        assert (changed.identifiers.seed, changed.training.seed) == (3, 3)
        assert (changed.data, changed.embeddings) == (config.data, config.embeddings)
    # one task alone weighs what it weighs in the joint model
    by_name = {system.name: cell_config(config, system, 0).training for system in systems}
    joint = dict(
        zip(by_name[base_name(config)].tasks, by_name[base_name(config)].task_weights, strict=True)
    )
    for name in ("recommend-only", "search-only"):
        own = by_name[name]
        assert all(joint[task] == w for task, w in zip(own.tasks, own.task_weights, strict=True))
    # all systems read the log equally often, but for the paper's, which stand apart
    own = [cell_config(config, s, 0).training for s in systems if s.group != "paper"]
    assert len({(t.epochs, t.min_steps, t.batch_size) for t in own}) == 1


def test_weights_move_recommendation_alone():
    config = preset("tour")
    systems = {system.name: system for system in systems_of(config)}
    usual = config.training.task_weights
    for name, factor in (("weights-1-4", 0.25), ("weights-4-1", 4.0)):
        weights = cell_config(config, systems[name], 0).training.task_weights
        assert weights == (usual[0] * factor, *usual[1:])


def test_a_run_of_one_identifier_has_no_study():
    config = override(preset("tour"), {"identifiers.strategy": "semantic"})
    with pytest.raises(ConfigError, match=r"joint model with two identifiers.*tour"):
        systems_of(config)


# ------------------------------------------------------------------------------------- what is kept


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A workspace whose data alone stands, its court, and the court's targets."""
    ws = Workspace(tmp_path_factory.mktemp("tradeoff"), override(preset("tiny"), TREE), "tiny")
    prepare(ws)
    corpus = Corpus.load(ws.require("data"))
    return ws, corpus, Court.of(corpus, ws.config)


def test_metrics_from_ranks_are_those_of_an_evaluation(tiny):
    ws, corpus, court = tiny
    ks, depth = ws.config.evaluation.ks, ws.config.decoding.top_k
    cases = [
        ("recommend", Popularity.fit(corpus)),
        ("search", Popularity.fit(corpus)),
        ("search", CategoryPopularity.fit(corpus)),
        ("search", BM25(corpus)),
    ]
    for task, scorer in cases:
        table = court.of_scorer("it", task, scorer)
        columns = (table[name].to_numpy()[None] for name in ("rank", "sampled_rank", "graded"))
        outcome = Outcome("it", task, "it", "baseline", (0,), *columns)
        run = top_k_run(scorer, court.targets[task], depth, court.without)
        wanted = score_run(run, court.targets[task], "it", FULL, ks, depth)
        for metric in ("recall@5", "ndcg@10", "mrr"):
            mine = wanted[wanted["metric"] == metric]["value"]
            assert np.allclose(values(outcome, metric)[0], mine)
        part, items = court.sampled[task]
        run = top_k_run(scorer, part, depth, candidates=items)
        wanted = score_run(run, part, "it", "among", ks, depth)
        wanted = wanted[wanted["metric"] == "ndcg@10"]["value"]
        assert np.allclose(values(outcome, "ndcg@10", "among")[0], wanted)
        if task == "search":
            run = top_k_run(scorer, court.targets[task], depth)
            graded = score_run(run, court.targets[task], "it", "a", ks, depth, court.qrels)
            graded = graded[graded["metric"] == "ndcg@10"]["value"]
            assert np.allclose(values(outcome, "ndcg@10", ALL_RELEVANT)[0], graded, atol=6e-5)


def test_a_sampled_target_is_one_that_was_drawn(tiny):
    ws, corpus, _ = tiny
    few = override(ws.config, {"evaluation.max_sampled": 7})
    court = Court.of(corpus, few)
    table = court.of_scorer("it", "recommend", Popularity.fit(corpus))
    asked = table["sampled_rank"].to_numpy() != NOT_ASKED
    drawn = court.sampled["recommend"].targets["event_id"]
    assert asked.sum() == 7 == len(drawn)
    assert set(court.targets["recommend"]["event_id"][asked]) == set(drawn)


def test_what_is_known_of_targets_by_hand():
    corpus = small_corpus()
    court = Court.of(corpus, override(preset("tiny"), {"evaluation.num_negatives": 2}))
    table = targets_table(court)
    events, train = corpus.events, corpus.events[corpus.events["split"] == "train"]
    assert table["event_id"].tolist() == [
        event for task in court.targets for event in court.targets[task]["event_id"]
    ]
    for row in table.itertuples():
        event = events.iloc[row.event_id]
        mine = train[train["user_id"] == event.user_id]
        bought = mine[mine["task"] == "recommend"]["item_id"]
        found = set(mine[mine["task"] == "search"]["item_id"])
        assert row.overlap == pytest.approx(np.mean([i in found for i in bought] or [0.0]))
        assert row.item_events == (train["item_id"] == event.item_id).sum()
        before = (events["user_id"] == event.user_id) & (events["time"] < event.time)
        assert row.history == before.sum()


# ---------------------------------------------------------------------------------------- the cells


def fake(calls):
    """A `make_cell` that trains nothing: ranks follow from name and seed."""

    def make(ws, court, system, seed):
        calls.append((system.name, seed))
        parts = []
        for task, rows in court.targets.items():
            rng = np.random.default_rng([len(system.name), seed])
            rank = rng.integers(0, 21, len(rows)).astype(np.int16)
            parts.append(pd.DataFrame({"rank": rank, "sampled_rank": rank, "graded": rank}))
            parts[-1] = parts[-1].assign(system=system.name, task=task)[COLUMNS]
        table = pd.concat(parts, ignore_index=True)
        table.attrs["minutes"] = 2.0
        best = 0.5 if system.name == "fused-svd" else 0.2
        table.attrs["validation"] = {"recommend": best, "search": best}
        return table

    return make


@pytest.fixture
def fake_study(tiny, tmp_path, monkeypatch):
    """The study of the tiny run with cells that cost nothing, in a folder of its own."""
    ws, _, court = tiny
    calls = []
    monkeypatch.setattr(room, "make_cell", fake(calls))
    monkeypatch.setattr(room, "_court", lambda ws: court)
    monkeypatch.setattr(room, "SHARED", ("data",))
    monkeypatch.setattr(room, "study_folder", lambda ws: tmp_path / "tradeoff")
    monkeypatch.setattr(room, "write_study", lambda folder, config: folder, raising=False)
    return ws, calls, tmp_path / "tradeoff"


def test_a_killed_study_goes_on_and_ends_the_same(fake_study, monkeypatch):
    ws, calls, folder = fake_study
    whole = run_study(ws, (0, 1))
    kept = {path.name: path.read_bytes() for path in sorted(folder.glob("cells/*"))}
    assert len(calls) == len(set(calls)) == len(kept)
    # the quantizers come last, under the strategy that validation likes best
    assert [name for name, _ in calls[-6:]] == [
        f"fused-svd-{quantizer}" for _ in range(2) for quantizer in ("rq-vae", "balanced", "pq")
    ]
    done = len(calls)
    run_study(ws, (0, 1))
    assert len(calls) == done  # nothing twice
    for path in list(folder.glob("cells/*"))[::3]:
        path.unlink()
    good = room.make_cell

    def dies(ws, court, system, seed):
        if len(calls) == done + 4:
            raise KeyboardInterrupt
        return good(ws, court, system, seed)

    monkeypatch.setattr(room, "make_cell", dies)
    with pytest.raises(KeyboardInterrupt):
        run_study(ws, (0, 1))
    monkeypatch.setattr(room, "make_cell", good)
    assert run_study(ws, (0, 1)) == whole
    assert {p.name: p.read_bytes() for p in sorted(folder.glob("cells/*"))} == kept


def test_the_plan_says_what_is_done_and_what_it_takes(fake_study):
    ws, _, _ = fake_study
    run_study(ws, (0,), ("dual-1", COUNTS))
    lines = plan_lines(ws, (0, 1))
    assert " ".join(lines[0].split()) == "dual-1 strategy 1 of 2 done, 2.0 min each"
    total = len(plan_cells(ws, (0, 1)))
    assert f"{total - 2} of {total} cells to do, about {2 * (total - 2)} min" in lines[-2]
    assert "quantizers follow" in lines[-1]


def test_cells_of_other_settings_are_made_again(fake_study):
    ws, calls, _ = fake_study
    run_study(ws, (0,), ("dual-1",))
    other = Workspace(ws.root, override(ws.config, {"training.dropout": 0.05}), ws.run)
    run_study(other, (0,), ("dual-1",))
    assert calls == [("dual-1", 0)] * 2
    # what changes no rank makes nothing stale
    slower = override(other.config, {"training.max_minutes": 1.0, "decoding.batch_size": 3})
    run_study(Workspace(ws.root, slower, ws.run), (0,), ("dual-1",))
    assert len(calls) == 2


def test_an_unknown_system_is_refused_with_a_list(fake_study):
    ws, _, _ = fake_study
    with pytest.raises(ArtifactError, match=r"no system 'dual-9'.*dual-1, counts"):
        run_study(ws, (0,), ("dual-9",))


@pytest.mark.slow
def test_a_cell_is_trained_judged_and_cleaned_up(tmp_path):
    ws = Workspace(tmp_path, override(preset("tiny"), TREE), "tiny")
    run_all(ws, "embeddings")
    corpus = Corpus.load(ws.require("data"))
    court = Court.of(corpus, ws.config)
    systems = {system.name: system for system in systems_of(ws.config)}
    table = make_cell(ws, court, systems["both-views"], 1)
    names = set(table["system"])
    assert {"both-views", "both-views 0", "both-views 0.5", "both-views 1"} <= names
    assert "both-views+channel" in names
    assert set(table.attrs["validation"]) == {"recommend", "search"}
    # an even fusion is what the model answers with
    for task in court.targets:
        rows = table[table["task"] == task]
        own, even = (rows[rows["system"] == name] for name in ("both-views", "both-views 0.5"))
        for column in ("rank", "sampled_rank", "graded"):
            assert (own[column].to_numpy() == even[column].to_numpy()).mean() > 0.99
    # nothing of it stays but the table; the run is as it was
    assert sorted(path.name for path in (tmp_path / "artifacts").iterdir()) == ["cache", "tiny"]
    alone = make_cell(ws, court, systems["recommend-only"], 0)
    assert (set(alone["task"]), set(alone["system"])) == ({"recommend"}, {"recommend-only"})
    assert study_folder(ws) == tmp_path / "reports" / "tradeoff-tiny"
