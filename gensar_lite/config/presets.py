"""The presets: what each named set of settings changes against the defaults in sections.py.

Plain data, no code: ``{preset: {"stage.name": value}}``.
"""

from __future__ import annotations

_SIX = ("nrip", "nsip", "nsqp", "desc2id", "id2desc", "adhoc")

_BEAUTY = {
    "data.source": "beauty",
    "data.query_families": ("category", "attribute", "text"),
    "data.unseen_rate": 0.1,
    # small and long: better on validation than 128 dimensions in two blocks, in a third of the time
    "embeddings.dim": 64,
    "embeddings.num_layers": 1,
    "embeddings.num_heads": 1,
    "embeddings.max_length": 50,
    "embeddings.dropout": 0.5,
    "embeddings.weight_decay": 0.1,
    "embeddings.batch_size": 256,
    "embeddings.max_epochs": 60,
    "embeddings.patience": 10,
    "embeddings.joint": "adapter",
    "identifiers.codebook_size": 256,
    "identifiers.latent_dim": 64,
    "identifiers.num_levels": 3,
    "identifiers.num_shared": 1,
    "identifiers.commitment": 1.0,
    "identifiers.epochs": 15,
    "identifiers.precision": "auto",
    "training.tasks": _SIX,
    "training.task_weights": (1.0, 1.0, 0.05, 0.5, 0.1, 0.5),
    "training.precision": "auto",
    "decoding.exact": True,
}

# a small catalogue: three levels, few codewords; short inputs, since a laptop's seconds count
_SHOP = {
    "embeddings.joint": "adapter",
    "embeddings.lr_end": 1.0,
    "embeddings.min_steps": 0,
    "identifiers.num_levels": 3,
    "identifiers.num_shared": 1,
    "identifiers.latent_dim": 16,
    "training.task_weights": (1.0, 1.5),
    "training.max_recommend": 4,
    "training.max_search": 4,
    "training.history_queries": False,
    "training.small_embeddings": True,
    "training.lr": 2e-3,
    "training.dropout": 0.0,
    "training.eval_sample": 300,
    "training.eval_beams": 30,
}

# for a log that nobody has seen: sizes that follow from it, whatever the preset says; see
# tree.for_own_files
OWN_FILES: dict[str, object] = {
    "data.split": "auto",
    "embeddings.collaborative": "auto",
    "embeddings.max_length": 50,
    "embeddings.min_steps": 1000,
    "identifiers.codebook_size": 0,
    "identifiers.num_levels": 0,
}

PRESETS: dict[str, dict[str, object]] = {
    # seconds, for tests: every stage real, nothing learned to speak of
    "tiny": {
        **_SHOP,
        "data.num_items": 200,
        "data.num_users": 150,
        "data.num_events": 1800,
        "embeddings.dim": 16,
        "embeddings.max_epochs": 2,
        "embeddings.eval_every": 1,
        "identifiers.codebook_size": 16,
        "identifiers.epochs": 20,
        "training.epochs": 1,
        "training.num_text_tokens": 600,
        "training.eval_sample": 40,
        "decoding.num_beams": 20,
        "evaluation.num_bootstrap": 100,
    },
    # the built-in shop, minutes on a laptop: what the notebooks show
    "tour": {
        **_SHOP,
        "identifiers.codebook_size": 32,
        "training.batch_size": 32,
        "training.epochs": 5,
        "decoding.exact": True,  # half as dear again as a beam, see reports/LOG.md
    },
    # real purchases in at most 90 minutes on 2 cores
    "beauty-quick": {
        **_BEAUTY,
        "embeddings.max_minutes": 40.0,
        # decoder-only over whole streams: an epoch costs a third of t5-mini's over examples, see
        # reports/LOG.md
        "training.backbone": "gpt-mini",
        "training.stream": True,
        "training.batch_tokens": 8192,
        "training.batch_size": 512,
        "training.task_weights": (1.0, 1.0, 0.05, 0.25, 0.05, 0.3),
        "training.lr": 2e-3,
        "training.weight_decay": 0.1,
        "training.dropout": 0.15,
        "training.warm_embeddings": True,
        "training.epochs": 20,
        "training.eval_every": 2,
        "training.max_minutes": 120.0,
        "training.eval_sample": 1000,
        "training.eval_beams": 20,
    },
    # real data at full strength, for one GPU: twelve times the weights of beauty-quick; an epoch
    # takes 40 minutes on 2 cores
    "beauty": {
        **_BEAUTY,
        "embeddings.max_minutes": 60.0,
        "training.backbone": "gpt-small",
        "training.stream": True,
        "training.batch_tokens": 8192,
        "training.batch_size": 128,
        "training.max_text_tokens": 128,
        "training.weight_decay": 0.1,
        "training.dropout": 0.3,
        "training.epochs": 40,
        "training.eval_every": 2,
        "training.max_minutes": 1440.0,
        "training.eval_sample": 2000,
        "training.eval_beams": 30,
        "decoding.num_beams": 50,
    },
    # the paper's own recipe: Electronics, RQ-VAE 2 + 2 levels of 256, t5-small, many GPUs
    "paper": {
        "data.source": "electronics",
        "embeddings.encoder": "bge",
        "embeddings.max_tokens": 256,
        "embeddings.weight_decay": 0.1,
        "embeddings.batch_size": 256,
        "embeddings.max_minutes": 600.0,
        "embeddings.max_epochs": 100,
        "identifiers.quantizer": "rq-vae",
        "identifiers.codebook_size": 256,
        "identifiers.epochs": 500,
        "identifiers.batch_size": 1024,
        "training.backbone": "t5-small",
        "training.tasks": _SIX,
        # the released recipe's shares of an epoch on Electronics' counts: 89.8, 9.6, 0.1, 0.2, 0.2
        # and 0.1 %
        "training.task_weights": (1.0, 0.14, 0.0015, 0.046, 0.046, 0.003),
        "training.history_separator": True,
        "training.max_text_tokens": 256,
        "training.head": "vocabulary",
        "training.batch_size": 1024,
        "training.epochs": 200,
        "training.warmup_rate": 0.01,
        "training.max_query_tokens": 64,
        "training.max_minutes": 6000.0,
        "training.eval_sample": 5000,
        "training.eval_beams": 30,
    },
}
