"""Pseudo-queries by a query model: which questions does this text answer? (Nogueira and Lin, 2019: docTTTTTquery.)

In: item texts and a sequence-to-sequence model's name or folder. Out: queries of each item, drawn from a seed and
kept in a cache folder, since a model on a CPU takes its time. This file does not know what the queries train.
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
TEXT_TOKENS, QUERY_TOKENS, BATCH = 256, 32, 32


def model_queries(
    items: pd.DataFrame, settings: TrainingConfig, cache: Path | None = None
) -> list[list[str]]:
    """``num_pseudo_queries`` queries of every item, N lists, written by the model ``settings.pseudo_queries``.

    The name may end in ``@revision``. Equal texts get equal queries, and the order of items does not matter. Raises
    `ArtifactError` with the next step when the model cannot be loaded: safetensors only, no code of strangers.
    """
    texts = item_texts(items["title"].tolist(), items["text"].tolist())
    key = _key(texts, settings)
    stored = cache / f"doc2query-{key}.json" if cache else None
    if stored and stored.exists():
        return json.loads(stored.read_text())["queries"]
    batches, rows = fixed_batches(texts, BATCH)
    tokenizer, model = load_query_model(settings.pseudo_queries)
    written = []
    for number, batch in enumerate(
        tqdm(batches, desc="pseudo-queries", unit="batch", disable=len(batches) < 8)
    ):
        written += _write(
            tokenizer, model, batch, settings.num_pseudo_queries, (settings.seed << 20) + number
        )
    queries = [written[row] for row in rows]
    if stored and _key(texts, settings) == key:  # not where the model's folder changed meanwhile
        write_json(stored, {"queries": queries})
    return queries


def load_query_model(name: str):
    """Tokenizer and model in evaluation mode, on a GPU where there is one."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    source, revision = at_revision(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=False
        )
        model = AutoModelForSeq2SeqLM.from_pretrained(
            source,
            revision=revision,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"training: the query model {name!r} could not be loaded ({str(error).splitlines()[0]}). Check the name "
            "and the network, give a folder with its safetensors, or set training.pseudo_queries=statistics, which "
            "needs no model."
        ) from error
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


@torch.no_grad()
def _write(tokenizer, model, texts: list[str], count: int, seed: int) -> list[list[str]]:
    inputs = tokenizer(
        texts, truncation=True, max_length=TEXT_TOKENS, padding=True, return_tensors="pt"
    )
    inputs = {name: inputs[name].to(model.device) for name in ("input_ids", "attention_mask")}
    with torch.random.fork_rng():  # the training's own draws stay what they were
        torch.manual_seed(seed)
        drawn = model.generate(
            **inputs,
            do_sample=True,
            top_k=TOP_K,
            num_return_sequences=count,
            max_new_tokens=QUERY_TOKENS,
        )
    said = [
        " ".join(text.split()) for text in tokenizer.batch_decode(drawn, skip_special_tokens=True)
    ]
    return [said[i : i + count] for i in range(0, len(said), count)]


def _key(texts: list[str], settings: TrainingConfig) -> str:
    folders = local_folder("model", settings.pseudo_queries).values()
    source = [path_digest(folder) for folder in folders] or [settings.pseudo_queries]
    told = json.dumps(
        [source, settings.num_pseudo_queries, settings.seed, TOP_K, TEXT_TOKENS, texts]
    )
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:24]
