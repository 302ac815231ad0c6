"""The training stage: one model learns to recommend and to search.

In: corpus and identifiers. Out: a Hugging Face model folder with its tokenizer, ``layout.json`` and
the learning curve. Ranking quality comes in as a callback: decoding lies downstream.
"""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from gensar_lite.artifacts import (
    Corpus,
    Identifiers,
    ItemEmbeddings,
    Workspace,
    path_digest,
    say,
)
from gensar_lite.config import ConfigError, TrainingConfig
from gensar_lite.embeddings.encoders import local_folder
from gensar_lite.embeddings.judge import enough_epochs
from gensar_lite.identifiers import TokenLayout, layout_for
from gensar_lite.machine.processes import rank_and_world
from gensar_lite.training.backbones import load_model, new_model
from gensar_lite.training.backbones.fresh import SIZES
from gensar_lite.training.backbones.new_tree import is_tree, new_tree
from gensar_lite.training.backbones.pretrained import loading, merge_lora, pretrained_config
from gensar_lite.training.loop.checkpoint import remove_checkpoints
from gensar_lite.training.loop.figures import Watch, evaluate_loss
from gensar_lite.training.loop.loop import Judge, Trainer
from gensar_lite.training.sequences.events import EventBuilder
from gensar_lite.training.sequences.examples import SequenceBuilder
from gensar_lite.training.sequences.mixture import new_mixture, present_tasks, task_rows
from gensar_lite.training.sequences.pseudo import NO_QUERIES, PseudoQueries, make_pseudo_queries
from gensar_lite.training.sequences.tasks import PROMPTS
from gensar_lite.training.text import TextCodec, WordCodec, warm_start


class Generator(NamedTuple):
    """A model with everything needed to speak to it."""

    model: PreTrainedModel
    builder: SequenceBuilder | EventBuilder
    codec: TextCodec | WordCodec
    corpus: Corpus
    identifiers: Identifiers

    @property
    def layout(self) -> TokenLayout:
        """Which token ids are text, behaviour and codes."""
        return self.builder.layout


def start_vectors(ws: Workspace) -> np.ndarray | None:
    """(N, d) the vectors that a tree's items start from: None without ``training.item_vectors``.
    Raises `ArtifactError` where the run's embeddings are missing or stale."""
    if not ws.config.training.item_vectors:
        return None
    return ItemEmbeddings.load(ws.require("embeddings")).collaborative


def train_codec(corpus: Corpus, settings: TrainingConfig) -> TextCodec | WordCodec:
    """The backbone's own tokenizer, or a vocabulary of what training reads: titles, descriptions
    where a task reads them, train queries, prompts."""
    if is_tree(settings.backbone):
        # a word of the train log that no item has is learned from its clicks
        asked = corpus.targets("train", "search")["query_id"].unique()
        titles, texts = corpus.items["title"], corpus.items["text"]
        return WordCodec.of([*titles, *texts], corpus.queries["text"].iloc[np.sort(asked)])
    if settings.backbone not in SIZES:
        with loading(settings.backbone):
            codec = TextCodec.load(settings.backbone, revision=settings.revision)
        # a pretrained table may hold more rows than its tokenizer knows
        num_tokens = max(codec.num_tokens, pretrained_config(settings).vocab_size)
        return TextCodec(codec.tokenizer, num_tokens)
    train = corpus.targets("train", "search")
    asked = corpus.queries["text"].iloc[train["query_id"].to_numpy()]
    reads_texts = not {"desc2id", "id2desc", "adhoc"}.isdisjoint(settings.tasks)
    described = corpus.items["text"] if reads_texts else []
    prompts = [sentence for name in settings.tasks for sentence in PROMPTS[name]]
    texts = [*corpus.items["title"], *described, *asked, *prompts]
    if settings.warm_embeddings:
        return TextCodec.of_pieces(texts)
    return TextCodec.train(texts, settings.num_text_tokens)


def new_generator(
    corpus: Corpus,
    identifiers: Identifiers,
    settings: TrainingConfig,
    cache: Path | None = None,
    vectors: np.ndarray | None = None,
) -> Generator:
    """An untrained model and its tokenizer for a corpus and its identifiers.

    `cache`: see `make_pseudo_queries`; `vectors` (N, d): see `new_tree`.
    """
    if settings.warm_embeddings and settings.backbone not in SIZES:
        raise ConfigError(
            f"training.warm_embeddings: {settings.backbone} brings word vectors of its own. Set it "
            "to false."
        )
    codec = train_codec(corpus, settings)
    layout = layout_for(identifiers, codec.num_tokens)
    asks = "adhoc" in settings.tasks
    pseudo = make_pseudo_queries(corpus.items, settings, cache) if asks else NO_QUERIES
    if is_tree(settings.backbone):
        builder = EventBuilder(corpus, identifiers, layout, codec, settings, pseudo)
        model = new_tree(settings, layout, corpus, identifiers, codec, vectors)
        return Generator(model, builder, codec, corpus, identifiers)
    # after the vocabulary: its embedding table has a row per token of text, behaviour and code
    model = new_model(settings, layout)
    if settings.warm_embeddings:
        warm_start(model, codec)
    builder = SequenceBuilder(corpus, identifiers, layout, codec, settings, pseudo)
    return Generator(model, builder, codec, corpus, identifiers)


