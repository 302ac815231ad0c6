"""Cross-entropy over a whole catalogue, without ever holding all its scores.

In: hidden states (P, d), an item table (N, d), targets (P,). Out: the mean loss, differentiable.
A softmax's gradient is known as soon as its scores are, so scores are made, used and forgotten a
few hundred rows at a time: on a CPU they stay in its cache.
"""

from __future__ import annotations

import torch

CHUNK = 256  # rows of scores held at once


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, table, targets, work_in):
        h = hidden.detach().to(work_in)  # (P, d)
        w = table.detach().to(work_in)  # (N, d)
        loss = hidden.new_zeros((), dtype=torch.float32)
        grad_h = []
        grad_w = torch.zeros_like(table)
        # three tables made once: fresh memory for each chunk would cost as much as the arithmetic
        shape = (min(CHUNK, len(h)), len(w))
        all_scores = h.new_empty(shape)
        all_wide = h.new_empty(shape, dtype=torch.float32)
        all_chances = torch.empty_like(all_wide)
        for low in range(0, len(h), CHUNK):
            rows = h[low : low + CHUNK]  # (C, d)
            target = targets[low : low + CHUNK, None]  # (C, 1)
            scores, wide, chance = (x[: len(rows)] for x in (all_scores, all_wide, all_chances))
            # 1. scores (C, N) in the working format, their softmax in float32
            torch.mm(rows, w.T, out=scores)
            torch.softmax(wide.copy_(scores), dim=1, out=chance)
            # 2. the loss: minus the logarithm of the target's chance, never of exactly 0
            of_target = chance.gather(1, target)  # (C, 1)
            loss -= of_target.clamp_min(torch.finfo(chance.dtype).tiny).log().sum()
            # 3. d loss / d scores is the chance, less 1 at the target; written over the scores
            chance.scatter_(1, target, of_target - 1)
            scores.copy_(chance)
            # 4. the chain rule through scores = rows @ w.T, to both factors
            grad_h.append((scores @ w).to(hidden.dtype))  # (C, d)
            grad_w += scores.T @ rows  # (N, d)
        ctx.save_for_backward(torch.cat(grad_h), grad_w)
        return loss / len(h)

    @staticmethod
    def backward(ctx, grad):
        grad_h, grad_w = ctx.saved_tensors
        scale = grad / len(grad_h)  # the gradients are of the sum, the loss is a mean
        return grad_h * scale, grad_w * scale, None, None


def chunked_cross_entropy(
    hidden: torch.Tensor, table: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Mean of ``-log softmax(hidden @ table.T)[target]`` over P rows, as torch's cross_entropy.

    hidden (P, d), table (N, d), targets (P,) in [0, N). Products run in bf16 under CPU autocast,
    else in the table's own format; the softmax itself is always float32.
    """
    device = hidden.device.type
    work_in = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else table.dtype
    with torch.autocast(device, enabled=False):  # the formats are chosen above, one by one
        return _FullSoftmax.apply(hidden, table, targets, work_in)
