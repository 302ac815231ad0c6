"""Speed of constrained decoding, against transformers' ``generate`` with a prefix function.

In: sizes and a seed. Out: a `Contest` as shipped; the same scores, candidates, growth and latency
beside it. The baseline is the published recipes' plain use: prefixes of the catalogue in a
dictionary of strings, one look-up per beam and step. It writes no end token, which its recipes do,
and so is a little faster here.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from transformers import T5ForConditionalGeneration

from benchmarks.contest import Contest
from benchmarks.inputs import shop_corpus
from benchmarks.recipe import plain_model
from gensar_lite.artifacts import Identifiers
from gensar_lite.config import TrainingConfig
from gensar_lite.decoding import Decoder, Question, Trie
from gensar_lite.identifiers import layout_for
from gensar_lite.machine.precision import use_bf16
from gensar_lite.training import TASK_OF_EVENTS, Generator, SequenceBuilder
from gensar_lite.training.backbones import new_model
from gensar_lite.training.stage import train_codec
from gensar_lite.training.text import TextCodec

LEVELS = 4
CODES = 256
ITEMS_PER_PREFIX = 20
NUM_TEXT = 32_100  # tokens, as T5 has


def bench_decoding(
    num_items: int = 100_000,
    batch: int = 16,
    num_beams: int = 30,
    backbone: str = "t5-small",
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000),
    seed: int = 0,
) -> Contest:
    """Constrained beams over the whole catalogue; the model is random, all get the same sources.

    As shipped, a code competes with its level's codes, in bf16 where the machine is faster with it.
    Beside it ``identical`` has transformers' own scores in fp32, and ``candidates`` scores 1 + 99
    items exactly, against beams over each query's own trie.
    """
    decoder = random_decoder(num_items, backbone, seed)
    whole_vocabulary = dataclasses.replace(decoder.settings, head="vocabulary")
    identical = dataclasses.replace(decoder, settings=whole_vocabulary).prepared()
    # as the stage and a recommender do
    shipped = dataclasses.replace(decoder, precision="auto").prepared()
    rows = decoder.generator.corpus.targets("test", "recommend")["event_id"].to_numpy()[:batch]
    question = decoder.question("recommend", rows)
    # transformers' side: the same weights in a model as it builds it
    generated = functools.partial(
        generate, plain_model(decoder.generator.model), decoder, question, num_beams
    )
    whole = by_prefix(decoder, np.arange(num_items))
    few = np.random.default_rng(seed).integers(num_items, size=(batch, 100))  # (B, 100)
    few_by_prefix = [by_prefix(decoder, items) for items in few]  # one dictionary per query
    settings = {
        "num_items": num_items,
        "batch": batch,
        "num_beams": num_beams,
        "backbone": backbone,
        "levels": LEVELS,
        "codebook_size": CODES,
        "vocabulary": decoder.generator.layout.size,
        "longest_source": question.source.shape[1],
        # resident beside the model, not in the peaks
        "prepared_mib": round(num_bytes(shipped.stacks) / 2**20, 1),
        "baseline": "transformers generate, prefix_allowed_tokens_fn, fp32",
    }
    used = "bf16" if use_bf16("auto") else "fp32"
    as_shipped = settings | {"head": "level", "precision": "auto", "compared": "items shared"}
    in_fp32 = settings | {"head": "vocabulary", "precision": "fp32"}

    # calls without arguments, as a contest wants them
    def search(with_decoder: Decoder) -> Callable[[], np.ndarray]:
        return lambda: with_decoder.answer(question, num_beams).items

    def best_candidates() -> np.ndarray:
        order = np.argsort(-shipped.score(question, few), axis=1, kind="stable")
        return np.take_along_axis(few, order[:, :num_beams], axis=1)

    def contest(ours: Callable, baseline: Callable, equal: Callable, about: dict, **more):
        return Contest(ours, baseline, equal, batch, "queries", about, **more)

    def over_all() -> np.ndarray:
        return generated(lambda _: whole)

    def over_few() -> np.ndarray:
        return generated(lambda query: few_by_prefix[query])

    return contest(
        search(shipped),
        over_all,
        _overlap,
        as_shipped,
        products=used,
        more={
            "identical": contest(search(identical), over_all, _same, in_fp32, products="fp32"),
            "candidates": contest(best_candidates, over_few, _overlap, as_shipped, products=used),
            "growth": functools.partial(growth, shipped, question, num_beams, sizes, seed),
            "latency_ms": functools.partial(latency, shipped, rows, num_beams),
        },
    )


def num_bytes(*parts: object) -> int:
    """What all arrays and tensors of nested records hold."""
    inside = (num_bytes(*part) for part in parts if isinstance(part, list | tuple))
    return sum(inside) + sum(getattr(part, "nbytes", 0) for part in parts)


def random_catalogue(num_items: int, seed: int) -> np.ndarray:
    """Distinct codes (N, L) whose first two are shared by about 20 items, as those of a trunk."""
    rng = np.random.default_rng(seed)
    num_trunks = max(num_items // ITEMS_PER_PREFIX, 1)
    trunks = rng.choice(CODES**2, size=num_trunks, replace=False)
    # an identifier is one number in base CODES: drawn twice as often as needed, made distinct
    trunk = rng.choice(trunks, 2 * num_items)
    drawn = np.unique(trunk * CODES**2 + rng.integers(CODES**2, size=2 * num_items))
    number = rng.permutation(drawn)[:num_items]
    return np.stack(np.unravel_index(number, [CODES] * LEVELS), axis=1)


def random_decoder(num_items: int, backbone: str, seed: int) -> Decoder:
    """A random model with a vocabulary of T5's size, and the log of a small shop to read: its items
    are the first of a large catalogue."""
    corpus = shop_corpus(num_items=1500, num_users=300, num_events=6000, seed=seed)
    codes = random_catalogue(num_items, seed)
    # both views alike: only the collaborative one is decoded here
    identifiers = Identifiers(codes, codes, 2, CODES)
    settings = TrainingConfig(
        backbone=backbone, dropout=0.0, seed=seed, max_recommend=10, max_search=10
    )
    codec = TextCodec(train_codec(corpus, settings).tokenizer, NUM_TEXT)
    layout = layout_for(identifiers, NUM_TEXT)
    builder = SequenceBuilder(corpus, identifiers, layout, codec, settings)
    model = new_model(settings, layout).eval()
    return Decoder.of(Generator(model, builder, codec, corpus, identifiers), settings)


def by_prefix(decoder: Decoder, items: np.ndarray) -> dict[str, list[int]]:
    """Tokens that may follow each prefix of some items' sequences, prefixes as strings."""
    given = decoder.generator.builder.given(TASK_OF_EVENTS["recommend"])
    children = defaultdict(set)
    codes = decoder.generator.identifiers.collaborative[items]
    for sequence in decoder.generator.layout.tokens(codes, "collaborative").tolist():
        path = [*given, *sequence]
        # every prefix, the start token alone included, knows what may follow it
        for cut in range(1, len(path)):
            children["-".join(map(str, path[:cut]))].add(path[cut])
    return {prefix: sorted(tokens) for prefix, tokens in children.items()}


