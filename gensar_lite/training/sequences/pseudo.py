"""Pseudo-queries: what could have been typed to find an item, made from the item's own text.

In: a catalogue and a seed. Out: query texts and the item of each, by the counts of words
(Robertson's and Jones' term weighting) or by a sequence-to-sequence model (Nogueira and Lin, 2019:
docTTTTTquery). This file never reads the log of searches or a judgement, of whatever split, so this
is no leak; but a made query may happen to equal one that a user types later.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm.auto import tqdm
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from gensar_lite.artifacts import ArtifactError, path_digest, write_json
from gensar_lite.config import TrainingConfig
from gensar_lite.data.queries import STOP_WORDS, stem
from gensar_lite.data.words import words_of
from gensar_lite.embeddings.encoders import at_revision, local_folder
from gensar_lite.embeddings.semantic import fixed_batches, item_texts

MOST_WORDS = 4  # drawn for a query of telling words, two at least
# taken in turn, so that each item has some of all
PATTERNS = ("words", "category", "brand", "word and category")
TOP_K = 10  # the authors draw each token from the ten likeliest
TEXT_TOKENS = 256
QUERY_TOKENS = 32
BATCH = 32  # texts


class PseudoQueries(NamedTuple):
    """P queries: their texts, and the item (P,) that each was made for, in ascending order."""

    texts: list[str]
    item: np.ndarray

    @staticmethod
    def of(queries: list[list[str]]) -> PseudoQueries:
        """From the queries of each item, N lists; without repetitions and empty ones."""
        kept = [list(dict.fromkeys(filter(None, texts))) for texts in queries]
        item = np.repeat(np.arange(len(kept)), [len(texts) for texts in kept])
        return PseudoQueries([text for texts in kept for text in texts], item)

    def save(self, path: Path) -> None:
        """To parquet, a row per query."""
        texts = pd.Series(self.texts, dtype=object)
        pd.DataFrame({"item_id": self.item, "text": texts}).to_parquet(path, index=False)

    @staticmethod
    def load(path: Path) -> PseudoQueries:
        """The saved queries; none where the file does not exist."""
        if not path.exists():
            return NO_QUERIES
        table = pd.read_parquet(path)
        return PseudoQueries(table["text"].tolist(), table["item_id"].to_numpy())


NO_QUERIES = PseudoQueries([], np.zeros(0, dtype=np.int64))


def make_pseudo_queries(
    items: pd.DataFrame, settings: TrainingConfig, cache: Path | None = None
) -> PseudoQueries:
    """At most ``settings.num_pseudo_queries`` per item: by word counts, or by the model
    ``settings.pseudo_queries``, whose name may end in ``@revision``.

    `cache` is a folder that keeps what a model wrote: on a CPU it takes its time. Equal texts get
    equal queries, and the order of items does not matter. Raises `ArtifactError` when the model
    cannot be loaded.
    """
    if settings.pseudo_queries == "statistics":
        return word_queries(items, settings.num_pseudo_queries, settings.seed)
    texts = item_texts(items["title"].tolist(), items["text"].tolist())
    key = _key(texts, settings)
    stored = cache / f"doc2query-{key}.json" if cache else None
    if stored and stored.exists():
        return PseudoQueries.of(json.loads(stored.read_text())["queries"])
    batches, rows = fixed_batches(texts, BATCH)
    tokenizer, model = load_query_model(settings.pseudo_queries)
    written = []
    bar = tqdm(batches, desc="pseudo-queries", unit="batch", disable=len(batches) < 8)
    for number, batch in enumerate(bar):
        # a seed per batch, far from those of other runs
        seed = (settings.seed << 20) + number
        written += _write(tokenizer, model, batch, settings.num_pseudo_queries, seed)
    queries = [written[row] for row in rows]
    if stored and _key(texts, settings) == key:  # not where the model's folder changed meanwhile
        write_json(stored, {"queries": queries})
    return PseudoQueries.of(queries)


def _key(texts: list[str], settings: TrainingConfig) -> str:
    """What the queries follow from, as a digest: the model (a folder by content), draws, texts."""
    folders = local_folder("model", settings.pseudo_queries).values()
    source = [path_digest(folder) for folder in folders] or [settings.pseudo_queries]
    drawn = [settings.num_pseudo_queries, settings.seed, TOP_K, TEXT_TOKENS]
    origin = json.dumps([source, *drawn, texts])
    return hashlib.sha256(origin.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def load_query_model(name: str):
    """Tokenizer and model in evaluation mode, on a GPU where there is one.

    Weights come as safetensors alone, and no code that lies beside them is run.
    """
    source, revision = at_revision(name)
    options = {"revision": revision, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        options |= {"use_safetensors": True, "dtype": torch.float32}
        model = AutoModelForSeq2SeqLM.from_pretrained(source, **options)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"training: the query model {name!r} could not be loaded "
            f"({str(error).splitlines()[0]}). Check the name and the network, give a folder with "
            "its safetensors, or set training.pseudo_queries=statistics, which needs no model."
        ) from error
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


@torch.no_grad()
def _write(tokenizer, model, texts: list[str], count: int, seed: int) -> list[list[str]]:
    inputs = tokenizer(
        texts, truncation=True, max_length=TEXT_TOKENS, padding=True, return_tensors="pt"
    )
    inputs = {name: inputs[name].to(model.device) for name in ("input_ids", "attention_mask")}
    draw = {"do_sample": True, "top_k": TOP_K, "num_return_sequences": count}
    with torch.random.fork_rng():  # the training's own draws stay what they were
        torch.manual_seed(seed)
        ids = model.generate(**inputs, **draw, max_new_tokens=QUERY_TOKENS)
    decoded = tokenizer.batch_decode(ids, skip_special_tokens=True)
    queries = [" ".join(text.split()) for text in decoded]
    return [queries[i : i + count] for i in range(0, len(queries), count)]


def word_queries(items: pd.DataFrame, num_queries: int, seed: int) -> PseudoQueries:
    """Queries of an item's own words, `PATTERNS` in turn; half of them in the singular.

    A word of title or description is drawn with a probability proportional to its tf-idf weight in
    the catalogue, a category's words from some level of its path down. Nothing follows the phrases
    of the search families.
    """
    rng = np.random.default_rng([seed, 1])
    queries = []
    for words, category, brand in zip(
        _telling_words(items), items["category"], items["brand"], strict=True
    ):
        levels = [list(_words(level)) for level in category.split(" > ")]
        brand_words = list(_words(brand))
        texts = []
        for number in range(num_queries):
            pattern = PATTERNS[number % len(PATTERNS)]
            drawn = _draw_query(pattern, words, levels, brand_words, rng)
            drawn = map(stem, drawn) if rng.random() < 0.5 else drawn
            texts.append(" ".join(dict.fromkeys(drawn)))
        queries.append(texts)
    return PseudoQueries.of(queries)


def _draw_query(
    pattern: str, words: dict[str, float], levels: list[list[str]], brand: list[str], rng
) -> list[str]:
    """One query's words; where the item lacks what the pattern needs, telling words."""
    bottom = levels[-1]
    if pattern == "category" and bottom:
        first = int(rng.integers(len(levels)))
        return [word for level in levels[first:] for word in level]
    if pattern == "brand" and brand:
        kind = list(dict.fromkeys([*bottom, *_draw(words, 1, rng)]))
        return [*brand, *([kind[int(rng.integers(len(kind)))]] if kind else [])]
    if pattern == "word and category" and bottom:
        return [*_draw(words, 1, rng), *bottom]
    return _draw(words, int(rng.integers(2, MOST_WORDS + 1)), rng)


