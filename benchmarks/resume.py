"""Stress of exact resume: a small training, killed at random instants, ends as if it had not been.

In: how many kills. Out: a plain dictionary: kills, how many runs ended bit by bit equal, which did
not.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks.contest import machine
from benchmarks.crashes import Make, result, run_once, ticks
from benchmarks.inputs import random_identifiers, shop_corpus
from gensar_lite.config import Config, ConfigError, IdentifiersConfig, override, preset
from gensar_lite.decoding import ranking_judge
from gensar_lite.training import Generator, new_generator
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.sequences.mixture import TaskMixture
from gensar_lite.training.stage import new_mixture


def stress_resume(kills: int = 200, seed: int = 0) -> dict[str, object]:
    """Kill a small training `kills` times, at a random moment or tick (see `crashes`).

    A third of the runs is killed again after it went on. Each is started again until it finishes,
    and compared with the run that nobody disturbed: last and best weights, optimiser, losses and
    curve. Raises `ConfigError` where it cannot fork.
    """
    if not hasattr(os, "fork"):
        raise ConfigError(
            "bench: resume needs a system that can fork processes, such as Linux or macOS."
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork keeps no other thread
    root = Path(tempfile.mkdtemp(prefix="gensar-resume-"))
    try:
        return _stress(small_training(seed), root, kills, seed)
    finally:
        torch.set_num_threads(threads)
        shutil.rmtree(root, ignore_errors=True)


def _stress(make: Make, root: Path, kills: int, seed: int) -> dict[str, object]:
    started = time.perf_counter()
    # the run that nobody disturbs: its end is what all others must reach
    run_once(make, root / "whole")
    took = time.perf_counter() - started
    wanted = result(root / "whole")
    # every instant at which a run can be killed, by name
    instants = ticks(root / "whole")
    rng = np.random.default_rng(seed)
    done = 0
    runs = 0
    unlike = []
    phases = Counter()
    while done < kills:
        folder = root / f"run-{runs}"
        killed_at: list[str] = []
        # one run: killed once, and after each restart again with probability 1/3
        while done < kills and (not killed_at or rng.random() < 1 / 3):
            if rng.random() < 0.5:
                kill = {"delay": float(rng.uniform(0, took))}
                phase = "a moment"
                killed_at.append(f"after {kill['delay']:.3f} s")
            else:
                kill = {"tick": int(rng.integers(len(instants)))}
                phase = instants[kill["tick"]]
                killed_at.append(phase)
            if run_once(make, folder, **kill):  # it was quicker: that was no kill
                break
            done += 1
            phases[phase] += 1
        run_once(make, folder)
        runs += 1
        # bit by bit: digests of weights and optimiser, losses as numbers
        if result(folder) != wanted:
            unlike.append(killed_at)
        shutil.rmtree(folder)
    steps = wanted["curve"][-1]["step"]
    return {
        "name": "resume",
        "kills": done,
        "runs": runs,
        "equal": runs - len(unlike),
        "mismatches": unlike,
        "phases": dict(sorted(phases.items())),
        "seconds": round(time.perf_counter() - started, 1),
        "settings": {"seed": seed, "steps": steps, "seconds_a_run": round(took, 2)},
        "machine": machine(),
    }


def small_settings(**training) -> Config:
    """Settings of a training of a fraction of a second that saves after every step."""
    changes = {
        "num_text_tokens": 400,
        "batch_size": 16,
        "epochs": 2,
        "dropout": 0.1,
        "eval_sample": 12,
        "eval_beams": 20,
        "checkpoint_minutes": 0.0,  # after every step
        "patience": 9,
        "max_minutes": 1e9,
        "prompts": False,
    } | training
    return override(preset("tiny"), {f"training.{name}": value for name, value in changes.items()})


def starting_point(config: Config, seed: int = 0) -> tuple[Generator, TaskMixture]:
    """A corpus, identifiers and a narrow T5 of one layer, all random; the order of its examples."""
    corpus = shop_corpus(num_items=72, num_users=12, num_events=100, seed=seed)
    code_settings = IdentifiersConfig(codebook_size=16, num_levels=3, num_shared=1)
    identifiers = random_identifiers(72, code_settings, seed)
    generator = new_generator(corpus, identifiers, config.training)
    # the same weights in every process that starts
    torch.manual_seed(seed)
    narrow = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_heads": 2}
    narrow |= {"num_layers": 1, "num_decoder_layers": 1}
    model = T5ForConditionalGeneration(T5Config(**generator.model.config.to_dict() | narrow))
    return generator._replace(model=model), new_mixture(generator, config.training)


def small_training(seed: int = 0, **training) -> Make:
    """A maker of trainers that all begin at one starting point, judged by real beams."""
    config = small_settings(**training)
    generator, mixture = starting_point(config, seed)
    make_judge = ranking_judge(config)

    def make(folder: Path) -> Trainer:
        judge = make_judge(generator)
        return Trainer(generator.model, generator.builder, mixture, config.training, judge, folder)

    return make
