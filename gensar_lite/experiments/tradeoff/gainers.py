"""Who gains and who loses by a joint model, and where sampled candidates tell another story.

In: a `Study`. Out: rows for json: changes against a specialist by what is known of a user or an
item, and pairs of systems whose order the sampled protocol turns round. This file knows no item.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from gensar_lite.evaluation.protocols import FULL
from gensar_lite.evaluation.significance import crossed_difference, crossed_interval
from gensar_lite.experiments.tradeoff.lookup import is_sure
from gensar_lite.experiments.tradeoff.results import SAMPLED, Study, values
from gensar_lite.experiments.tradeoff.tables import Draws

METRIC = "ndcg@10"
CAUSES = ("overlap", "gap", "history", "item_events")  # columns of the targets
NUM_BINS = 4


def gain_rows(study: Study, system: str, others: dict[str, str], draws: Draws) -> list[dict]:
    """The change of `system` against the specialist of each task inside quarters of each of
    `CAUSES`, and Spearman's correlation over users."""
    rows = []
    for task, other in others.items():
        change = _change(study, system, other, task)  # (n,)
        targets = study.targets[task]
        users = targets["user_id"].to_numpy()
        for cause in CAUSES:
            x = targets[cause].to_numpy()
            names = {"task": task, "cause": cause, "system": system, "other": other}
            per_user = pd.DataFrame({"x": x, "y": change}).groupby(users).mean()
            constant = per_user["x"].nunique() < 2 or per_user["y"].nunique() < 2
            rho, p = (
                (None, None) if constant else map(float, spearmanr(per_user["x"], per_user["y"]))
            )
            edges = np.unique(np.quantile(x, np.linspace(0, 1, NUM_BINS + 1)))
            place = np.searchsorted(edges[1:-1], x, side="right")
            for part in np.unique(place):
                mine = place == part
                # `crossed_interval` is of shares; changes lie in [-1, 1], and none is empty
                ends = crossed_interval(change[None, mine], users[mine], *draws)
                span = {"from": float(x[mine].min()), "to": float(x[mine].max())}
                counts = {"num_queries": int(mine.sum()), "rho": rho, "p": p}
                rows.append(names | span | ends._asdict() | counts)
    return rows


def user_shares(study: Study, system: str, others: dict[str, str]) -> dict[str, float]:
    """Of the users who are asked both tasks: the share that gains, loses or stays in each."""
    signs = []
    for task in ("search", "recommend"):
        change = _change(study, system, others[task], task)
        per_user = pd.Series(change).groupby(study.targets[task]["user_id"].to_numpy()).mean()
        signs.append(np.sign(per_user.where(per_user.abs() > 1e-9, 0.0)))
    both = pd.concat(signs, axis=1, keys=("search", "recommend")).dropna()
    words = {1.0: "gains", 0.0: "same", -1.0: "loses"}
    counts = both.value_counts(normalize=True)
    shares = {"num_users": float(len(both))}
    for (search, recommend), share in counts.sort_index().items():
        shares[f"search {words[search]}, recommendation {words[recommend]}"] = float(share)
    return shares


def _change(study: Study, system: str, other: str, task: str) -> np.ndarray:
    """(n,) mean over seeds of `system` less that of `other`, per target."""
    ours, theirs = (values(study.outcomes[name, task], METRIC) for name in (system, other))
    return ours.mean(axis=0) - theirs.mean(axis=0)


def flip_rows(study: Study, draws: Draws) -> list[dict]:
    """Pairs of systems that the sampled protocol puts in the other order, `sure` where the interval
    of the difference excludes 0 under both protocols. The oracle knows the answers: left out."""
    rows = []
    for task, protocol in SAMPLED.items():
        users = study.targets[task]["user_id"].to_numpy()
        systems = [name for name in study.systems(task) if name != "oracle"]
        means = {
            name: [values(study.outcomes[name, task], METRIC, p).mean() for p in (FULL, protocol)]
            for name in systems
        }
        for first, second in combinations(systems, 2):
            full, sampled = (means[first][i] - means[second][i] for i in range(2))
            if full * sampled >= 0:
                continue
            row = {"task": task, "first": first, "second": second, "protocol": protocol}
            sure = True
            for name, way in (("full", FULL), ("sampled", protocol)):
                pair = (study.outcomes[first, task], study.outcomes[second, task])
                asked = pair[0].sampled[0] >= 0 if way != FULL else slice(None)
                tables = (values(outcome, METRIC, way) for outcome in pair)
                ends = crossed_difference(*tables, users[asked], *draws)
                row[name] = ends._asdict()
                sure &= is_sure(row[name])
            rows.append(row | {"sure": sure})
    return sorted(rows, key=lambda row: (not row["sure"], -abs(row["sampled"]["value"])))
