"""Pseudo-queries by a query model: which questions does this text answer?

In: item texts and a sequence-to-sequence model's name or folder (Nogueira and Lin, 2019:
docTTTTTquery). Out: queries of each item, drawn from a seed and kept in a cache folder, since a
model on a CPU takes its time. This file does not know what the queries train.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import torch
from tqdm.auto import tqdm

from gensar_lite.artifacts import ArtifactError, path_digest, write_json
from gensar_lite.config import TrainingConfig
from gensar_lite.embeddings.encoders import at_revision, local_folder
from gensar_lite.embeddings.semantic import fixed_batches, item_texts

TOP_K = 10  # the authors draw each token from the ten likeliest
TEXT_TOKENS = 256
QUERY_TOKENS = 32
BATCH = 32  # texts


def model_queries(
    items: pd.DataFrame, settings: TrainingConfig, cache: Path | None = None
) -> list[list[str]]:
    """``num_pseudo_queries`` queries of every item, N lists, by the model
    ``settings.pseudo_queries``, whose name may end in ``@revision``.

    Equal texts get equal queries, and the order of items does not matter. Raises `ArtifactError`
    with the next step when the model cannot be loaded.
    """
    texts = item_texts(items["title"].tolist(), items["text"].tolist())
    key = _key(texts, settings)
    stored = cache / f"doc2query-{key}.json" if cache else None
    if stored and stored.exists():
        return json.loads(stored.read_text())["queries"]
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
    return queries


def load_query_model(name: str):
    """Tokenizer and model in evaluation mode, on a GPU where there is one.

    Weights come as safetensors alone, and no code that lies beside them is run.
    """
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

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


def _key(texts: list[str], settings: TrainingConfig) -> str:
    """What the queries follow from, as a digest: the model (a folder by content), draws, texts."""
    folders = local_folder("model", settings.pseudo_queries).values()
    source = [path_digest(folder) for folder in folders] or [settings.pseudo_queries]
    drawn = [settings.num_pseudo_queries, settings.seed, TOP_K, TEXT_TOKENS]
    origin = json.dumps([source, *drawn, texts])
    return hashlib.sha256(origin.encode("utf-8", "surrogatepass")).hexdigest()[:24]
