"""The sizes of our own: names of backbones that start from random weights.

Plain data and one question about a name. This file does not know how a model is built.
"""

from __future__ import annotations

# width, feed-forward width, width of a head, heads, layers of encoder and of decoder
T5_SIZES = {
    "t5-micro": {
        "d_model": 96,
        "d_ff": 192,
        "d_kv": 24,
        "num_heads": 4,
        "num_layers": 2,
        "num_decoder_layers": 2,
    },
    "t5-mini": {
        "d_model": 128,
        "d_ff": 512,
        "d_kv": 32,
        "num_heads": 4,
        "num_layers": 3,
        "num_decoder_layers": 3,
    },
    "t5-small": {
        "d_model": 512,
        "d_ff": 2048,
        "d_kv": 64,
        "num_heads": 8,
        "num_layers": 6,
        "num_decoder_layers": 6,
    },
}
# width, feed-forward width, heads, layers
GPT_SIZES = {
    "gpt-micro": {
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
    },
    "gpt-mini": {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
    },
    "gpt-small": {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "num_hidden_layers": 6,
    },
}
SIZES = T5_SIZES | GPT_SIZES


def from_scratch(backbone: str) -> bool:
    """Whether a backbone's name is one of our sizes, initialised at random."""
    return backbone in SIZES
