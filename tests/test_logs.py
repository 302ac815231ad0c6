"""The generated logs have the character that they are named for."""

import pandas as pd
import pytest

from benchmarks.logs import LOGS, write_logs


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_logs(folder)
    return {
        name: tuple(pd.read_csv(folder / name / f"{part}.csv") for part in ("items", "events"))
        for name in LOGS
    }


def test_every_event_is_of_an_item_and_users_are_in_time_order(logs):
    for items, events in logs.values():
        assert set(events["item_id"]) <= set(items["item_id"])
        assert items["item_id"].is_unique
        assert (events.groupby("user_id")["time"].diff().dropna() > 0).all()


def test_density_repeats_and_queries_are_those_of_the_name(logs):
    twice = {
        name: events.duplicated(["user_id", "item_id"]).mean() for name, (_, events) in logs.items()
    }
    length = {name: len(events) / events["user_id"].nunique() for name, (_, events) in logs.items()}
    assert twice["films"] == twice["sparse"] == twice["searches"] == 0
    assert twice["repeats"] > 0.5
    assert length["films"] > 30 > length["repeats"] > 15
    assert length["sparse"] < 7
    items, events = logs["searches"]
    assert 0.45 < events["query"].notna().mean() < 0.55
    title = items.set_index("item_id")["title"]
    asked = events.dropna(subset="query")
    assert all(
        set(query.split()) <= set(title[item].split())
        for query, item in zip(asked["query"], asked["item_id"], strict=True)
    )
    assert all("query" not in events for name, (_, events) in logs.items() if name != "searches")
