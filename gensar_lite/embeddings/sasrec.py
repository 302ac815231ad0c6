"""SASRec (Kang and McAuley, 2018): a causal transformer over a user's items.

In: (B, T) item ids, -1 for padding on the right. Out: hidden states, scores over the catalogue, and
a loss that never holds all scores at once. This file does not know users, splits or files.
"""

import torch
from torch import nn

from gensar_lite.config import EmbeddingsConfig
from gensar_lite.machine.dropout import ByteDropout

CHUNK = 256  # rows of scores held at once


class Block(nn.Module):
    """Pre-norm causal self-attention and a feed-forward layer, (B, T, d) -> (B, T, d)."""

    def __init__(self, dim: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention = nn.LayerNorm(dim)
        self.norm_feed = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), ByteDropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.drop = ByteDropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, dim = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, length, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, T, d / heads) each
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5  # (B, heads, T, T)
        weights = scores.masked_fill(later, float("-inf")).softmax(-1)
        # written out: the fused kernel is slower on a CPU as soon as it drops
        mixed = self.drop(weights) @ v
        x = x + self.drop(self.out(mixed.transpose(1, 2).reshape(batch, length, dim)))
        return x + self.drop(self.feed(self.norm_feed(x)))


class SASRec(nn.Module):
    """Item table (N, d) shared by input and output, learned positions, causal blocks.

    Padding has a row, too, but under a causal mask no real position ever looks at it.
    """

    def __init__(self, num_items: int, settings: EmbeddingsConfig):
        super().__init__()
        dim = settings.dim
        self.num_items = num_items
        self.max_length = settings.max_length
        self.items = nn.Embedding(num_items + 1, dim)
        self.positions = nn.Embedding(settings.max_length, dim)
        self.blocks = nn.ModuleList(
            Block(dim, settings.num_heads, settings.dropout) for _ in range(settings.num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.drop = ByteDropout(settings.dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, T, d) for item ids (B, T), -1 for padding."""
        items = items.where(items >= 0, self.num_items)
        x = self.drop(self.items(items) + self.positions.weight[: items.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores (..., N) of every item after hidden states (..., d)."""
        return hidden @ self.items.weight[: self.num_items].T

    @property
    def item_vectors(self) -> torch.Tensor:
        """The collaborative view: (N, d)."""
        return self.items.weight[: self.num_items].detach()


class _FullSoftmax(torch.autograd.Function):
    """A softmax's gradient is known as soon as its scores are: they are made, used and forgotten a
    few rows at a time, and stay in a CPU's cache."""

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
