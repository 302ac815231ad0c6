"""Speed of constrained decoding, against transformers' ``generate`` with a prefix function.

In: sizes and a seed. Out: a `Contest`.
"""

from __future__ import annotations

import numpy as np
import torch

from gensar_lite.bench.contest import Contest
from gensar_lite.bench.identifiers import random_identifiers
from gensar_lite.config import DataConfig, IdentifiersConfig, TrainingConfig


def bench_decoding(num_items: int = 10_000, num_queries: int = 16, num_beams: int = 10, seed: int = 0) -> Contest:
    """Constrained beams: ours, against transformers' ``generate(prefix_allowed_tokens_fn=...)`` with the prefixes of
    the catalogue in a dictionary. Same random model, same sources, fp32, same scores (softmax over all tokens)."""
    from gensar_lite.data import build_corpus
    from gensar_lite.data.synthetic import make_shop
    from gensar_lite.decoding import Decoder
    from gensar_lite.training import TASKS, new_generator
    from gensar_lite.training.text import PAD

    corpus, _ = build_corpus(
        make_shop(DataConfig(num_items=num_items, num_users=300, num_events=3000, seed=seed)), DataConfig()
    )
    ids = random_identifiers(num_items, IdentifiersConfig(codebook_size=128, num_levels=4, num_shared=2), seed)
    settings = TrainingConfig(backbone="t5-mini", head="vocabulary", dropout=0.0, seed=seed)
    generator = new_generator(corpus, ids, settings)
    model, layout = generator.model.eval(), generator.layout
    decoder = Decoder.of(generator, settings)
    rows = corpus.targets("test", "recommend")["event_id"].to_numpy()[:num_queries]
    batch = generator.builder.batch(TASKS["nrip"], rows)
    table = layout.tokens(ids.collaborative, "collaborative")
    children: dict[tuple[int, ...], set[int]] = {}
    for sequence in table.tolist():
        path = (PAD, layout.recommend_item, *sequence)
        for cut in range(1, len(path)):
            children.setdefault(path[:cut], set()).add(path[cut])
    allowed = {path: sorted(found) for path, found in children.items()}
    whole = {tuple(sequence): item for item, sequence in enumerate(table.tolist())}

    def generate() -> np.ndarray:
        out = model.generate(
            input_ids=torch.from_numpy(batch.source),
            attention_mask=torch.from_numpy(batch.mask).long(),
            num_beams=num_beams,
            num_return_sequences=num_beams,
            max_new_tokens=1 + layout.num_levels,
            min_new_tokens=1 + layout.num_levels,
            do_sample=False,
            length_penalty=0.0,
            prefix_allowed_tokens_fn=lambda _, ids: allowed.get(tuple(ids.tolist()), [1]),
        )
        found = [whole.get(tuple(ids[2:]), -1) for ids in out.tolist()]
        return np.array(found).reshape(len(rows), num_beams)

    told = {
        "num_items": num_items,
        "batch": len(rows),
        "num_beams": num_beams,
        "backbone": "t5-mini",
        "head": "vocabulary",
    }
    return Contest(
        lambda: decoder.search("recommend", rows, num_beams)[0],
        generate,
        lambda a, b: float((a == b).all(axis=1).mean()),
        len(rows),
        "queries",
        told | {"baseline": "transformers generate, prefix_allowed_tokens_fn", "precision": "fp32"},
    )
