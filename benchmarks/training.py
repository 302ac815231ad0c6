"""Speed of joint training: our loop, against the reference recipe and a plain loop.

In: sizes and a seed. Out: a `Contest` on the paper's mix of tasks, and a further one, ``clean``, on
one task whose samples are tokenised beforehand. Both sides learn from the same examples with the
same model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.contest import Contest
from benchmarks.inputs import random_identifiers
from benchmarks.recipe import StringSamples, plain_loop, plain_model, shuffled_batches, word
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

# examples per epoch of the released recipe, in shares; the text tasks have both identifiers
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
MIN_WORDS = 60  # that a description gets, before it is tokenised: the length of a shop's real ones
MAX_WORDS = 160
Rows = dict[str, np.ndarray]  # of the examples, by task


def bench_training(
    num_examples: int = 1024,
    backbone: str = "t5-small",
    batch_size: int = 64,
    num_items: int = 3000,
    seed: int = 0,
) -> Contest:
    """Examples per second of a whole training step (batch, forward, backward, clip, update), with a
    model from scratch.

    With 1024 examples each of the rare tasks has one, which is its share; ours then has batches of
    a single example, which a whole epoch would fill. ``equal`` is the share of examples for which
    both roads hand the model the same source and target ids.
    """
    # the paper's tasks and lengths
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
    # the most frequent task alone
    one_task = {"nrip": mix["nrip"]}
    clean_settings = dataclasses.replace(settings, tasks=("nrip",), task_weights=(1.0,))
    clean = _contest(builder, samples_of, one_task, clean_settings)
    contest = _contest(builder, samples_of, mix, settings)
    return contest._replace(once=True, more={"clean": clean})  # the recipe takes minutes


def _workload(settings: TrainingConfig, num_items: int, seed: int):
    """A builder over a shop with descriptions of real length, and a maker of its string samples."""
    shop = make_shop(
        DataConfig(num_items=num_items, num_users=num_items, num_events=10 * num_items, seed=seed)
    )
    corpus, _ = build_corpus(shop._replace(items=_long_texts(shop.items, seed)), DataConfig())
    code_settings = IdentifiersConfig(codebook_size=256, num_levels=4, num_shared=2)
    identifiers = random_identifiers(num_items, code_settings, seed)
    tokenizer = TextCodec.load(minilm_folder()).tokenizer
    codec = TextCodec(tokenizer, len(tokenizer))
    layout = layout_for(identifiers, codec.num_tokens)
    titles = corpus.items["title"].str.lower().tolist()
    # one query per item: the last words of its title
    pseudo = PseudoQueries([" ".join(title.split()[-3:]) for title in titles], np.arange(num_items))
    builder = SequenceBuilder(corpus, identifiers, layout, codec, settings, pseudo)
    # the recipe's tokenizer knows our codes as words, in our order: its ids are ours
    words = TextCodec.load(minilm_folder()).tokenizer
    code_words = [word(layout, token) for token in range(layout.num_text, layout.size)]
    words.add_tokens(code_words, special_tokens=True)
    queries = corpus.queries["text"].tolist()
    texts = item_texts(titles, corpus.items["text"].tolist())
    return builder, lambda examples: StringSamples(examples, builder, queries, texts, words)


def _long_texts(items: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The shop's items with words of other items' texts behind theirs, as long as real ones."""
    rng = np.random.default_rng(seed)
    pool = np.array(" ".join(items["text"]).split())
    texts = [
        f"{text} {' '.join(rng.choice(pool, rng.integers(MIN_WORDS, MAX_WORDS)))}"
        for text in items["text"]
    ]
    return items.assign(text=texts)


def _draw(builder: SequenceBuilder, num_examples: int, seed: int) -> Rows:
    """Rows of every task in the paper's shares, one at least."""
    rng = np.random.default_rng(seed)
    mix = {}
    for name, share in PAPER_MIX.items():
        events = TASKS[name].events
        if events:
            rows = np.flatnonzero(builder.is_search == (events == "search"))
            rows = rows[builder.end[rows] > builder.start[rows]]  # with a history
        else:
            rows = np.arange(len(builder.texts.lengths))
        mix[name] = np.sort(rng.choice(rows, max(round(share * num_examples), 1), replace=False))
    return mix


def _contest(
    builder: SequenceBuilder,
    samples_of: Callable[[list], StringSamples],
    rows: Rows,
    settings: TrainingConfig,
) -> Contest:
    """One pass over these rows both ways; samples of one task alone are tokenised before."""
    lengths = {name: builder.lengths(TASKS[name], some) for name, some in rows.items()}
    # an epoch's order of batches, which both sides learn from
    mixture = TaskMixture(
        rows, lengths, dict.fromkeys(rows, 1.0), settings.batch_size, 10, settings.seed
    )
    # the same examples as triples, for the recipe
    examples = [
        (plan.task, row, prompt)
        for plan in mixture.epoch(1)
        for row, prompt in zip(plan.rows.tolist(), plan.prompt.tolist(), strict=True)
    ]
    samples = samples_of(examples)
    as_strings = len(rows) > 1
    ready = samples if as_strings else [samples[place] for place in range(len(samples))]
    how = "strings, tokenised one by one, tasks shuffled together"
    if not as_strings:
        how = "tokenised beforehand, one task"
    model = new_model(settings, builder.layout)
    plain = plain_model(model)  # a copy: each side trains its own

    def ours() -> int:
        trainer = Trainer(model, builder, mixture, settings)
        trainer.fit()
        return trainer.step

    def baseline() -> int:
        batches = shuffled_batches(ready, settings.batch_size, settings.seed)
        return plain_loop(plain, batches, settings.lr)

    precision = "bf16" if use_bf16(settings.precision) else "fp32"
    return Contest(
        ours=ours,
        baseline=baseline,
        equal=lambda *_: _same(builder, samples),
        amount=len(examples),
        unit="examples",
        products=precision,
        settings={
            "examples": {name: len(some) for name, some in rows.items()},
            "batch": settings.batch_size,
            "backbone": settings.backbone,
            "vocabulary": builder.layout.size,
            "ours": f"{precision}, level head, one task a batch, by length, fused AdamW",
            "baseline": f"{how}; fp32, whole vocabulary, padded to the longest, AdamW",
            "dropout": settings.dropout,
        },
    )


def _same(builder: SequenceBuilder, samples: StringSamples) -> float:
    """Share of examples with equal source and target ids on both roads."""
    same = []
    for (name, row, prompt), (source, target) in zip(samples.examples, samples, strict=True):
        task = TASKS[name]
        rows = np.array([row])
        our_source = builder.sources(task, rows, np.array([prompt])).flat  # not padded
        our_target = builder.written(task, rows).flat
        same.append(
            np.array_equal(our_source, source.numpy())
            and np.array_equal(our_target, target.numpy())
        )
    return float(np.mean(same))
