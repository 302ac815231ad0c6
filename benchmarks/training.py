"""Speed of joint training: our loop, against the reference recipe and against a plain loop on clean batches.

In: sizes and a seed. Out: a `Contest` on the paper's mix of tasks, and a further one, ``clean``, on one task whose
samples are tokenised beforehand. Both sides learn from the same examples with the same model.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from benchmarks.contest import Contest
from benchmarks.identifiers import random_identifiers
from benchmarks.recipe import (
    StringSamples,
    plain_loop,
    plainly,
    ready_batches,
    string_batches,
    word,
)
from gensar_lite.config import DataConfig, IdentifiersConfig, TrainingConfig
from gensar_lite.data import build_corpus
from gensar_lite.data.shop.synthetic import make_shop
from gensar_lite.embeddings.encoders import minilm_folder
from gensar_lite.embeddings.semantic import item_texts
from gensar_lite.identifiers import layout_for
from gensar_lite.machine.precision import use_bf16
from gensar_lite.training import TASKS, SequenceBuilder, TextCodec
from gensar_lite.training.backbones import new_model
from gensar_lite.training.loop.loop import Trainer
from gensar_lite.training.sequences.mixture import TaskMixture
from gensar_lite.training.sequences.pseudo import PseudoQueries

# examples an epoch of the released recipe, in shares; the text tasks have both identifiers
PAPER_MIX = {
    "nrip": 0.898,
    "nsip": 0.096,
    "nsqp": 0.001,
    "desc2id/semantic": 0.001,
    "desc2id/collaborative": 0.001,
    "id2desc/semantic": 0.001,
    "id2desc/collaborative": 0.001,
    "adhoc": 0.001,
}
WORDS_A_TEXT = (
    60,
    160,
)  # of a description, before it is tokenised: the length of a shop's real ones


def bench_training(
    num_examples: int = 1024,
    backbone: str = "t5-small",
    batch_size: int = 64,
    num_items: int = 3000,
    seed: int = 0,
) -> Contest:
    """Examples a second of a whole training step (batch, forward, backward, clip, update), t5-small from scratch.

    With 1024 examples each of the rare tasks has one, which is its share; ours then has batches of a single example,
    which a whole epoch would fill.

    ``equal`` is the share of examples for which both roads hand the model the same source and target ids.
    """
    settings = TrainingConfig(
        backbone=backbone,
        tasks=tuple(dict.fromkeys(TASKS[name].base for name in PAPER_MIX)),
        task_weights=(1.0,) * 6,
        max_query_tokens=64,
        max_text_tokens=256,
        batch_size=batch_size,
        epochs=1,
        precision="auto",
        seed=seed,
    )
    builder, samples_of = _workload(settings, num_items, seed)
    mix = _draw(builder, num_examples, seed)
    clean = {"nrip": mix["nrip"]}
    settings_clean = dataclasses.replace(settings, tasks=("nrip",), task_weights=(1.0,))
    contest = _contest(
        builder, samples_of, mix, settings, "strings, tokenised one by one, tasks shuffled together"
    )
    return contest._replace(
        once=True,  # the recipe takes minutes a round
        more={
            "clean": _contest(
                builder, samples_of, clean, settings_clean, "tokenised beforehand, one task"
            )
        },
    )


def _workload(settings: TrainingConfig, num_items: int, seed: int):
    """A shop with descriptions of real length, and a maker of string samples over it."""
    made = make_shop(
        DataConfig(num_items=num_items, num_users=num_items, num_events=10 * num_items, seed=seed)
    )
    corpus, _ = build_corpus(made._replace(items=_long_texts(made.items, seed)), DataConfig())
    codes = IdentifiersConfig(codebook_size=256, num_levels=4, num_shared=2)
    identifiers = random_identifiers(num_items, codes, seed)
    folder = minilm_folder()
    tokenizer = TextCodec.load(folder).tokenizer
    codec = TextCodec(tokenizer, len(tokenizer))
    layout = layout_for(identifiers, codec.num_tokens)
    titles = corpus.items["title"].str.lower().tolist()
    pseudo = PseudoQueries([" ".join(title.split()[-3:]) for title in titles], np.arange(num_items))
    builder = SequenceBuilder(corpus, identifiers, layout, codec, settings, pseudo)
    words = TextCodec.load(folder).tokenizer
    words.add_tokens(
        [word(layout, token) for token in range(layout.num_text, layout.size)], special_tokens=True
    )
    queries, texts = (
        corpus.queries["text"].tolist(),
        item_texts(titles, corpus.items["text"].tolist()),
    )
    return builder, lambda examples: StringSamples(examples, builder, queries, texts, words)


def _long_texts(items: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The shop's items with as many words of other items' texts behind their own as real descriptions have."""
    rng = np.random.default_rng(seed)
    pool = np.array(" ".join(items["text"]).split())
    more = [" ".join(rng.choice(pool, rng.integers(*WORDS_A_TEXT))) for _ in range(len(items))]
    return items.assign(
        text=[f"{text} {extra}" for text, extra in zip(items["text"], more, strict=True)]
    )


