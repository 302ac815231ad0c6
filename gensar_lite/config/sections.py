"""The table of all settings: name, type or choices, default, meaning, range.

In: nothing. Out: one frozen dataclass per stage, which its functions receive, and the whole tree.
This file knows no data, no model and no file system. ``gensar settings STAGE`` prints it with what
the presets change.
"""

from dataclasses import dataclass, field
from typing import Literal

from gensar_lite.config.declare import setting

MAX_SEED = 2_000_000_000  # fits 32 signed bits, with room to add the number of a level
MAX_LEVELS = 32

Amazon = Literal["beauty", "electronics", "amazon"]
Logs = Literal["kuaisar", "kuaisar-small", "movielens-small", "movielens-25m"]
Family = Literal["category", "attribute", "text"]
Precision = Literal["fp32", "bf16", "auto"]  # auto: bf16 where the machine gains by it
OneView = Literal["semantic", "collaborative", "fused-concat", "fused-svd", "multitask"]
TaskName = Literal["nrip", "nsip", "nsqp", "desc2id", "id2desc", "adhoc"]


@dataclass(frozen=True)
class DataConfig:
    # files: your own; the others are described by `gensar download --list`
    source: Literal["shop", Amazon, Logs, "files"] = setting("shop", "where the log comes from")
    seed: int = setting(0, "seed of all that is drawn: shop, search twins", low=0, high=MAX_SEED)
    num_items: int = setting(1500, "shop only: items in the catalogue", low=72)  # six leaves of 12
    num_users: int = setting(3000, "shop only: users", low=1)
    num_events: int = setting(30000, "shop only: events of both tasks together", low=5)
    # as the publisher's file names write it
    category: str = setting("Electronics", "amazon: the category", needed=True)
    published: bool = setting(True, "amazon, electronics: published queries, where there are any")
    # k-core: what leaves may take others below the floor, so it is applied again and again
    min_item_events: int = setting(0, "not shop, beauty: items with fewer leave; 0: off", low=0)
    # Ai et al. 2017
    search_rate: float = setting(0.758, "share of purchases with a search twin", low=0, high=1)
    query_families: tuple[Family, ...] = setting(
        ("category",), "kinds of semi-synthetic queries, in equal shares", needed=True
    )
    # one time step each for train, validation and test
    min_events: int = setting(3, "users with fewer time steps are dropped", low=3)
    # joint-time: a user's last time step tests both tasks; each-task: each task's last step, what
    # follows the first of them is left out; per-task: the paper's release, which leaks;
    # auto: joint-time, unless it starves a task
    split: Literal["joint-time", "each-task", "per-task", "auto"] = setting(
        "joint-time", "which events train, validate and test (own files: auto)"
    )
    # auto: keep where the log repeats items often
    seen_items: Literal["auto", "leave-out", "keep"] = setting(
        "auto", "whether recommendation may answer with items of the history"
    )
    # of each kind of queries
    unseen_rate: float = setting(0.0, "share of queries kept from training", low=0, below=1)
    items: str = setting("", "files: path of the items: csv, json, jsonl (or .gz), parquet, folder")
    events: str = setting("", "files: path of the events, one row per purchase, click or rating")
    queries: str = setting("", "files: path of query texts, where events name them by query_id")
    columns: tuple[str, ...] = setting((), "files: table.field=column, where the guess is wrong")
    # false: the columns are called column_1, column_2, ...
    header: bool = setting(True, "files: the first row of a csv file names its columns")
    separator: str = setting("", "files: what parts cells of a csv file (; | :: tab); '': guessed")
    encoding: str = setting("", "files: e.g. latin-1, cp1252, shift_jis; '': UTF-8")
    order: Literal["time", "file"] = setting("time", "files: what orders events: time, or rows")
    # semi-synthetic, as with Beauty
    make_search: bool = setting(False, "files: queries from category paths, if the log has none")
    # of each table; more of them stop the reading
    max_drop_rate: float = setting(0.01, "files: damaged rows that may be dropped", low=0, high=1)


