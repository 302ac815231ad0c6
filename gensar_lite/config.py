"""Every setting of the project, in one frozen tree.

In: a preset's name and overrides (from a notebook, papermill or ``--set a.b=c``). Out: a `Config`.
This file knows no data, no model and no file system: it only names what can be set and checks types.
A stage's function receives its own section, never the whole tree.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import typing
from dataclasses import dataclass, field

from gensar_lite.presets import OWN_FILES, PRESETS

_type_hints = functools.cache(typing.get_type_hints)  # slow, and asked for each setting
STAGES = ("data", "embeddings", "identifiers", "training", "decoding", "evaluation")


class ConfigError(ValueError):
    """An unknown setting or a value of the wrong type; the message lists what is valid."""


@dataclass(frozen=True)
class DataConfig:
    # shop (built in) | beauty | electronics | amazon | amazon2023 | kuaisar | kuaisar-small | movielens-small
    # | movielens-25m | files (your own)
    source: str = "shop"  # which source, see `gensar download --list`
    seed: int = 0  # seed of everything that is drawn: the shop, the search twins
    num_items: int = 1500  # shop only: items in the catalogue
    num_users: int = 3000  # shop only: users
    num_events: int = 30000  # shop only: events of both tasks together
    category: str = (
        "Electronics"  # amazon, amazon2023: the category, as the publisher's file names write it
    )
    published: bool = (
        True  # amazon, electronics: search with the published queries where the category has them
    )
    min_item_events: int = (
        0  # all but shop, beauty: items with fewer events leave, again and again (k-core); 0: off
    )
    search_rate: float = (
        0.758  # share of purchases with a search twin, where search is made (Ai et al. 2017)
    )
    query_families: tuple[str, ...] = (
        "category",
    )  # semi-synthetic search: category | attribute | text, equal shares
    min_events: int = (
        3  # users with fewer events are dropped (one each for train, validation, test)
    )
    # joint-time (a user's last time step tests both tasks) | each-task (each task's last step; what follows the first
    # of them is left out) | per-task (the paper's release: it leaks) | auto (joint-time, unless it starves a task)
    split: str = "joint-time"  # which events train, validate and test (own files: auto)
    seen_items: str = (
        "auto"  # recommendation: leave-out | keep | auto (keep where the log repeats items often)
    )
    unseen_rate: float = (
        0.0  # share of each kind's query strings that no train event may use (unseen queries)
    )
    items: str = ""  # files only: path of the items (csv and its like, json, jsonl, also .gz; parquet, also a folder)
    events: str = ""  # files only: path of the events, one row a purchase, click or rating
    queries: str = ""  # files only: path of query texts, where the events name queries by query_id
    columns: tuple[str, ...] = ()  # files only: table.field=column, where the guess is wrong
    header: bool = True  # files only: the first row of a csv file names its columns (else: column_1, column_2, ...)
    separator: str = (
        ""  # files only: what parts the cells of a csv file, e.g. ; or | or :: or tab; "": guessed
    )
    encoding: str = ""  # files only: e.g. latin-1, cp1252, shift_jis; "": UTF-8
    order: str = "time"  # files only: time (a column of the events) | file (the order of its rows is the time)
    make_search: bool = (
        False  # files only: queries from category paths, where the log has none (semi-synthetic)
    )
    max_drop_rate: float = (
        0.01  # files only: share of damaged rows of a table that may be dropped; more stops
    )


@dataclass(frozen=True)
class EmbeddingsConfig:
    seed: int = 0  # seed of weights, order, dropout and random projections
    encoder: str = "minilm"  # minilm (in its package) | lsa (no model) | bge | e5 | gte | sentence-transformers name
    max_tokens: int = 128  # text cut, word pieces (paper: 256)
    text_batch: int = 64  # texts a batch of the encoder
    text_precision: str = (
        "fp32"  # the encoder's matrix products: fp32 | bf16 | auto (bf16 where the machine has it)
    )
    lsa_dim: int = 256  # lsa only: directions kept, at most
    # sasrec (reads sequences) | svd (counts who met what; no training) | auto (the better of both on validation)
    collaborative: str = "sasrec"  # where the collaborative view comes from
    dim: int = 64  # d_col, width of SASRec and of the collaborative view (paper: 64)
    num_layers: int = 2  # SASRec blocks
    num_heads: int = 2  # SASRec attention heads
    max_length: int = 20  # SASRec history length, items; longer logs are read in windows
    dropout: float = 0.3  # SASRec dropout
    loss: str = "ce"  # SASRec loss: ce (full softmax) | bce, bpr (one random negative a position)
    lr: float = 1e-3  # AdamW learning rate of the first epoch
    lr_end: float = (
        0.1  # share of it in the last epoch of max_epochs, in a straight line; 1: constant
    )
    weight_decay: float = 0.01  # AdamW weight decay
    batch_size: int = 64  # windows of users' items a step
    max_epochs: int = (
        16  # upper bound of SASRec's epochs; more where they have fewer than min_steps steps
    )
    min_steps: int = 1000  # floor of SASRec's optimiser steps: a small log is read more often; 0: epochs alone count
    patience: int = 5  # evaluations without a better validation NDCG@10 before stopping
    eval_every: int = 2  # epochs between validations
    max_minutes: float = (
        10.0  # wall-clock bound of SASRec's training, a safety net; the best epoch so far is kept
    )
    cold_neighbours: int = 10  # text neighbours whose mean is a cold item's collaborative vector
    joint: str = "none"  # a third view, of both tasks: none | adapter (small networks on frozen text vectors)
    joint_dim: int = 64  # width of the joint view
    joint_epochs: int = (
        12  # upper bound of its epochs; it stops after 3 without a better validation
    )
    joint_temperature: float = 0.15  # cosines are divided by it: small is sharp
    precision: str = (
        "fp32"  # SASRec's matrix products: fp32 | bf16 | auto (bf16 where the CPU has it)
    )


@dataclass(frozen=True)
class IdentifiersConfig:
    seed: int = 0  # seed of initialisation and k-means
    # dual (shared trunk + two branches) | separate (no trunk) | of one vector: semantic | collaborative | fused-concat
    # | fused-svd | multitask (needs embeddings.joint=adapter) | random (the control: codes drawn blindly)
    strategy: str = "dual"  # what is quantized, and whether an item has two identifiers or one
    # rq-vae (the paper's) | rq-kmeans | balanced (RQ-KMeans, equal shares a code) | pq (parts, no residuals; one view)
    quantizer: str = "rq-kmeans"  # how a vector becomes codes (random: none is used)
    uniqueness: str = "nearest"  # nearest (free last code) | sinkhorn (paper, then nearest) | extra-level (a counter)
    num_levels: int = 4  # L = L_m + L_n, codes an identifier (extra-level: one more); 0: from the catalogue's size
    num_shared: int = 2  # L_m, levels both views share, 0 to L (dual only)
    codebook_size: int = 64  # K, codewords a level (paper: 256); 0: from the catalogue's size
    latent_dim: int = (
        32  # d of a latent: rq-vae's z_s, z_c; else principal components (fused-concat: all kept)
    )
    hidden: tuple[int, ...] = (512, 256, 128, 64)  # rq-vae encoder widths between input and latent
    epochs: int = 60  # rq-vae epochs, a third of them before there are codebooks (paper: 500)
    batch_size: int = 512  # rq-vae items a step (paper: 1024)
    lr: float = 1e-3  # rq-vae AdamW learning rate
    weight_decay: float = 1e-5  # rq-vae AdamW weight decay
    commitment: float = 0.25  # weight of the commitment loss, the paper's mu
    precision: str = "fp32"  # rq-vae's matrix products in training: fp32 | bf16 | auto (bf16 where the CPU has it)
    kmeans_iterations: int = 25  # Lloyd iterations a level


@dataclass(frozen=True)
class TrainingConfig:
    seed: int = 0  # seed of weights, order, prompts and dropout
    # from scratch: t5-micro | t5-mini | t5-small, or a decoder alone: gpt-micro | gpt-mini | gpt-small; pretrained: the
    # name or folder of a T5 or mT5, or of a decoder such as Llama or Qwen
    backbone: str = "t5-micro"  # the model
    revision: str = ""  # of a pretrained backbone: commit, tag or branch; "" is its newest
    lora_rank: int = 0  # of a pretrained backbone: LoRA beside frozen weights; 0 trains them all
    stream: bool = (
        False  # decoders alone: a user's whole behaviour is one row, every event in it a target
    )
    max_stream_tokens: int = (
        256  # streams: tokens a row; longer users take several, overlapping by half
    )
    batch_tokens: int = 16384  # streams: tokens of an optimiser step and process, padding included
    # nrip, nsip, nsqp (next recommended item, search item, search query), desc2id, id2desc (an item's text <-> its
    # identifiers), adhoc (a query made from an item's text -> the item)
    tasks: tuple[str, ...] = ("nrip", "nsip")  # what is learned together
    task_weights: tuple[float, ...] = (
        1.0,
        1.0,
    )  # share of examples drawn a task, relative to its size
    head: str = "level"  # level: softmax over the level's codes | vocabulary: over every token, as HF scores
    num_text_tokens: int = (
        2000  # size of the BPE vocabulary trained on the corpus (from-scratch backbones)
    )
    warm_embeddings: bool = (
        False  # from scratch: word-pieces and word vectors of all-MiniLM-L6-v2 to begin with
    )
    max_recommend: int = 5  # history items from recommendation kept in the prompt (paper: 5)
    max_search: int = 5  # history search sessions kept in the prompt (paper: 5)
    history_queries: bool = True  # past searches show their query and the click; false: only the click (shorter, faster)
    history_separator: bool = (
        False  # "; " after each history item (the paper): behaviour tokens part them already
    )
    max_query_tokens: int = 24  # query cut, text tokens (paper: 64)
    max_text_tokens: int = 64  # item text cut (title, description), text tokens (paper: 256)
    prompts: bool = True  # put a task prompt before the history, paraphrased in training
    behaviour_tokens: bool = True  # mark queries and items by what was done: <R_I>, <S_Q>, <S_I>
    pseudo_queries: str = (
        "statistics"  # adhoc: telling words of the item's text | a query model's name or folder
    )
    num_pseudo_queries: int = 8  # adhoc: queries made an item
    lr: float = 1e-3  # peak learning rate (paper: 1e-3)
    weight_decay: float = 0.01  # AdamW weight decay
    warmup_rate: float = 0.05  # share of steps with rising learning rate (paper: 1 %)
    small_embeddings: bool = (
        False  # from scratch: embeddings start with deviation d^-1/2 and no output scale (T5: 1)
    )
    dropout: float = 0.1  # dropout of the backbone
    label_smoothing: float = 0.0  # of the cross-entropy over a level's codes
    batch_size: int = 256  # examples a micro-batch and process
    accumulate: int = (
        1  # micro-batches an optimiser step and process: a larger batch in the same memory
    )
    gradient_checkpointing: bool = (
        False  # compute activations twice instead of keeping them: less memory, slower
    )
    compile: bool = False  # torch.compile; CUDA only
    epochs: int = 10  # upper bound of passes over the mixture
    max_minutes: float = 10.0  # wall-clock bound, a safety net: the best validation so far is kept
    eval_every: int = 1  # epochs between validations
    eval_sample: int = 500  # validation targets a task, a fixed sample
    eval_beams: int = 10  # beams of the validation ranking
    patience: int = 5  # validations without a better score before stopping
    precision: str = "fp32"  # fp32 | bf16 | auto (bf16 where the machine has it)
    checkpoint_minutes: float = (
        5.0  # wall-clock time between checkpoints inside an epoch; each epoch ends with one
    )
    tracker: str = (
        "none"  # none | tensorboard | any other tracker of Accelerate, if its package is there
    )


@dataclass(frozen=True)
class DecodingConfig:
    num_beams: int = 30  # beams of the constrained search (paper: 30)
    top_k: int = 20  # items kept a query
    batch_size: int = 64  # queries decoded together
    precision: str = "fp32"  # fp32 | bf16 | auto (bf16 where the machine has it)
    split: str = "test"  # which targets are decoded: test | validation
    exact: bool = False  # widen the beams of a query until its list is provably the exact top_k
    renormalise: bool = (
        False  # a code competes with the codes that the trie allows only: lonely items gain by it
    )


@dataclass(frozen=True)
class EvaluationConfig:
    seed: int = 0  # seed of the bootstrap and of sampled candidates
    ks: tuple[int, ...] = (5, 10, 20)  # cut-offs of Recall and NDCG
    num_bootstrap: int = 1000  # bootstrap resamples of an interval
    confidence: float = 0.95  # level of the interval
    num_negatives: int = 99  # sampled candidates beside the target in 1+99
    max_sampled: int = 2000  # targets a task ranked among sampled candidates, a fixed sample (all are ranked in full)
    num_examples: int = 6  # example lists in the report (built-in shop only)


@dataclass(frozen=True)
class Config:
    """The whole tree. `name` is the preset it came from."""

    name: str = "tour"
    data: DataConfig = field(default_factory=DataConfig)
    embeddings: EmbeddingsConfig = field(default_factory=EmbeddingsConfig)
    identifiers: IdentifiersConfig = field(default_factory=IdentifiersConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def preset(name: str = "tour") -> Config:
    """The settings called `name`. Raises `ConfigError` that lists the presets."""
    if name not in PRESETS:
        raise ConfigError(f"preset: there is no {name!r}. Choose one of: {', '.join(PRESETS)}.")
    return dataclasses.replace(override(Config(), PRESETS[name]), name=name)


def override(config: Config, changes: dict[str, object]) -> Config:
    """`config` with dotted `changes`, e.g. ``{"identifiers.num_shared": 1}``.

    Text is parsed to the field's type (``"1e-3"``, ``"true"``, ``"5,10"``), so papermill parameters and
    ``--set`` take the same road. The bare key ``seed`` sets the seed of every stage that has one.
    Raises `ConfigError` naming the nearest valid keys, or the type that was expected.
    """
    for key, value in changes.items():
        if key == "seed":
            seeds = {
                f"{stage}.seed": value
                for stage in STAGES
                if hasattr(getattr(config, stage), "seed")
            }
            config = override(config, seeds)
            continue
        stage, _, name = key.partition(".")
        if stage not in STAGES or name not in _fields(getattr(config, stage)):
            raise ConfigError(_unknown(key, config))
        section = getattr(config, stage)
        section = dataclasses.replace(section, **{name: _parse(key, value, _fields(section)[name])})
        config = dataclasses.replace(config, **{stage: section})
    return config


def for_own_files(changes: dict[str, object]) -> dict[str, object]:
    """`changes` after those that own files get (`presets.OWN_FILES`), where they say ``data.source=files``.

    No preset knows a stranger's log, so what can be read off it is; `changes` win.
    """
    return OWN_FILES | changes if changes.get("data.source") == "files" else changes


def flat(config: Config) -> dict[str, object]:
    """Every setting as ``{"stage.name": value}``, in order."""
    return {
        f"{stage}.{name}": value
        for stage in STAGES
        for name, value in section_dict(getattr(config, stage)).items()
    }


def changed_settings(config: Config) -> tuple[str, dict[str, str]]:
    """The preset a tree came from (``tour`` for one without), and what differs from it, as ``--set`` wants it."""
    base = config.name if config.name in PRESETS else "tour"
    told = flat(override(preset(base), for_own_files({"data.source": config.data.source})))
    told["data.source"], found = preset(base).data.source, {}
    for key, value in flat(config).items():
        if value != told[key]:
            found[key] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return base, found


def section_dict(section: object) -> dict[str, object]:
    """One section as plain JSON-ready values (tuples become lists)."""
    return {
        k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(section).items()
    }


def own_files(config: Config) -> list[tuple[str, str]]:
    """A user's own tables that the settings name, ``[("items", path), ...]``: a command needs them to be repeated."""
    return [
        (name, path)
        for name in ("items", "events", "queries")
        if (path := getattr(config.data, name))
    ]


def _fields(section: object) -> dict[str, object]:
    return _type_hints(type(section))


def _unknown(key: str, config: Config) -> str:
    valid = ["seed", *flat(config)]
    near = difflib.get_close_matches(key, valid, n=3, cutoff=0.5)
    stage = key.partition(".")[0]
    listed = [k for k in valid if k.startswith(stage + ".")] if stage in STAGES else valid
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"settings: there is no {key!r}.{hint} Valid keys: {', '.join(listed)}."


def _parse(key: str, value: object, kind: object) -> object:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        parts = (value.split(",") if value.strip() else []) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ConfigError(
                f"settings: {key} expects a list of {args[0].__name__}, got {value!r}. Write it as a,b,c."
            )
        return tuple(
            _parse(key, part.strip() if isinstance(part, str) else part, args[0]) for part in parts
        )
    if kind is bool and isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    if kind is str and isinstance(value, str):
        return value
    try:
        if isinstance(value, str) and kind in (int, float):
            return kind(value)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
    except ValueError:
        pass
    if type(value) is kind:
        return value
    raise ConfigError(
        f"settings: {key} expects {kind.__name__}, got {value!r} ({type(value).__name__})."
    )
