"""What a bench reports: the form, further ratios by name, and how often each side is called."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import benchmarks as bench
from benchmarks import products
from benchmarks.contest import Contest, measure
from benchmarks.identifiers import _many
from benchmarks.inputs import generated_embeddings
from benchmarks.plain_codes import (
    PlainRQVAE,
    plain_epoch,
    plain_sinkhorn,
    spread_by_groups,
    unique_by_dictionary,
)
from benchmarks.products import gflop_of
from gensar_lite.config import IdentifiersConfig
from gensar_lite.decoding.steps import linear
from gensar_lite.identifiers import collision_rate
from gensar_lite.identifiers.balanced import sinkhorn_codes
from gensar_lite.identifiers.rqvae import DualRQVAE, initialise

FIGURES = [
    "ratio",
    "ours",
    "baseline",
    "unit",
    "equal",
    "peak_mib_ours",
    "peak_mib_baseline",
    "settings",
]


def contest(calls: list[str], **more) -> Contest:
    def side(name: str, answer: int):
        return lambda: calls.append(name) or answer

    return Contest(
        side("ours", 1), side("plain", 2), lambda a, b: a / b, 8, "items", {"size": 8}, **more
    )


def test_sides_are_interleaved_after_one_unmeasured_round():
    calls: list[str] = []
    found = measure("x", contest(calls), 2)
    assert list(found) == ["name", *FIGURES, "machine"]
    assert calls == ["ours", "plain"] * 3
    assert found["equal"] == 0.5
    assert found["settings"] == {"size": 8, "rounds": 2}
    assert found["ratio"] == pytest.approx(
        found["ours"] / found["baseline"], abs=0.006
    )  # rounded to two places


def test_further_contests_and_calls_are_reported_by_name():
    inner: list[str] = []
    found = measure(
        "x",
        contest([], more={"long": contest(inner, once=True), "fact": lambda: {"seconds": 3}}),
        5,
    )
    assert list(found) == ["name", *FIGURES, "machine", "ratio_long", "long", "fact"]
    assert inner == ["ours", "plain"]  # once
    assert list(found["long"]) == FIGURES
    assert found["ratio_long"] == found["long"]["ratio"]
    assert found["long"]["settings"]["rounds"] == 1
    assert found["fact"] == {"seconds": 3}


def test_a_bench_is_one_json_object_or_a_table(monkeypatch):
    monkeypatch.setitem(bench.BENCHES, "x", lambda: contest([], more={"other": contest([])}))
    assert list(json.loads(bench.run_bench("x", rounds=1, as_json=True)))[-2:] == [
        "ratio_other",
        "other",
    ]
    assert any(
        line.startswith("ratio_other") for line in bench.run_bench("x", rounds=1).splitlines()
    )


@pytest.mark.slow
def test_both_roads_of_the_training_bench_read_and_write_the_same_ids():
    """The recipe's strings, tokenised one by one, are the loop's integers: for all variants."""
    from benchmarks.training import PAPER_MIX, bench_training

    contest = bench_training(num_examples=40, backbone="t5-micro", batch_size=8, num_items=250)
    assert set(contest.settings["examples"]) == set(PAPER_MIX)
    assert contest.equal(0, 0) == contest.more["clean"].equal(0, 0) == 1.0
    assert (
        contest.ours() > contest.baseline() == -(-contest.amount // 8)
    )  # one task a batch: more, shorter batches


# ---------------------------------------------------------------------- identifiers, the plain ways


def colliding(num_items: int = 200, size: int = 32):
    """Items, about eight in each of 25 prefixes, with random residuals and a codebook."""
    rng = np.random.default_rng(0)
    residual, book = rng.normal(size=(num_items, 4)), rng.normal(size=(size, 4))
    far = ((residual[:, None] - book) ** 2).sum(axis=2)
    prefix = rng.integers(5, size=(num_items, 2))
    return np.concatenate([prefix, far.argmin(axis=1)[:, None]], axis=1), residual, book


def test_the_papers_repair_by_groups_resolves_most_and_keeps_prefixes():
    codes, residual, book = colliding()
    assert collision_rate(codes) > 0.1
    found = spread_by_groups(codes, residual, book)
    np.testing.assert_array_equal(found[:, :-1], codes[:, :-1])
    assert collision_rate(found) < 0.5 * collision_rate(codes)
    far = ((residual[:40, None] - book) ** 2).sum(axis=2)
    np.testing.assert_array_equal(
        plain_sinkhorn(torch.from_numpy(far), 0.05).numpy(), sinkhorn_codes(far, 0.05)
    )


def test_the_dictionary_gives_unique_identifiers_and_keeps_the_first():
    codes, residual, book = colliding()
    found = unique_by_dictionary(codes, residual, book)
    assert collision_rate(found) == 0
    np.testing.assert_array_equal(found[:, :-1], codes[:, :-1])
    first = np.unique(codes, axis=0, return_index=True)[1]
    np.testing.assert_array_equal(found[first[0]], codes[first[0]])


def test_both_epochs_start_from_the_same_loss_and_learn():
    settings = IdentifiersConfig(
        latent_dim=4,
        hidden=(16,),
        codebook_size=8,
        num_levels=3,
        num_shared=1,
        uniqueness="sinkhorn",
    )
    views = tuple(torch.randn(64, d, generator=torch.Generator().manual_seed(d)) for d in (10, 6))
    losses = []
    for kind in (DualRQVAE, PlainRQVAE):
        torch.manual_seed(0)
        model = kind((10, 6), settings)
        initialise(model, views, settings)
        losses.append(float(model.train()(*views)[0].detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-2)
    assert [plain_epoch(model, views, adam, 16) for _ in range(5)][-1] < losses[1]


def test_many_items_get_unique_identifiers_both_ways():
    found = _many(3000, 0)
    assert found["collisions_left"] == 0
    assert 0.5 < found["equal"] <= 1
    assert {"seconds", "seconds_baseline", "peak_mib", "peak_mib_baseline"} < set(found)


def test_generated_items_have_twins():
    e = generated_embeddings(500, (8, 6), 0)
    assert len(np.unique(e.semantic, axis=0)) < 500
    assert (e.semantic.shape, e.collaborative.shape) == ((500, 8), (500, 6))


def test_gflop_are_those_of_matrix_products_by_hand():
    x, weight = torch.ones(3, 4), torch.ones(4, 5, requires_grad=True)

    def forward_and_backward():
        (x @ weight).sum().backward()

    # 2 x 3 x 4 x 5 forward; backward the weight's gradient alone, as large again
    assert gflop_of(forward_and_backward) == pytest.approx(2 * 120e-9)
    with torch.inference_mode():
        batches = torch.ones(7, 3, 4), torch.ones(7, 4, 5)
        assert gflop_of(lambda: torch.bmm(*batches)) == pytest.approx(7 * 120e-9)
        large = torch.ones(2048, 96), torch.ones(128, 96)  # by oneDNN, where it is there
        assert gflop_of(lambda: linear(*large)) == pytest.approx(2e-9 * 2048 * 96 * 128)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_efficiency_is_the_share_of_the_seconds_that_products_need(precision, monkeypatch):
    monkeypatch.setattr(products, "product_speed", {"fp32": 50.0, "bf16": 200.0}.get)
    monkeypatch.setattr(products, "gflop_of", lambda call: call())
    need = {"fp32": 2.0, "bf16": 0.5}[precision]  # seconds for 100 GFLOP
    told = products.efficiency(lambda: 100.0, 4.0, precision)
    assert told == {"gflop": 100.0, "efficiency": need / 4}


def test_a_contest_that_names_its_format_tells_its_efficiency():
    told = measure("x", contest([], products="fp32"), 1)
    assert list(told)[1:4] == ["ratio", "gflop", "efficiency"]
    assert told["gflop"] == 0.0  # its calls multiply nothing
