"""Two runs side by side: values and differences by hand, other data refused, the verb on a run made
by hand; and the same run as TREC files, read by ranx."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_evaluation_report import finished_workspace, own_corpus

from gensar_lite import __main__ as cli
from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.config import ConfigError, EvaluationConfig
from gensar_lite.evaluation import stage
from gensar_lite.evaluation.compare import (
    ASKED,
    Side,
    compare_runs,
    compare_sides,
    comparison_table,
    refuse_other_targets,
)
from gensar_lite.evaluation.runs import write_qrels, write_trec
from gensar_lite.evaluation.scores import SCORE_COLUMNS
from gensar_lite.evaluation.trec import graded_qrels, write_trec_folder
from gensar_lite.evaluation.uncertainty import paired_difference

NUM = 40  # targets of each task in sides made by hand


def side(run: str, system: str, tasks: dict[str, np.ndarray], **changes) -> Side:
    """A side whose values (NUM,) of recall@10 and ndcg@10 are those of `tasks`, a user per target;
    four query strings."""
    rows, parts = [], []
    for place, task in enumerate(("recommend", "search")):
        for i in range(NUM):
            query = f"words {i % 4}" if task == "search" else ""
            rows.append((place * NUM + i, place * NUM + i, task, i % 7, query))
        for metric in ("recall@10", "ndcg@10") if task in tasks else ():
            events = np.arange(place * NUM, (place + 1) * NUM)
            table = pd.DataFrame({"event_id": events, "value": tasks[task], "metric": metric})
            parts.append(table.assign(system=system, protocol="full", task=task))
    targets = pd.DataFrame(rows, columns=list(ASKED)).assign(**changes)
    return Side(run, system, pd.concat(parts)[SCORE_COLUMNS], targets, 7, EvaluationConfig())


def values(seed: int, mean: float) -> np.ndarray:
    return (np.random.default_rng(seed).random(NUM) < mean) * 1.0


def test_a_row_is_what_the_parts_say():
    first = side("a", "joint", {"recommend": values(0, 0.8), "search": values(1, 0.5)})
    second = side("b", "joint", {"recommend": values(2, 0.2), "search": values(3, 0.5)})
    record = compare_sides(first, second, ["recall@10", "ndcg@10"])
    assert record["first"] == {"run": "a", "system": "joint"}
    keys = [(row["task"], row["metric"]) for row in record["rows"]]
    assert set(keys) == {(t, m) for t in ("recommend", "search") for m in ("recall@10", "ndcg@10")}
    rows = dict(zip(keys, record["rows"], strict=True))
    row = rows["recommend", "recall@10"]
    assert row["first"] == values(0, 0.8).mean()
    assert row["second"] == values(2, 0.2).mean()
    # every user has one target, so that users drawn whole are queries drawn
    plain = paired_difference(values(0, 0.8), values(2, 0.2))
    assert (row["difference"], row["low"], row["high"]) == pytest.approx(plain)
    assert row["by_query"] is None
    assert row["num_targets"] == NUM
    assert row["p"] < 0.001 < 0.2 < rows["search", "recall@10"]["p"]
    # four tests: the two small ones times 4 and 3 (equal p, so both times 4)
    assert row["p_holm"] == pytest.approx(4 * row["p"])
    found = rows["search", "recall@10"]["by_query"]
    assert found["low"] <= rows["search", "recall@10"]["difference"] <= found["high"]
    assert json.loads(json.dumps(record)) == record


def test_only_tasks_that_both_answer_are_compared():
    joint = side("a", "joint", {"recommend": values(0, 0.8), "search": values(1, 0.5)})
    bm25 = side("a", "bm25", {"search": values(3, 0.5)})
    sasrec = side("a", "sasrec-ce", {"recommend": values(3, 0.5)})
    assert [r["task"] for r in compare_sides(joint, bm25, ["ndcg@10"])["rows"]] == ["search"]
    with pytest.raises(ConfigError, match=r"share no task \(bm25: search; sasrec-ce: recommend\)"):
        compare_sides(bm25, sasrec, ["ndcg@10"])
    with pytest.raises(ConfigError, match="--metric ndcg@3: the run a has ndcg@10, recall@10"):
        compare_sides(joint, bm25, ["ndcg@3"])


def test_the_table_signs_every_difference():
    high, low = np.ones(NUM), np.r_[np.zeros(NUM - 1), 1.0]
    record = compare_sides(
        side("a", "joint", {"search": low}), side("b", "joint", {"search": high}), ["ndcg@10"]
    )
    lines = comparison_table(record).splitlines()
    assert lines[:2] == ["first: joint of a", "second: joint of b"]
    assert lines[3].split()[:5] == ["search", "ndcg@10", ".0250", "1.000", "-.9750"]
    assert lines[3].endswith("  40")
    assert "95 % intervals" in lines[4]
    assert all(len(line) < 160 for line in lines)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"user_id": 0}, "another user_id in 79 targets, the first at event 1"),
        ({"query": "x"}, "another query in 80 targets, the first at event 0"),
        ({"item_id": np.r_[np.arange(40) % 7, 6, np.arange(1, 40) % 7]}, "another item_id in 1 "),
    ],
)
def test_other_targets_are_refused(changes, said):
    both = {"search": values(1, 0.5)}
    first = side("a", "joint", both)
    refuse_other_targets(first, side("b", "joint", both))
    with pytest.raises(ArtifactError, match=said) as error:
        refuse_other_targets(first, side("b", "joint", both, **changes))
    assert "build one of them again with the data settings" in str(error.value)


def test_another_size_is_refused_by_its_numbers():
    first = side("a", "joint", {"search": values(1, 0.5)})
    other = first._replace(run="b", num_items=1234, targets=first.targets.iloc[:5])
    with pytest.raises(
        ArtifactError, match="7 items in the catalogue against 1,234; 80 targets against 5"
    ):
        refuse_other_targets(first, other)


# ----------------------------------------------------------------------------------------- the verb


@pytest.fixture
def run(tmp_path, monkeypatch):
    """An evaluated run ``hand`` in a workspace, its stages made by hand."""
    ws = finished_workspace(tmp_path, monkeypatch)
    stage.evaluate(ws)
    return ws


def test_the_verb_prints_a_table_or_json(run, capsys):
    capsys.readouterr()
    words = ["compare", "hand", "hand", "--system", "joint,popularity", "--workspace"]
    assert cli.main([*words, str(run.root)]) == 0
    table = capsys.readouterr().out
    assert table.startswith("first: joint of hand\nsecond: popularity of hand\n")
    assert cli.main([*words, str(run.root), "--json", "--metric", "mrr"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert comparison_table(record).startswith("first: joint of hand")
    metrics = json.loads((run.folder("evaluation") / "metrics.json").read_text())
    means = {
        (m["system"], m["task"]): m["value"]
        for m in metrics
        if (m["protocol"], m["metric"]) == ("full", "mrr")
    }
    assert len(record["rows"]) == 2
    for row in record["rows"]:
        assert row["first"] == pytest.approx(means["joint", row["task"]])
        assert row["second"] == pytest.approx(means["popularity", row["task"]])
        assert row["difference"] == pytest.approx(row["first"] - row["second"])


def test_two_runs_of_one_log_compare(run):
    shutil.copytree(run.folder("data").parent, run.root / "artifacts" / "twin")
    record = compare_runs(run.root, ["hand", "twin"], "joint", "ndcg@10")
    assert [row["difference"] for row in record["rows"]] == [0, 0]
    assert all(row["low"] < 0 < row["high"] and row["p"] == 1 for row in record["rows"])


def test_what_cannot_be_compared_says_what_to_do(run, tmp_path_factory, monkeypatch):
    def told(kind, runs, systems="joint", metrics="ndcg@10"):
        with pytest.raises(kind) as error:
            compare_runs(run.root, runs, systems, metrics)
        return str(error.value)

    assert "is on both sides. Name two runs, or two systems" in told(ConfigError, ["hand"] * 2)
    assert "write one name, or two" in told(ConfigError, ["hand"] * 2, "a,b,c")
    assert "--system jiont: the run hand has joint, " in told(ConfigError, ["hand"] * 2, "jiont,x")
    assert "artifacts/none holds no finished stage" in told(ArtifactError, ["none", "hand"])
    # stages stand, the evaluation does not: its command is named
    folder = run.root / "artifacts" / "half"
    shutil.copytree(run.folder("data").parent, folder)
    shutil.rmtree(folder / "evaluation")
    problem = told(ArtifactError, ["hand", "half"])
    assert "artifacts/half/evaluation has not been built" in problem
    assert "gensar evaluation --preset tiny --run half" in problem
    # another log
    other = finished_workspace(
        tmp_path_factory.mktemp("other"), monkeypatch, "files", own_corpus(), None
    )
    stage.evaluate(other)
    shutil.copytree(other.folder("data").parent, run.root / "artifacts" / "other")
    assert "not asked the same: 6 targets against 3. " in told(ArtifactError, ["hand", "other"])


# -------------------------------------------------------------------------------------- TREC files


def read_back(run_file: Path, qrels_file: Path, metrics: list[str]) -> dict[str, float]:
    """Means of `metrics` as ranx computes them from two files; a query without a list counts 0."""
    ranx = pytest.importorskip("ranx")
    qrels = ranx.Qrels.from_file(str(qrels_file), kind="trec")
    found = ranx.Run.from_file(str(run_file), kind="trec")
    return ranx.evaluate(qrels, found, metrics, make_comparable=True)


@pytest.mark.slow  # ranx compiles
def test_trec_files_give_our_metrics(run, capsys):
    capsys.readouterr()
    words = ["report", "--trec", "--run", "hand", "--workspace", str(run.root)]
    assert cli.main(words) == 0
    folder = run.report / "trec"
    assert f"trec: {folder}" in capsys.readouterr().out
    scores = pd.read_parquet(run.folder("evaluation") / "scores.parquet")
    means = scores.groupby(["protocol", "system", "task", "metric"], observed=True)["value"].mean()
    pairs = sorted(path.stem for path in folder.glob("*.run"))
    assert "sasrec_x_likelihood-search" in pairs
    compared = 0
    for (protocol, system, task), _ in means.groupby(level=[0, 1, 2], observed=True):
        if not protocol.startswith("full"):
            continue
        qrels = folder / (f"{task}.qrels" if protocol == "full" else "search-all.qrels")
        name = f"{'_'.join(system.split())}-{task}"
        theirs = read_back(folder / f"{name}.run", qrels, ["recall@10", "ndcg@10"])
        for metric, value in theirs.items():
            assert value == pytest.approx(means[protocol, system, task, metric], abs=1e-9), name
        compared += 1
    assert compared > len(pairs)  # each run once, searches against both qrels


def test_graded_qrels_by_hand():
    targets = pd.DataFrame({"event_id": [5, 9], "query_id": [0, 1], "item_id": [2, 3]})
    relevance = pd.DataFrame(
        {"query_id": [0, 0, 0, 1], "item_id": [2, 4, 4, 8], "grade": [1, 1, 3, 0]}
    )
    found = graded_qrels(targets, relevance)
    # the click on 2 has a grade more; of doubles the highest; 3 is an answer for being clicked
    assert found.to_numpy().tolist() == [[5, 2, 2], [5, 4, 3], [9, 3, 1]]


def test_run_and_qrels_name_own_items_alike(tmp_path):
    names = ["plain", "two words", "100%"]
    table = pd.DataFrame({"event_id": 7, "item_id": [2, 1], "rank": [1, 2], "grade": 1})
    run = write_trec(table, tmp_path / "x.run", "joint", names).read_text().split("\n")
    qrels = write_qrels(table, tmp_path / "x.qrels", names).read_text()
    assert qrels == "7 0 100%25 1\n7 0 two%20words 1\n"
    assert [line.split()[2] for line in run if line] == ["100%25", "two%20words"]


def test_own_files_keep_their_ids_in_trec_files(tmp_path, monkeypatch):
    ws = finished_workspace(tmp_path, monkeypatch, "files", own_corpus(), None)
    stage.evaluate(ws)
    folder = write_trec_folder(ws)
    assert sorted(path.name for path in folder.glob("*.qrels")) == ["recommend.qrels"]
    corpus = Corpus.load(ws.folder("data"))
    wanted = corpus.items["source_id"][corpus.targets("test")["item_id"]].tolist()
    lines = (folder / "recommend.qrels").read_text().splitlines()
    assert [line.split()[2] for line in lines] == wanted


def test_git_ignores_items_of_real_data():
    root = Path(__file__).parent.parent
    if not (root / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a checkout and git")
    asked = ["git", "check-ignore", "-q", "reports/beauty-quick/trec/joint-search.run"]
    assert subprocess.run(asked, cwd=root).returncode == 0
