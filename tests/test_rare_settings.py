"""Settings that neither a preset nor another room's test turns: what each of them changes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import small_corpus

from gensar_lite.config import EmbeddingsConfig, override, preset
from gensar_lite.embeddings.collaborative import train_sasrec
from gensar_lite.embeddings.joint import contrastive


def test_sasrec_computes_in_the_number_format_it_is_given():
    small = {"dim": 8, "num_layers": 1, "num_heads": 1, "max_epochs": 1, "min_steps": 0}
    losses = {}
    for precision in ("fp32", "bf16"):
        settings = EmbeddingsConfig(**small, precision=precision)
        losses[precision] = train_sasrec(small_corpus(), settings)[1][0]["loss"]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


def test_a_high_temperature_makes_all_items_alike():
    """``embeddings.joint_temperature``: the loss tends to the log of the number of rivals."""
    import torch

    assert preset("tour").embeddings.joint_temperature == 0.15
    anchors = torch.nn.functional.normalize(torch.eye(6), dim=1)
    goal = torch.arange(6)
    shares = torch.zeros(6)
    losses = {t: float(contrastive(anchors, anchors, goal, shares, t)) for t in (0.01, 1.0, 1e6)}
    assert losses[0.01] < losses[1.0] < losses[1e6]
    assert losses[1e6] == pytest.approx(np.log(6), rel=1e-3)


def test_the_decoded_split_holds_the_targets():
    from gensar_lite.evaluation.stage import split_targets

    corpus = small_corpus()
    for split in ("test", "validation"):
        config = override(preset("tiny"), {"decoding.split": split})
        targets = split_targets(corpus, config)
        assert targets
        for task, rows in targets.items():
            events = corpus.events.set_index("event_id").loc[rows["event_id"]]
            assert set(events["split"]) == {split}
            assert set(events["task"]) == {task}