def train(
    ws: Workspace,
    make_judge: Callable[[Generator], Judge] | None = None,
    watch: Watch | None = None,
) -> Path:
    """Build ``artifacts/<run>/training`` (or reuse it). Returns the folder.

    `make_judge` turns the untrained generator into a function that ranks a fixed validation sample;
    the best epoch by it is kept. `watch` is called with rows of figures while the run goes on. A
    run that was stopped goes on from its last checkpoint; when the model stands, checkpoints are
    removed.
    """
    run = ws.folder("training").parent
    rank = int(os.environ.get("RANK", "0"))
    checkpoints = run / "training-checkpoints"
    own_models = model_files(ws.config.training)

    def make(folder: Path) -> dict:
        # digests are those before anything is read
        read = ["data", "identifiers"] + ["embeddings"] * ws.config.training.item_vectors
        inputs = {name: ws.meta(name)["digest"] for name in read}
        inputs |= {name: path_digest(path) for name, path in own_models.items()}
        corpus = Corpus.load(ws.require("data"))
        settings = present_tasks(corpus, ws.config.training)
        if settings.tasks != ws.config.training.tasks:
            tasks = ", ".join(settings.tasks)
            say(f"training: {tasks} only, the corpus has nothing to learn other tasks from")
        identifiers = Identifiers.load(ws.require("identifiers"))
        vectors, cache = start_vectors(ws), ws.root / "artifacts" / "cache"
        generator = new_generator(corpus, identifiers, settings, cache, vectors)
        model, builder = generator.model, generator.builder
        rows = task_rows(generator, settings, "validation")
        untrained = evaluate_loss(model, builder, rows, settings)
        mixture = new_mixture(generator, settings)
        settings = long_enough(settings, mixture.num_batches)
        judge = make_judge(generator) if make_judge else None
        kept = {"checkpoints": checkpoints, "inputs": inputs, "logs": run / "training-logs"}
        trainer = Trainer(model, builder, mixture, settings, judge, watch=watch, **kept)
        curve = trainer.fit()
        trainer.accelerator.wait_for_everyone()
        save_generator(generator, folder)
        pd.DataFrame(curve).to_parquet(folder / "curve.parquet", index=False)
        trained = evaluate_loss(model, builder, rows, settings)
        return {
            "parameters": sum(p.numel() for p in model.parameters()),
            "steps": trainer.step,
            "examples_an_epoch": sum(mixture.num_examples(task) for task in mixture.rows),
            "processes": trainer.accelerator.num_processes,
            "machine": trainer.how_computed(),
            # without scores the last epoch
            "best": max(curve, key=lambda row: row.get("score", row["epoch"] * 1e-9)),
            "held_out": {"untrained": untrained, "trained": trained},
        }

    folder = ws.build("training", make, rank=rank, outside=own_models)
    if rank == 0:
        remove_checkpoints(checkpoints)
    return folder


def long_enough(settings: TrainingConfig, num_batches: int) -> TrainingConfig:
    """As many epochs as make ``min_steps`` optimiser steps, with as many validations: an epoch of a
    small log is a few steps. `num_batches` are those of an epoch."""
    steps = -(-num_batches // (settings.accumulate * rank_and_world()[1]))
    floor = enough_epochs(settings.epochs, settings.eval_every, steps, settings.min_steps)
    return dataclasses.replace(settings, epochs=floor[0], eval_every=floor[1])


def model_files(settings: TrainingConfig) -> dict[str, Path]:
    """Folders of models of the user's own that training reads, by the setting's name."""
    folders = {}
    if settings.backbone not in SIZES and not is_tree(settings.backbone):
        folders |= local_folder("backbone", settings.backbone)
    if "adhoc" in settings.tasks and settings.pseudo_queries != "statistics":
        folders |= local_folder("pseudo_queries", settings.pseudo_queries)
    return folders


def save_generator(generator: Generator, folder: Path) -> None:
    """Model (LoRA merged), tokenizer, token layout and pseudo-queries in a Hugging Face folder."""
    if generator.builder.pseudo.texts:
        generator.builder.pseudo.save(folder / "pseudo_queries.parquet")
    merge_lora(generator.model).save_pretrained(folder)
    generator.codec.save(folder)
    (folder / "layout.json").write_text(json.dumps(dataclasses.asdict(generator.layout)))


def load_generator(ws: Workspace) -> Generator:
    """The trained model of a run, ready to be decoded from."""
    folder = ws.require("training")
    settings = ws.config.training
    corpus = Corpus.load(ws.require("data"))
    identifiers = Identifiers.load(ws.require("identifiers"))
    layout = TokenLayout(**json.loads((folder / "layout.json").read_text()))
    tree = is_tree(settings.backbone)
    codec = WordCodec.load(folder) if tree else TextCodec.load(folder, layout.num_text)
    pseudo = PseudoQueries.load(folder / "pseudo_queries.parquet")
    model = load_model(folder)
    if tree:  # one of an earlier version has no behaviours, whatever the settings say
        settings = dataclasses.replace(settings, behaviour_tokens=model.config.behaviours)
    kind = EventBuilder if tree else SequenceBuilder
    builder = kind(corpus, identifiers, layout, codec, settings, pseudo)
    return Generator(model, builder, codec, corpus, identifiers)
