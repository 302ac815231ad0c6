"""The cross-entropy that never holds all its scores, against torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gensar_lite.machine.softmax import CHUNK, chunked_cross_entropy, weighted_cross_entropy


def factors(rows: int, classes: int = 31, width: int = 6) -> list[torch.Tensor]:
    """Hidden states, a table, targets, weights (some of them 0)."""
    torch.manual_seed(rows)
    hidden, table = torch.randn(rows, width), torch.randn(classes, width)
    weight = torch.tensor([0.0, 0.5, 1.0, 3.0])[torch.randint(4, (rows,))]
    return [hidden, table, torch.randint(classes, (rows,)), weight]


@pytest.mark.parametrize("is_weighted", [True, False])
@pytest.mark.parametrize("rows", [1, CHUNK, 2 * CHUNK + 7])
def test_loss_and_gradients_are_those_of_torch(rows, is_weighted):
    hidden, table, target, weight = factors(rows)
    results = []
    for is_ours in (True, False):
        h, w = hidden.clone().requires_grad_(), table.clone().requires_grad_()
        if is_ours:
            loss = weighted_cross_entropy(h, w, target, weight if is_weighted else None)
        else:
            each = F.cross_entropy(h @ w.T, target, reduction="none")
            loss = (each * weight if is_weighted else each).sum()
        (3 * loss).backward()  # what comes from above is passed on
        results.append((loss.detach(), h.grad, w.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    if not is_weighted:
        mean = chunked_cross_entropy(hidden, table, target)
        torch.testing.assert_close(mean, F.cross_entropy(hidden @ table.T, target))


def test_in_bf16_it_is_close_and_the_loss_stays_float32():
    hidden, table, target, weight = factors(300)
    wanted = (F.cross_entropy(hidden @ table.T, target, reduction="none") * weight).sum()
    h, w = hidden.clone().requires_grad_(), table.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = weighted_cross_entropy(h, w, target, weight)
    loss.backward()
    assert (loss.dtype, h.grad.dtype, w.grad.dtype) == (torch.float32,) * 3
    assert loss.item() == pytest.approx(wanted.item(), rel=0.01)
    assert loss.item() != wanted.item()  # it was bf16
    h2, w2 = hidden.clone().requires_grad_(), table.clone().requires_grad_()
    weighted_cross_entropy(h2, w2, target, weight).backward()
    for one, other in ((h.grad, h2.grad), (w.grad, w2.grad)):
        assert (one - other).norm() < 0.02 * other.norm()


def test_no_rows_are_no_loss_and_no_gradient():
    h, w = torch.zeros(0, 6, requires_grad=True), torch.ones(5, 6, requires_grad=True)
    none = torch.zeros(0, dtype=torch.long)
    loss = weighted_cross_entropy(h, w, none, torch.zeros(0))
    loss.backward()
    assert (loss.item(), h.grad.shape, w.grad.abs().sum().item()) == (0, (0, 6), 0)


def test_a_chance_of_zero_has_a_finite_loss_and_the_whole_gradient():
    h, w = torch.tensor([[300.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]])
    loss = weighted_cross_entropy(h, w, torch.tensor([1]))
    loss.backward()
    assert loss.isfinite()
    assert loss > 80
    assert h.grad.item() == 2.0  # 1 * w[0] - 1 * w[1]
