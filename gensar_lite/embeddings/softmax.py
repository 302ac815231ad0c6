"""Cross-entropy over a whole catalogue, without ever holding all its scores.

In: hidden states (P, d), an item table (N, d), targets (P,). Out: the mean loss, differentiable. The gradient of a
softmax is known as soon as its scores are, so scores are made, used and forgotten a few hundred rows at a time: on a
CPU they stay in its cache. This file does not know what the hidden states stand for.
"""

from __future__ import annotations

import torch

CHUNK = 256  # rows of scores held at once


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, table, targets, work_in):
        h, w = hidden.detach().to(work_in), table.detach().to(work_in)  # (P, d), (N, d)
        loss, grad_h, grad_w = (
            hidden.new_zeros((), dtype=torch.float32),
            [],
            torch.zeros_like(table),
        )
        # three tables made once: fresh memory for every chunk would cost as much as the arithmetic
        sizes = (min(CHUNK, len(h)), len(w))
        scores, wide = h.new_empty(sizes), h.new_empty(sizes, dtype=torch.float32)
        chance = torch.empty_like(wide)
        for low in range(0, len(h), CHUNK):
            rows, own = h[low : low + CHUNK], targets[low : low + CHUNK, None]
            s, x, p = (table[: len(rows)] for table in (scores, wide, chance))  # (CHUNK, N) each
            torch.mm(rows, w.T, out=s)
            torch.softmax(x.copy_(s), dim=1, out=p)
            picked = p.gather(1, own)
            loss -= picked.clamp_min(torch.finfo(p.dtype).tiny).log().sum()
            p.scatter_(1, own, picked - 1)  # gradient of the summed loss with respect to the scores
            s.copy_(p)
            grad_h.append((s @ w).to(hidden.dtype))
            grad_w += s.T @ rows
        ctx.save_for_backward(torch.cat(grad_h), grad_w)
        return loss / len(h)

    @staticmethod
    def backward(ctx, grad):
        grad_h, grad_w = ctx.saved_tensors
        scale = grad / len(grad_h)
        return grad_h * scale, grad_w * scale, None, None


def chunked_cross_entropy(
    hidden: torch.Tensor, table: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Mean of ``-log softmax(hidden @ table.T)[target]`` over P rows; equals `torch.nn.functional.cross_entropy`.

    hidden (P, d), table (N, d), targets (P,) in [0, N). Products run in bf16 under CPU autocast, else in the table's
    own format; the softmax itself is always float32.
    """
    device = hidden.device.type
    work_in = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else table.dtype
    with torch.autocast(device, enabled=False):
        return _FullSoftmax.apply(hidden, table, targets, work_in)
