"""Kill a small training at every kind of instant, on as many processes as the command line says;
print what became.

Run by test_resume.py in a process of its own: forks need a parent that has never computed with
several threads.
"""

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

from benchmarks.crashes import end_with_parent, result, run_once, run_together, ticks
from benchmarks.resume import small_settings, small_training, starting_point
from gensar_lite.config import DecodingConfig
from gensar_lite.decoding import Decoder, rank_events
from gensar_lite.machine.processes import rank_and_world

# with two processes each point costs three starts: a handful, and one where the process that writes
# nothing dies
FEW = ("after step", "within write", "before rename", "after rename", "before validation")


def chosen(tick_names: list[str], world: int) -> list[tuple[str, int, int]]:
    """Triples (kind, tick, victim): of each kind of tick the first, the middle and the last one."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(tick_names):
        places.setdefault(name, []).append(place)
    if world > 1:
        # the other process writes nothing: its third tick is the one before its second step
        return [(name, places[name][len(places[name]) // 2], 0) for name in FEW] + [
            ("before step", 2, 1)
        ]
    return sorted(
        {
            (name, ticks_of_kind[i], 0)
            for name, ticks_of_kind in places.items()
            for i in (0, len(ticks_of_kind) // 2, -1)
        }
    )


def rankings(folder: Path, world: int) -> list[pd.DataFrame]:
    """Every validation target ranked by an untrained model, as each process tells it."""
    config, (generator, _) = small_settings(), starting_point(small_settings())
    targets = generator.corpus.targets("validation")
    settings = DecodingConfig(num_beams=20, top_k=10, batch_size=4)

    def job(rank: int) -> None:
        decoder = Decoder.of(generator._replace(model=generator.model.eval()), config.training)
        run = rank_events(decoder, targets, settings, False, *rank_and_world())
        run.to_parquet(folder / f"{rank}.parquet")

    run_together(job, folder, world)
    return [pd.read_parquet(folder / f"{rank}.parquet") for rank in range(world)]


def main(world: int) -> dict:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root, make = Path(temporary), small_training()
        assert run_once(make, root / "whole", world)
        wanted, tick_names, unlike = result(root / "whole"), ticks(root / "whole"), []
        points = chosen(tick_names, world)
        for kind, tick, victim in points:
            folder = root / f"at-{tick}-{victim}"
            assert not run_once(make, folder, world, tick=tick, victim=victim)
            assert run_once(make, folder, world)
            if result(folder) != wanted:
                unlike.append(kind)
        outcome = {
            "points": len(points),
            "kinds": sorted({kind for kind, _, _ in points}),
            "unlike": unlike,
        }
        outcome["curve"] = wanted["curve"]
        if world > 1:
            alone = small_training(accumulate=world)
            assert run_once(alone, root / "alone")
            outcome["alone"] = result(root / "alone")["curve"]
            one, *several = rankings(root / "one", 1) + rankings(root / "several", world)
            outcome["rankings"] = [one.equals(other) and len(one) > 0 for other in several]
        return outcome


if __name__ == "__main__":
    end_with_parent()
    print(json.dumps(main(int(sys.argv[1]))))
