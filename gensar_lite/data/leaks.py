"""The leak laboratory: the paper's released preparation by name, and counts of what it lets pass.

In: an event table sorted by user, then time. Out: the same events in the released order, the
released split, counts of targets that sit in their own history and of purchases that stand in two
splits. The released preparation (lesson 01) stamps events by the day, puts a day's purchases before
its searches, splits each task by itself, and takes a purchase out of its search's history only
where it is the very last event before it. This file does not know what a ranker makes of a leak
(`gensar_lite.experiments.copying` does).
"""

import numpy as np
import pandas as pd

from gensar_lite.artifacts import SPLITS, TASKS
from gensar_lite.data.histories import repeated, run_starts
from gensar_lite.data.splitting import leave_one_out


def to_days(events: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The log with coarse stamps, as real shops have: `steps` (1 or more) steps become one day.
    For logs whose times count a user's steps, as the shop's and Beauty's do."""
    if steps < 1:
        raise ValueError(f"leaks: a day of {steps} steps is none; give 1 or more")
    return events.assign(time=events["time"] // steps)


def released_order(events: pd.DataFrame) -> pd.DataFrame:
    """The events as the released preparation lines them up, with new times: a history is *all rows
    above*. Inside one time, purchases stand before searches. Every event is a time step of its own,
    but a search right behind the purchase of its item shares that step: the one twin which the
    release takes out of the history."""
    searched = (events["task"] == "search").to_numpy()
    # purchases first inside a time; stable: other ties keep their order
    order = np.lexsort((searched, events["time"], events["user_id"]))
    events = events.iloc[order].reset_index(drop=True)
    columns = (events[name].to_numpy() for name in ("user_id", "time", "item_id"))
    searched = searched[order]
    joined = ~run_starts(*columns) & searched  # the row above has the same user, time and item
    joined[1:] &= ~searched[:-1]  # and is a purchase
    return events.assign(time=np.cumsum(~joined) - 1)


def per_task_split(events: pd.DataFrame) -> np.ndarray:
    """``train | validation | test`` per event (E,): leave-one-out inside each task, as the paper's
    release does. So a purchase may train one task while its search twin tests the other."""
    return leave_one_out(events.groupby(["user_id", "task"]).cumcount(ascending=False))


def release(events: pd.DataFrame) -> pd.DataFrame:
    """`released_order`, then `per_task_split` as the column ``split``: a careless run's log."""
    events = released_order(events)
    return events.assign(split=per_task_split(events))


def targets_in_own_history(events: pd.DataFrame) -> pd.DataFrame:
    """How many targets of a split log stand in their own history: a row per task, a column per
    split, and ``events``, all of them. Honest repetitions count as well, but in the built-in shop
    and in Beauty nobody repeats an item: every count is a leak."""
    leaking = events[repeated(events, np.arange(len(events)))].groupby(["task", "split"]).size()
    table = {split: [int(leaking.get((task, split), 0)) for task in TASKS] for split in SPLITS}
    table["events"] = [int((events["task"] == task).sum()) for task in TASKS]
    return pd.DataFrame(table, index=pd.Index(TASKS, name="task"))


def purchases_in_two_splits(events: pd.DataFrame) -> pd.DataFrame:
    """Purchases with a search twin (same user and item), counted by the purchase's split (rows) and
    the twin's. Only the diagonal is clean: ``table.loc["train", "test"]`` purchases trained
    recommendation while the very same choice was a test question of search."""
    key = ["user_id", "item_id"]
    bought, searched = (
        events[events["task"] == task].drop_duplicates(key, keep="last") for task in TASKS
    )
    both = bought.merge(searched, on=key, suffixes=(" of purchase", " of search"))
    table = pd.crosstab(both["split of purchase"], both["split of search"])
    return table.reindex(index=SPLITS, columns=SPLITS, fill_value=0)


def leak_counts(events: pd.DataFrame) -> dict[str, int]:
    """The two leaks of a split log as numbers: test targets in their own history per task, and
    purchases that train one task and test the other (``train and test``)."""
    inside, torn = targets_in_own_history(events), purchases_in_two_splits(events)
    is_test = events["split"] == "test"
    counts = {f"{task} targets in own history": int(inside.loc[task, "test"]) for task in TASKS}
    counts |= {f"{task} targets": int((is_test & (events["task"] == task)).sum()) for task in TASKS}
    return counts | {"train and test": int(torn.loc["train", "test"] + torn.loc["test", "train"])}