def _draw(builder: SequenceBuilder, num_examples: int, seed: int) -> dict[str, np.ndarray]:
    """Rows of every task in the paper's shares, one at least."""
    rng, found = np.random.default_rng(seed), {}
    for name, share in PAPER_MIX.items():
        task = TASKS[name]
        if task.events:
            rows = np.flatnonzero(builder.is_search == (task.events == "search"))
            rows = rows[builder.end[rows] > builder.start[rows]]
        else:
            rows = np.arange(len(builder.texts.lengths))
        found[name] = np.sort(rng.choice(rows, max(round(share * num_examples), 1), replace=False))
    return found


def _contest(
    builder, samples_of, rows: dict[str, np.ndarray], settings: TrainingConfig, baseline: str
) -> Contest:
    lengths = {name: builder.lengths(TASKS[name], own) for name, own in rows.items()}
    mixture = TaskMixture(
        rows, lengths, dict.fromkeys(rows, 1.0), settings.batch_size, 10, settings.seed
    )
    examples = [
        (plan.task, row, prompt)
        for plan in mixture.epoch(1)
        for row, prompt in zip(plan.rows.tolist(), plan.prompt.tolist(), strict=True)
    ]
    samples = samples_of(examples)
    if len(rows) > 1:
        batches = string_batches(samples, settings.batch_size, settings.seed)
    else:
        batches = ready_batches(
            [samples[i] for i in range(len(samples))], settings.batch_size, settings.seed
        )

    mine = new_model(settings, builder.layout)
    plain = plainly(mine)

    def ours() -> int:
        trainer = Trainer(mine, builder, mixture, settings)
        trainer.fit()
        return trainer.step

    def theirs() -> int:
        return plain_loop(plain, batches(), settings.lr)

    precision = "bf16" if use_bf16(settings.precision) else "fp32"
    told = {
        "examples": {name: len(own) for name, own in rows.items()},
        "batch": settings.batch_size,
        "backbone": settings.backbone,
        "vocabulary": builder.layout.size,
        "ours": f"{precision}, level head, one task a batch, by length, fused AdamW",
        "baseline": f"{baseline}; fp32, whole vocabulary, padded to the longest, AdamW",
        "dropout": settings.dropout,
    }
    return Contest(
        ours, theirs, lambda *_: _same(builder, samples), len(examples), "examples", told
    )


def _same(builder: SequenceBuilder, samples: StringSamples) -> float:
    """Share of examples with equal source and target ids on both roads."""
    same = []
    for place, (name, row, prompt) in enumerate(samples.examples):
        task, rows = TASKS[name], np.array([row])
        source, target = samples[place]
        own = builder.sources(task, rows, np.array([prompt])).flat, builder.written(task, rows).flat
        same.append(
            np.array_equal(own[0], source.numpy()) and np.array_equal(own[1], target.numpy())
        )
    return float(np.mean(same))
