"""Cross-entropy over a table too large to hold all its scores: a few rows at a time.

In: hidden states, a table with a row per class. Out: the loss with its gradient. This file does not
know what the classes are.
"""

import torch

CHUNK = 256  # rows of scores held at once


class _FullSoftmax(torch.autograd.Function):
    """A softmax's gradient is known as soon as its scores are: they are made, used and forgotten a
    few rows at a time, and stay in a CPU's cache."""

    @staticmethod
    def forward(ctx, hidden, table, targets, weight, work_in):
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
            each = of_target.clamp_min(torch.finfo(chance.dtype).tiny).log()
            # 3. d loss / d scores is the chance, less 1 at the target; written over the scores
            chance.scatter_(1, target, of_target - 1)
            scores.copy_(chance)
            # 4. the chain rule through scores = rows @ w.T, to both factors; a row's weight is
            #    applied to what is as long as a row, not to its scores
            grad = (scores @ w).to(hidden.dtype)  # (C, d)
            if weight is not None:
                share = weight[low : low + CHUNK, None]
                each, grad, rows = each * share, grad * share, rows * share.to(work_in)
            loss -= each.sum()
            grad_h.append(grad)
            grad_w += scores.T @ rows  # (N, d)
        ctx.save_for_backward(torch.cat(grad_h), grad_w)
        return loss

    @staticmethod
    def backward(ctx, grad):
        grad_h, grad_w = ctx.saved_tensors
        return grad_h * grad, grad_w * grad, None, None, None


def weighted_cross_entropy(
    hidden: torch.Tensor,
    table: torch.Tensor,
    targets: torch.Tensor,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum over P rows of ``-weight log softmax(hidden @ table.T)[target]``, weight 1 where there is
    none.

    hidden (P, d), table (N, d), targets (P,) in [0, N), weight (P,). Products run in bf16 under CPU
    autocast, else in the table's own format; the softmax itself is always float32.
    """
    device = hidden.device.type
    work_in = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else table.dtype
    if not len(hidden):
        return hidden.sum() + 0.0 * table.sum()
    with torch.autocast(device, enabled=False):  # the formats are chosen above, one by one
        return _FullSoftmax.apply(hidden, table, targets, weight, work_in)


def chunked_cross_entropy(
    hidden: torch.Tensor, table: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Mean of ``-log softmax(hidden @ table.T)[target]`` over P rows, as torch's cross_entropy; see
    `weighted_cross_entropy`."""
    return weighted_cross_entropy(hidden, table, targets) / len(hidden)