@dataclass(frozen=True)
class EmbeddingsConfig:
    seed: int = setting(0, "seed of weights, order, dropout, projections", low=0, high=MAX_SEED)
    # minilm comes in a package, lsa needs no model, the others are downloaded
    encoder: str = setting(
        "minilm", "minilm | lsa | bge | e5 | gte | multilingual | name or folder", needed=True
    )
    max_tokens: int = setting(128, "text cut, word pieces (paper: 256)", low=1)
    text_batch: int = setting(64, "texts per batch of the encoder", low=1)
    text_precision: Precision = setting("fp32", "number format of the encoder's matrix products")
    lsa_dim: int = setting(256, "lsa only: directions kept, at most", low=1)
    # sasrec reads sequences; svd counts who met what, without training; auto: better on validation
    collaborative: Literal["sasrec", "svd", "auto"] = setting(
        "sasrec", "where the collaborative view comes from"
    )
    dim: int = setting(64, "d_col, width of SASRec and of the collaborative view", low=1)
    num_layers: int = setting(2, "SASRec blocks", low=1)
    num_heads: int = setting(2, "SASRec attention heads", low=1)
    max_length: int = setting(20, "SASRec history, items; longer ones: windows", low=1)
    dropout: float = setting(0.3, "SASRec dropout", low=0, below=1)
    # ce: softmax over all items; bce, bpr: one random negative per position
    loss: Literal["ce", "bce", "bpr"] = setting("ce", "SASRec loss")
    lr: float = setting(1e-3, "AdamW learning rate of the first epoch", above=0)
    # falls in a straight line; 1: constant
    lr_end: float = setting(0.1, "share of lr in the last of max_epochs", low=0, high=1)
    weight_decay: float = setting(0.01, "AdamW weight decay", low=0)
    batch_size: int = setting(64, "windows of users' items per step", low=1)
    max_epochs: int = setting(16, "upper bound of SASRec's epochs, see min_steps", low=1)
    # a small log is read more often
    min_steps: int = setting(1000, "floor of SASRec's steps; 0: epochs alone count", low=0)
    patience: int = setting(5, "validations without a better NDCG@10 before it stops", low=1)
    eval_every: int = setting(2, "epochs between validations", low=1)
    # a safety net: the best epoch so far is kept
    max_minutes: float = setting(10.0, "wall-clock bound of SASRec's training, minutes", low=0)
    # their mean is its collaborative vector
    cold_neighbours: int = setting(10, "text neighbours of an item without an event", low=1)
    # adapter: small networks on frozen text vectors
    joint: Literal["none", "adapter"] = setting("none", "a third view, learned from both tasks")
    joint_dim: int = setting(64, "width of the joint view", low=1)
    # stops after 3 epochs without a better validation
    joint_epochs: int = setting(12, "upper bound of its epochs", low=1)
    # small is sharp
    joint_temperature: float = setting(0.15, "cosines are divided by it in the loss", above=0)
    precision: Precision = setting("fp32", "number format of SASRec's matrix products")