def _draw(words: dict[str, float], count: int, rng) -> list[str]:
    """At most `count` different words, likely ones first more often."""
    # Efraimidis and Spirakis (2006): the largest of u^(1 / weight) are a draw without replacement
    weights = np.fromiter(words.values(), dtype=float, count=len(words))
    keys = rng.random(len(words)) ** (1 / weights)
    names = list(words)
    return [names[i] for i in np.argsort(-keys, kind="stable")[:count]]


def _telling_words(items: pd.DataFrame) -> Iterator[dict[str, float]]:
    """The words of each item's title and description with their tf-idf weights, N dictionaries."""
    texts = item_texts(items["title"].tolist(), items["text"].tolist())
    if not any(next(_words(text), "") for text in texts):  # scikit-learn needs a word
        yield from ({} for _ in texts)
        return
    model = TfidfVectorizer(
        sublinear_tf=True, tokenizer=_words, token_pattern=None, lowercase=False
    )
    weights = model.fit_transform(texts)  # (N, words), sparse
    names = model.get_feature_names_out()
    for low, high in itertools.pairwise(weights.indptr):
        # in the order of the alphabet: draws follow the order of words
        pairs = zip(names[weights.indices[low:high]], weights.data[low:high], strict=True)
        yield dict(sorted(pairs))


def _words(text: str) -> Iterator[str]:
    words = words_of(text, least=2)
    return (word for word in words if word not in STOP_WORDS and not word.isdigit())
