"""The order of rows is nothing: any permutation of own files' events gives the same corpus and the
same report.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from own_logs import FILMS, load

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.config import DataConfig
from gensar_lite.data import build_corpus
from gensar_lite.data.report import Report

QUERIES = ["", "", "red tent", "a mat", "NULL"]


@st.composite
def own_logs(draw) -> pd.DataFrame:
    """Rows of five users, three steps or more each, searches beside purchases of the same item and
    time among them.
    """
    rows = []
    for user in ("ann", "bob", "cyd", "0", "NA"):
        for step in range(draw(st.integers(3, 5))):
            for _ in range(draw(st.integers(1, 3))):
                item, when = str(draw(st.integers(0, 4))), str(1_400_000_000 + step)
                rows.append((user, item, when, draw(st.sampled_from(QUERIES))))
                if draw(st.booleans()):
                    rows.append((user, item, when, draw(st.sampled_from(QUERIES))))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "time", "query"])


def corpus_of(folder: Path, events: pd.DataFrame, **changes) -> tuple[Corpus, dict, list]:
    """The corpus of own files, its funnel, and the report but for what speaks of the order of rows
    itself.
    """
    tables = load(folder, FILMS[:5], events, split="auto", **changes)
    corpus, funnel = build_corpus(tables, DataConfig(source="files", split="auto"))
    report: Report = tables.report
    lines = [
        (f.level, f.table, f.what, f.count, f.total, f.then)
        for f in report.findings
        if "earlier row" not in f.what
    ]
    return corpus, funnel, [*lines, report.kept]


@given(events=own_logs(), seed=st.integers(0, 999), made=st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_order_of_rows_gives_the_same_corpus(events, seed, made, tmp_path_factory):
    changes = {}
    if made:  # search twins are drawn: from what happened, not from where it stands
        events, changes = (
            events.drop(columns="query"),
            {"make_search": True, "columns": ("items.category=title",)},
        )
    folder = tmp_path_factory.mktemp("order")
    try:
        one = corpus_of(folder, events, **changes)
    except ArtifactError as error:
        assume("every event has a query" in str(error))
        with pytest.raises(ArtifactError, match="every event has a query"):
            corpus_of(folder, events.sample(frac=1, random_state=seed), **changes)
        return
    two = corpus_of(folder, events.sample(frac=1, random_state=seed), **changes)
    for name in ("items", "queries", "events", "relevance"):
        pd.testing.assert_frame_equal(getattr(one[0], name), getattr(two[0], name))
    assert one[0].exclude_seen == two[0].exclude_seen
    assert one[0].user_ids.tolist() == two[0].user_ids.tolist()
    assert one[1:] == two[1:]


def test_a_search_row_before_its_purchase_is_the_same_log(tmp_path):
    """The natural order: first searched, then bought, both at one time; training must find the same
    targets.
    """
    rows = [
        (f"u{user}", str((user + step) % 5), str(1_400_000_000 + step), query)
        for user in range(30)
        for step in range(5)
        for query in ("red tent", "")
    ]
    search_first = pd.DataFrame(rows, columns=["user_id", "item_id", "time", "query"])
    purchase_first = search_first.sort_values(["user_id", "time", "query"], kind="stable")
    one, two = corpus_of(tmp_path, search_first), corpus_of(tmp_path, purchase_first)
    pd.testing.assert_frame_equal(one[0].events, two[0].events)
    train = one[0].targets("train", "recommend")
    assert len(train) == 30 * 3
    assert one[2] == two[2]