@dataclass(frozen=True)
class IdentifiersConfig:
    seed: int = setting(0, "seed of initialisation and k-means", low=0, high=MAX_SEED)
    # dual: shared trunk and two branches; separate: no trunk; OneView: one identifier of one vector
    # (multitask: of the joint view); random: the control, codes that look at no vector
    strategy: Literal["dual", "separate", OneView, "random"] = setting(
        "dual", "what is quantized, and whether an item has two identifiers or one"
    )
    # rq-vae: the paper's; balanced: RQ-KMeans with equal shares per code; pq: parts, no residuals
    quantizer: Literal["rq-vae", "rq-kmeans", "balanced", "pq"] = setting(
        "rq-kmeans", "how a vector becomes codes (strategy random uses none)"
    )
    # nearest: free last code; sinkhorn: the paper's, then nearest; extra-level: a counter
    uniqueness: Literal["nearest", "sinkhorn", "extra-level"] = setting(
        "nearest", "how items with equal codes are told apart"
    )
    num_levels: int = setting(
        4, "L = L_m + L_n, codes per identifier; 0: from the catalogue", low=0, high=MAX_LEVELS
    )
    num_shared: int = setting(2, "dual: L_m, levels both views share", low=0, high=MAX_LEVELS)
    codebook_size: int = setting(
        64, "K, codewords per level (paper: 256); 0: from the catalogue", low=0, high=65_536
    )
    # of rq-vae's z_s and z_c; else principal components kept (fused-concat keeps all)
    latent_dim: int = setting(32, "d, width of a latent vector", low=1)
    hidden: tuple[int, ...] = setting((512, 256, 128, 64), "rq-vae: encoder widths", low=1)
    # a third of them before there are codebooks
    epochs: int = setting(60, "rq-vae: epochs (paper: 500)", low=1)
    batch_size: int = setting(512, "rq-vae: items per step (paper: 1024)", low=1)
    lr: float = setting(1e-3, "rq-vae: AdamW learning rate", above=0)
    commitment: float = setting(0.25, "rq-vae: weight of the commitment loss, mu", low=0)
    precision: Precision = setting("fp32", "rq-vae: number format of training's matrix products")
    kmeans_iterations: int = setting(25, "Lloyd iterations per level", low=1)


@dataclass(frozen=True)
class TrainingConfig:
    seed: int = setting(0, "seed of weights, order, prompts, dropout", low=0, high=MAX_SEED)
    # pretrained: a T5 or mT5, or a decoder such as Llama or Qwen
    backbone: str = setting(
        "t5-micro",
        "t5-micro | -mini | -small | gpt-... | tree-... | pretrained: name or folder",
        needed=True,
    )
    revision: str = setting("", "pretrained: commit, tag or branch; '': its newest")
    lora_rank: int = setting(0, "pretrained: rank of LoRA's adapters; 0: train all weights", low=0)
    # nrip, nsip, nsqp: next recommended item, search item, search query; desc2id, id2desc: an
    # item's text <-> its identifiers; adhoc: a query made from an item's text -> the item
    tasks: tuple[TaskName, ...] = setting(("nrip", "nsip"), "what is learned together", needed=True)
    # share of its examples in an epoch, relative to its size
    task_weights: tuple[float, ...] = setting((1.0, 1.0), "weight of each of tasks", above=0)
    # level: softmax over the level's codes; vocabulary: over every token, as Hugging Face scores;
    # catalogue: a tree's whole identifiers compete, a code is worth what the items below it are;
    # auto: catalogue for a tree of at most 50,000 items, else level
    head: Literal["level", "vocabulary", "catalogue", "auto"] = setting(
        "level", "what a code competes with"
    )
    num_text_tokens: int = setting(2000, "from scratch: size of the BPE vocabulary", low=260)
    # word pieces come with them
    warm_embeddings: bool = setting(False, "from scratch: word vectors of all-MiniLM-L6-v2")
    # a tree's answer: own: each task by its identifier; recommend, search, both: these tasks by the
    # even mixture of both identifiers
    views: Literal["own", "recommend", "search", "both"] = setting(
        "own", "tree: which tasks are answered by both identifiers"
    )
    max_history: int = setting(50, "tree: items per history; longer ones: windows", low=1)
    # an item read in a history is a part of what it is as an answer
    item_vectors: bool = setting(False, "tree: items start from the collaborative view, see above")
    max_recommend: int = setting(5, "recommended items per prompt's history (paper: 5)", low=0)
    max_search: int = setting(5, "search sessions per prompt's history (paper: 5)", low=0)
    history_queries: bool = setting(True, "past searches show query and click; false: the click")
    # behaviour tokens part the items already
    history_separator: bool = setting(False, "'; ' after each item of the history (the paper)")
    max_query_tokens: int = setting(24, "query cut, text tokens (paper: 64)", low=1)
    max_text_tokens: int = setting(64, "item text cut, text tokens (paper: 256)", low=1)
    prompts: bool = setting(True, "a task prompt before the history, paraphrased in training")
    behaviour_tokens: bool = setting(True, "mark queries and items by what was done: <R_I>, <S_Q>")
    # statistics: words that set the item's text apart
    pseudo_queries: str = setting(
        "statistics", "adhoc: statistics | a query model's name or folder", needed=True
    )
    num_pseudo_queries: int = setting(8, "adhoc: queries made per item", low=1)
    lr: float = setting(1e-3, "peak learning rate (paper: 1e-3)", above=0)
    weight_decay: float = setting(0.01, "AdamW weight decay", low=0)
    warmup_rate: float = setting(0.05, "share of steps while lr rises (paper: 0.01)", low=0, high=1)
    # and no output scale; T5 starts with 1 and scales its output
    small_embeddings: bool = setting(False, "from scratch: embeddings of deviation d^-1/2")
    dropout: float = setting(0.1, "dropout of the backbone", low=0, below=1)
    label_smoothing: float = setting(0.0, "of the cross-entropy over codes", low=0, below=1)
    batch_size: int = setting(256, "examples per micro-batch and process", low=1)
    # a larger batch in the same memory
    accumulate: int = setting(1, "micro-batches per optimiser step and process", low=1)
    # less memory, slower
    gradient_checkpointing: bool = setting(False, "compute activations twice, keep none")
    epochs: int = setting(10, "upper bound of passes over the mixture, see min_steps", low=1)
    # a small log is read more often
    min_steps: int = setting(0, "floor of optimiser steps; 0: epochs alone count", low=0)
    # a safety net: the best validation so far is kept
    max_minutes: float = setting(10.0, "wall-clock bound, minutes", low=0)
    eval_every: int = setting(1, "epochs between validations", low=1)
    eval_sample: int = setting(500, "validation targets per task, a fixed sample", low=1)
    eval_beams: int = setting(10, "beams of the validation ranking", low=1)
    patience: int = setting(5, "validations without a better score before it stops", low=1)
    precision: Precision = setting("fp32", "number format of matrix products")
    # each epoch ends with one
    checkpoint_minutes: float = setting(5.0, "minutes between checkpoints of an epoch", low=0)
    # any other tracker of Accelerate, if its package is there
    tracker: str = setting("none", "none | tensorboard | another of Accelerate", needed=True)


