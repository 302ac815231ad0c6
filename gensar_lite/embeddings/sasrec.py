"""SASRec (Kang and McAuley, 2018): a causal transformer over a user's items.

In: (B, T) item ids, -1 for padding on the right. Out: hidden states, scores over the catalogue.
This file does not know users, splits or files.
"""

import torch
from torch import nn

from gensar_lite.config import EmbeddingsConfig
from gensar_lite.machine.dropout import ByteDropout


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
