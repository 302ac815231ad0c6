"""Speed of constrained decoding, against transformers' ``generate`` with a prefix function.

In: sizes and a seed. Out: a `Contest` as shipped; the same scores, candidates, growth and latency beside it.
The baseline is the published recipes' plain use: prefixes of the catalogue in a dictionary of strings, one look-up a
beam and step. It writes no end token, which its recipes do, and so is a little faster here.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from transformers import T5ForConditionalGeneration

from benchmarks.contest import Contest
from benchmarks.recipe import plainly
from gensar_lite.artifacts import Identifiers
from gensar_lite.config import DataConfig, TrainingConfig
from gensar_lite.decoding import Decoder, Trie

LEVELS, CODES, ITEMS_A_PREFIX, NUM_TEXT = 4, 256, 20, 32_100


def bench_decoding(
    num_items: int = 100_000,
    batch: int = 16,
    num_beams: int = 30,
    backbone: str = "t5-small",
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000),
    seed: int = 0,
) -> Contest:
    """Constrained beams over the whole catalogue. As shipped, a code competes with its level's codes, in bf16 where the
    machine has it; ``identical`` has transformers' own scores in fp32; ``candidates`` scores 1 + 99 items exactly,
    against beams over each query's own trie. The model is random, all get the same sources."""
    decoder = random_decoder(num_items, backbone, seed)
    exact = dataclasses.replace(
        decoder, settings=dataclasses.replace(decoder.settings, head="vocabulary")
    ).prepared()
    shipped = dataclasses.replace(
        decoder, precision="auto"
    ).prepared()  # as decoding and a recommender do
    rows = decoder.generator.corpus.targets("test", "recommend")["event_id"].to_numpy()[:batch]
    sources = decoder.sources("recommend", rows)
    theirs = functools.partial(
        generate, plainly(decoder.generator.model), decoder, *sources, num_beams
    )
    whole = by_prefix(decoder, np.arange(num_items))
    few = np.random.default_rng(seed).integers(num_items, size=(batch, 100))  # (B, 100)
    own = [by_prefix(decoder, items) for items in few]
    told = {
        "num_items": num_items,
        "batch": batch,
        "num_beams": num_beams,
        "backbone": backbone,
        "levels": LEVELS,
    }
    told |= {
        "codebook_size": CODES,
        "vocabulary": decoder.generator.layout.size,
        "longest_source": sources[0].shape[1],
    }
    told |= {
        "prepared_mib": round(shipped.stacks.num_bytes / 2**20, 1)
    }  # resident beside the model, not in the peaks
    told |= {"baseline": "transformers generate, prefix_allowed_tokens_fn, fp32"}

    def contest(ours: Callable, baseline: Callable, equal: Callable, **more: str) -> Contest:
        return Contest(ours, baseline, equal, batch, "queries", told | more)

    def search(with_: Decoder) -> Callable:
        return lambda: with_.search_sources("recommend", *sources, num_beams).items

    return contest(
        search(shipped),
        lambda: theirs(lambda _: whole),
        _overlap,
        head="level",
        precision="auto",
        compared="items shared",
    )._replace(
        more={
            "identical": contest(
                search(exact),
                lambda: theirs(lambda _: whole),
                _same,
                head="vocabulary",
                precision="fp32",
            ),
            "candidates": contest(
                lambda: _best(shipped.score_sources("recommend", *sources, few), few, num_beams),
                lambda: theirs(lambda query: own[query]),
                _overlap,
                head="level",
                precision="auto",
                compared="items shared",
            ),
            "growth": functools.partial(growth, shipped, sources, num_beams, sizes, seed),
            "latency_ms": functools.partial(latency, shipped, rows, num_beams),
        }
    )