def generate(
    model: T5ForConditionalGeneration,
    decoder: Decoder,
    question: Question,
    num_beams: int,
    children: Callable[[int], dict[str, list[int]]],
) -> np.ndarray:
    """Item ids (B, num_beams) by transformers' beam search; `children` is a query's `by_prefix`."""
    length = len(decoder.generator.builder.given(TASK_OF_EVENTS["recommend"])) - 1 + LEVELS
    sequences = model.generate(
        input_ids=question.source,
        attention_mask=question.mask.long(),
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
    # from tokens to items: walk the codes (B * num_beams, L) down our trie
    trie = decoder.tries["collaborative"]
    codes = decoder.generator.layout.codes(sequences[:, -LEVELS:].numpy(), "collaborative")
    nodes = np.zeros(len(codes), dtype=np.int64)
    for level in range(LEVELS):
        nodes = trie.step(nodes, codes[:, level], level)
    return trie.items(nodes).reshape(len(question.source), num_beams)


def growth(
    decoder: Decoder, question: Question, num_beams: int, sizes: tuple[int, ...], seed: int
) -> dict[str, object]:
    """Our seconds per batch over catalogues of growing `sizes`, interleaved, and what the largest
    one's trie costs."""
    decoders = {}
    for num_items in sizes:
        codes = random_catalogue(num_items, seed)
        started = time.perf_counter()
        trie = Trie.build(codes, CODES)
        build_seconds = time.perf_counter() - started
        decoders[num_items] = dataclasses.replace(decoder, tries={"collaborative": trie})
    seconds = {num_items: [] for num_items in sizes}  # of single batches
    # sizes take turns, so that a busy machine slows all
    for _ in range(5):
        for num_items, grown in decoders.items():
            started = time.perf_counter()
            grown.answer(question, num_beams)
            seconds[num_items].append(time.perf_counter() - started)
    middle = {num_items: statistics.median(taken) for num_items, taken in seconds.items()}
    return {
        "seconds": {str(num_items): round(taken, 4) for num_items, taken in middle.items()},
        "ratio": round(middle[sizes[-1]] / middle[sizes[0]], 3),
        "build_seconds": round(build_seconds, 2),
        "trie_mib": round(num_bytes(trie.keys, trie.tables, trie.item_ids) / 2**20, 1),
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
    return {f"p{share}": round(float(np.percentile(taken, share)), 1) for share in (50, 95)}


def _same(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((ours == theirs).mean())


def _overlap(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(ours, theirs, strict=True)]))