@dataclass(frozen=True)
class DecodingConfig:
    num_beams: int = setting(30, "beams of the constrained search (paper: 30)", low=1)
    top_k: int = setting(20, "items kept per query", low=1)
    batch_size: int = setting(64, "queries decoded together", low=1)
    precision: Precision = setting("fp32", "number format of matrix products")
    split: Literal["test", "validation"] = setting("test", "which targets are decoded")
    exact: bool = setting(False, "widen a query's beams until its list is provably the best top_k")
    # lonely items gain by it
    renormalise: bool = setting(False, "a code competes with codes that the trie allows only")
    # joint+channel: the model's search, times how likely the query's words are, given the item
    channel: Literal["none", "words"] = setting("none", "also search by joint+channel")
    weights: tuple[float, ...] = setting(
        (), "channel: history, likelihood, popularity; empty: fitted on validation", low=0
    )


@dataclass(frozen=True)
class EvaluationConfig:
    seed: int = setting(0, "seed of bootstrap and sampled candidates", low=0, high=MAX_SEED)
    ks: tuple[int, ...] = setting((5, 10, 20), "cut-offs of Recall and NDCG", low=1, needed=True)
    num_bootstrap: int = setting(1000, "bootstrap resamples per interval", low=1)
    confidence: float = setting(0.95, "level of the interval", above=0, below=1)
    num_negatives: int = setting(99, "sampled candidates beside the target in 1+99", low=1)
    # all targets are ranked in full
    max_sampled: int = setting(2000, "targets per task ranked among sampled candidates", low=1)


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