def random_catalogue(num_items: int, seed: int) -> np.ndarray:
    """Distinct codes (N, L) whose first two are shared by about 20 items, as those of a trunk are."""
    rng = np.random.default_rng(seed)
    trunks = rng.choice(CODES**2, size=max(num_items // ITEMS_A_PREFIX, 1), replace=False)
    drawn = np.unique(
        rng.choice(trunks, 2 * num_items) * CODES**2 + rng.integers(CODES**2, size=2 * num_items)
    )
    number = rng.permutation(drawn)[:num_items]
    return np.stack(np.unravel_index(number, [CODES] * LEVELS), axis=1)


def random_decoder(num_items: int, backbone: str, seed: int) -> Decoder:
    """A random model with a vocabulary of T5's size, and the log of a small shop to read: its items are the first of a
    large catalogue."""
    from gensar_lite.data import build_corpus
    from gensar_lite.data.shop.synthetic import make_shop
    from gensar_lite.identifiers import layout_for
    from gensar_lite.training import Generator, SequenceBuilder
    from gensar_lite.training.backbones import new_model
    from gensar_lite.training.stage import train_codec
    from gensar_lite.training.text import TextCodec

    shop = make_shop(DataConfig(num_items=1500, num_users=300, num_events=6000, seed=seed))
    corpus, codes = build_corpus(shop, DataConfig())[0], random_catalogue(num_items, seed)
    ids = Identifiers(codes, codes, 2, CODES)
    settings = TrainingConfig(
        backbone=backbone, dropout=0.0, seed=seed, max_recommend=10, max_search=10
    )
    codec = TextCodec(train_codec(corpus, settings).tokenizer, NUM_TEXT)
    layout = layout_for(ids, NUM_TEXT)
    builder = SequenceBuilder(corpus, ids, layout, codec, settings)
    return Decoder.of(
        Generator(new_model(settings, layout).eval(), builder, codec, corpus, ids), settings
    )


def by_prefix(decoder: Decoder, items: np.ndarray) -> dict[str, list[int]]:
    """Tokens that may follow each prefix of some items' sequences, prefixes as strings."""
    given, children = decoder.given("recommend"), defaultdict(set)
    codes = decoder.generator.identifiers.collaborative[items]
    for sequence in decoder.generator.layout.tokens(codes, "collaborative").tolist():
        path = [*given, *sequence]
        for cut in range(1, len(path)):
            children["-".join(map(str, path[:cut]))].add(path[cut])
    return {prefix: sorted(tokens) for prefix, tokens in children.items()}


def generate(
    model: T5ForConditionalGeneration,
    decoder: Decoder,
    source: torch.Tensor,
    mask: torch.Tensor,
    num_beams: int,
    children: Callable[[int], dict[str, list[int]]],
) -> np.ndarray:
    """Item ids (B, num_beams) by transformers' own beam search; `children` gives a query's dictionary of prefixes."""
    length = len(decoder.given("recommend")) - 1 + LEVELS
    found = model.generate(
        input_ids=source,
        attention_mask=mask.long(),
        num_beams=num_beams,
        num_return_sequences=num_beams,
        max_new_tokens=length,
        min_new_tokens=length,
        do_sample=False,
        length_penalty=0.0,
        prefix_allowed_tokens_fn=lambda query, ids: children(query).get(
            "-".join(map(str, ids.tolist())), [1]
        ),
    )
    trie, codes = decoder.tries["collaborative"], found[:, -LEVELS:].numpy()
    codes, nodes = (
        decoder.generator.layout.codes(codes, "collaborative"),
        np.zeros(len(found), dtype=np.int64),
    )
    for level in range(LEVELS):
        nodes = trie.step(nodes, codes[:, level], level)
    return trie.items(nodes).reshape(len(source), num_beams)


def growth(
    decoder: Decoder, sources: tuple, num_beams: int, sizes: tuple[int, ...], seed: int
) -> dict[str, object]:
    """Our seconds a batch over catalogues of growing `sizes`, interleaved, and what the largest one's trie costs."""
    own, built = {}, 0.0
    for num_items in sizes:
        codes, started = random_catalogue(num_items, seed), time.perf_counter()
        trie = Trie.build(codes, CODES)
        built = time.perf_counter() - started
        own[num_items] = dataclasses.replace(decoder, tries={"collaborative": trie})
    seconds = {num_items: [] for num_items in own}
    for _ in range(5):
        for num_items, with_ in own.items():
            started = time.perf_counter()
            with_.search_sources("recommend", *sources, num_beams)
            seconds[num_items].append(time.perf_counter() - started)
    middle = {num_items: statistics.median(taken) for num_items, taken in seconds.items()}
    return {
        "seconds": {str(num_items): round(taken, 4) for num_items, taken in middle.items()},
        "ratio": round(middle[sizes[-1]] / middle[sizes[0]], 3),
        "build_seconds": round(built, 2),
        "trie_mib": round(trie.num_bytes / 2**20, 1),
    }


def latency(
    decoder: Decoder, rows: np.ndarray, num_beams: int, repeats: int = 3
) -> dict[str, float]:
    """Milliseconds of single queries, from event to items: median and 95th percentile."""
    taken = []
    for row in np.tile(rows, repeats):
        started = time.perf_counter()
        decoder.search("recommend", np.array([row]), num_beams)
        taken.append(1000 * (time.perf_counter() - started))
    return {
        "p50": round(float(np.median(taken)), 1),
        "p95": round(float(np.percentile(taken, 95)), 1),
    }


def _best(scores: np.ndarray, items: np.ndarray, num: int) -> np.ndarray:
    return np.take_along_axis(items, np.argsort(-scores, axis=1, kind="stable")[:, :num], axis=1)


def _same(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((ours == theirs).mean())


def _overlap(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(ours, theirs, strict=True)]))
