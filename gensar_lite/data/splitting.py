"""Who stays, which event trains, validates and tests, and which queries training never sees: time
decides, for both tasks at once.

In: an event table sorted by user, then time. Out: a split name per event, masks of what stays.

``joint-time``  a user's last time step tests, the one before validates: loses no event, and
                published leave-one-out figures are made so; a task that seldom stands in a user's
                last step gets few targets
``each-task``   each task's last step tests. Whatever follows the first of a user's targets, and is
                no target itself, is left out: no history holds it, nothing trains on it. The same
                again for validation, before that

This file does not know what an item or a query says.
"""

import bisect

import numpy as np
import pandas as pd

from gensar_lite.artifacts import TASKS
from gensar_lite.data.histories import history_bounds, run_starts

LEFT_OUT = ""  # the split of an event that follows a target of its user and is none itself
STARVED = 0.25  # of the targets that a task could have, the share below which one clock starves it
KEPT = 0.5  # share of the events that a split may not go below to be chosen
NEVER = np.iinfo(np.int64).max  # a step that nobody reaches


def user_steps(events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The time step of each event inside its user's log, and how many steps that user has, two (E,)
    integer arrays. Events of one user with equal time are one step."""
    user, time = events["user_id"].to_numpy(), events["time"].to_numpy()
    begins = run_starts(user, time)
    running = np.cumsum(begins) - 1  # step number over the whole table
    start, _ = history_bounds(events)  # the row at which each event's user began
    group = np.cumsum(run_starts(user)) - 1  # user number by order
    return running - running[start], np.bincount(group[begins])[group]


def leave_one_out(from_end: np.ndarray | pd.Series) -> np.ndarray:
    """``train | validation | test`` by each event's place (E,) from the end: the last one tests."""
    parts = ["test", "validation"]
    return np.select([from_end == 0, from_end == 1], parts, "train").astype(object)


def joint_time_split(events: pd.DataFrame) -> np.ndarray:
    """``train | validation | test`` per event (E,): a user's last time step is test, the one before
    validation. So no purchase trains one task and tests the other."""
    step, num_steps = user_steps(events)
    return leave_one_out(num_steps - 1 - step)


def each_task_split(events: pd.DataFrame) -> np.ndarray:
    """``train | validation | test`` or `LEFT_OUT` per event (E,): of every user, each task's last
    step is a target.

    A user's *cut* is the step of the earliest test target: later events are other tasks' targets or
    left out, and the steps before the cut are split again in the same way for validation; what is
    before both trains. A step serves only with two steps before it (for validation one), so that
    there is something to train on, and not in the first third of the steps that are split, so that
    most of them are kept: a task that a user does at the start alone gets no target of that user.
    """
    step, _ = user_steps(events)
    task = (events["task"] == TASKS[1]).to_numpy().astype(int)  # (E,) column of the event's task
    split = np.full(len(events), "train", dtype=object)
    is_open = np.ones(len(events), dtype=bool)  # not used or left out by an earlier round
    for name, before in (("test", 2), ("validation", 1)):
        # 1. the step at which each task's target of the event's user would stand, and the cut
        last = _last_steps(events, step, is_open, before)  # (E, 2), -1: no target
        cut = np.where(last < 0, NEVER, last).min(axis=1)  # (E,)
        # 2. from the cut on, an event is its task's target or left out
        after = is_open & (step >= cut)
        split[after] = LEFT_OUT
        split[after & (step == last[np.arange(len(events)), task])] = name
        # 3. what stands before the cut is split again
        is_open &= ~after
    return split


def _last_steps(
    events: pd.DataFrame, step: np.ndarray, is_open: np.ndarray, before: int
) -> np.ndarray:
    """(E, 2): for each event, the last open step of its user of each of `TASKS`; -1 where none has
    `before` steps before it and lies behind the first third of the open steps."""
    user = pd.factorize(events["user_id"])[0]
    end = np.zeros(user.max(initial=-1) + 1, dtype=np.int64)  # (U,) each user's last open step
    np.maximum.at(end, user[is_open], step[is_open])
    late = (step >= before) & (3 * step >= end[user])
    last = np.full((len(end), len(TASKS)), -1, dtype=np.int64)  # (U, 2)
    for column, task in enumerate(TASKS):
        serves = is_open & late & (events["task"] == task).to_numpy()
        np.maximum.at(last[:, column], user[serves], step[serves])
    return last[user]


def choose_split(events: pd.DataFrame) -> str:
    """``joint-time``, or ``each-task`` where one clock leaves a task less than a `STARVED` part of
    the test targets that each-task gives; if that leaves no task and split fewer targets than the
    poorest has now, and keeps half of the log."""
    split = each_task_split(events)
    joint, each = _target_counts(events, joint_time_split(events)), _target_counts(events, split)
    starved = any(joint["test", task] < STARVED * each["test", task] for task in TASKS)
    affordable = min(each.values()) >= min(joint.values()) and (split != LEFT_OUT).mean() >= KEPT
    return "each-task" if starved and affordable else "joint-time"


def _target_counts(events: pd.DataFrame, split: np.ndarray) -> dict[tuple[str, str], int]:
    task = events["task"].to_numpy()
    places = [(name, of) for name in ("validation", "test") for of in TASKS]
    return {(name, of): int(((split == name) & (task == of)).sum()) for name, of in places}


def held_out_queries(queries: pd.DataFrame, rate: float, seed: int) -> np.ndarray:
    """Which queries no train event may use, (Q,) bool: `rate` of the distinct strings per kind. A
    string that is held out in one kind is held out in all of them."""
    # another stream than the one that draws twins: the rate changes no event
    rng = np.random.default_rng((seed, 2))
    kinds = queries["kind"] if "kind" in queries else pd.Series("query", index=queries.index)
    held_out = set()
    for _, texts in queries["text"].groupby(kinds, sort=True):
        # sorted first, so that the order of the table draws nothing else
        strings = np.sort(texts.unique().astype(object))
        held_out |= set(rng.permutation(strings)[: round(rate * len(strings))])
    return queries["text"].isin(held_out).to_numpy()


def core_mask(
    user: np.ndarray, time: np.ndarray, item: np.ndarray, min_steps: int, min_item_events: int
) -> np.ndarray:
    """Events (E,) left when users with fewer than `min_steps` time steps and items with fewer than
    `min_item_events` events are removed, again and again (k-core). The columns (E,) are codes."""
    # the number of each event's time step (E,), and the user of each step (S,)
    order = np.lexsort((time, user))
    starts = run_starts(user[order], time[order])
    step = np.empty(len(order), dtype=np.int64)
    step[order] = np.cumsum(starts) - 1
    user_of_step = user[order][starts]
    num_users, num_items = int(user.max(initial=-1)) + 1, int(item.max(initial=-1)) + 1
    keep = np.ones(len(user), dtype=bool)
    while True:
        # a step lives while one of its events does; a user has as many steps as live
        alive = np.bincount(step[keep], minlength=len(user_of_step)) > 0
        num_steps = np.bincount(user_of_step[alive], minlength=num_users)
        num_events = np.bincount(item[keep], minlength=num_items)
        stays = keep & (num_steps[user] >= min_steps) & (num_events[item] >= min_item_events)
        if stays.sum() == keep.sum():
            return stays
        keep = stays


def largest_core(user: np.ndarray, time: np.ndarray, item: np.ndarray, min_steps: int) -> int:
    """The largest `min_item_events` that leaves an event; 0: even without a bound none is left."""
    bounds = range(1, int(np.bincount(item).max(initial=0)) + 1)
    # a higher bound never keeps more
    return bisect.bisect_left(
        bounds, True, key=lambda k: not core_mask(user, time, item, min_steps, k).any()
    )
