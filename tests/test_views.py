"""Item views: encoders by name, SVD, BPR, the joint view, cold items, fusing, agreement, maps. By
hand or by numpy.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from gensar_lite.artifacts import ArtifactError, Corpus, ItemEmbeddings, Workspace, check_vectors
from gensar_lite.config import ConfigError, EmbeddingsConfig, override, preset
from gensar_lite.data import prepare
from gensar_lite.embeddings import (
    embed,
    encode,
    encode_queries,
    load_joint,
    load_ranker,
    train_sasrec,
)
from gensar_lite.embeddings import semantic as semantic_room
from gensar_lite.embeddings.agreement import (
    fill_cold,
    label_agreement,
    linear_cka,
    neighbour_overlap,
    neighbours,
)
from gensar_lite.embeddings.collaborative import SVDRanker, pairwise, train_matrix
from gensar_lite.embeddings.encoders import ENCODERS, Encoder, find_encoder
from gensar_lite.embeddings.fused import fused_concat, principal_components, standardise
from gensar_lite.embeddings.joint import (
    Examples,
    JointModel,
    JointRanker,
    batch_loss,
    contrastive,
    joint_examples,
    train_joint,
)
from gensar_lite.embeddings.judge import FullRanking
from gensar_lite.embeddings.maps import flat_map
from gensar_lite.embeddings.sasrec import SASRec
from gensar_lite.embeddings.semantic import LSA, fixed_batches
from gensar_lite.embeddings.stage import cold_items

SMALL = EmbeddingsConfig(
    dim=8, max_epochs=1, eval_every=1, max_length=5, joint_dim=8, joint_epochs=1
)
WORDS = ["red", "blue", "green", "tent", "stove", "lamp", "rope", "for", "the", "garden"]


def texts_of(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 9))) for _ in range(count)]


def random_rows(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


# ------------------------------------------------------------------------------------ text encoders


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A sentence-transformers folder of two tiny random layers with prompts of its own."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("checkpoint")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *WORDS,
        "ask",
        "say",
        "query",
        "passage",
        ":",
    ]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    shape = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    BertModel(BertConfig(vocab_size=len(words), **shape)).save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"))
    prompts = {"query": "ask: ", "document": "say: "}
    SentenceTransformer(modules=[transformer, Pooling(16)], prompts=prompts).save(
        str(folder / "whole")
    )
    return folder / "whole"


def plainly(folder, texts: list[str]) -> np.ndarray:
    """What sentence-transformers itself makes of texts, one by one, without any prompt."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return np.stack(
        [model.encode(text, normalize_embeddings=True, show_progress_bar=False) for text in texts]
    )


def test_short_names_are_pinned_and_other_names_pass_through(tmp_path):
    assert all(len(ENCODERS[name].revision) == 40 for name in ("bge", "e5", "gte"))
    assert find_encoder("e5")[2:4] == ("passage: ", "query: ")
    assert find_encoder("bge").query_prefix.startswith("Represent this sentence")
    assert find_encoder("some/model") == Encoder("some/model")
    assert find_encoder("some/model@abc") == Encoder("some/model", "abc")
    (tmp_path / "a@b").mkdir()
    assert find_encoder(str(tmp_path / "a@b")).source == str(tmp_path / "a@b")
    assert (find_encoder("minilm").item_prefix, find_encoder("minilm").query_prefix) == ("", "")


def test_named_encoders_put_their_prefixes(checkpoint, monkeypatch):
    monkeypatch.setitem(
        ENCODERS, "e5", ENCODERS["e5"]._replace(source=str(checkpoint), revision=None)
    )
    told = EmbeddingsConfig(encoder="e5")
    texts = ["red tent", "blue lamp for the garden"]
    np.testing.assert_allclose(
        encode(texts, told), plainly(checkpoint, [f"passage: {t}" for t in texts]), atol=1e-5
    )
    found = encode_queries(texts, [], told)
    np.testing.assert_allclose(
        found, plainly(checkpoint, [f"query: {t}" for t in texts]), atol=1e-5
    )
    assert not np.allclose(found, plainly(checkpoint, texts), atol=1e-3)


def test_any_checkpoint_keeps_its_own_prompts(checkpoint, tmp_path):
    told, texts = EmbeddingsConfig(encoder=str(checkpoint)), ["red tent", "rope"]
    rows = encode(texts, told, tmp_path)
    np.testing.assert_allclose(rows, plainly(checkpoint, [f"say: {t}" for t in texts]), atol=1e-5)
    asked = encode_queries(texts, [], told, tmp_path)  # same texts, same cache: another file
    np.testing.assert_allclose(asked, plainly(checkpoint, [f"ask: {t}" for t in texts]), atol=1e-5)
    assert len(list(tmp_path.iterdir())) == 2


def test_rows_do_not_depend_on_the_order_of_texts(checkpoint, tmp_path):
    told, texts = EmbeddingsConfig(encoder=str(checkpoint), text_batch=8), texts_of(60)
    rows = encode(texts, told, tmp_path)
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_array_equal(encode([texts[i] for i in order], told), rows[order])
    assert len({row.tobytes() for row in rows}) == len(set(texts))
    encode(texts[::-1], told, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1, (
        "the same content in another order is the same content"
    )


def test_other_weights_under_the_same_name_are_other_content(checkpoint, tmp_path):
    import shutil

    copy, cache = tmp_path / "model", tmp_path / "cache"
    shutil.copytree(checkpoint, copy)
    told = EmbeddingsConfig(encoder=str(copy))
    before = encode(["red tent"], told, cache)
    weights = next(copy.rglob("*.safetensors"))
    save_file(
        {k: v + 0.1 for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"}
    )
    assert not np.allclose(encode(["red tent"], told, cache), before, atol=1e-3)


def test_bf16_is_near_fp32_and_kept_apart(checkpoint, tmp_path):
    texts = texts_of(20)
    told = [EmbeddingsConfig(encoder=str(checkpoint), text_precision=p) for p in ("fp32", "bf16")]
    full, half = (encode(texts, one, tmp_path) for one in told)
    np.testing.assert_allclose((full * half).sum(axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)
    assert len(list(tmp_path.iterdir())) == 2


@given(st.lists(st.text("ab ", max_size=6), max_size=40), st.integers(1, 9), st.randoms())
@settings(max_examples=60, deadline=None)
def test_batches_are_fixed_by_the_set_of_texts(texts, size, random):
    batches, rows = fixed_batches(texts, size)
    flat = [text for batch in batches for text in batch]
    assert [flat[row] for row in rows] == texts
    assert sorted(flat) == sorted(set(texts))
    assert [len(t) for t in flat] == sorted(len(t) for t in flat)
    assert all(len(batch) == size for batch in batches[:-1])
    mixed = texts + texts[: len(texts) // 2]
    random.shuffle(mixed)
    assert fixed_batches(mixed, size)[0] == batches


@pytest.mark.slow
def test_two_processes_make_the_vectors_of_one(checkpoint, tmp_path):
    changes = {"encoder": str(checkpoint), "text_batch": 8, "collaborative": "svd"}
    ws = Workspace.open(
        override(preset("tiny"), {f"embeddings.{k}": v for k, v in changes.items()}), tmp_path
    )
    prepare(ws)
    words = [w for k, v in changes.items() for w in ("--set", f"embeddings.{k}={v}")]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
    ]
    command += [
        "-m",
        "gensar_lite",
        "embeddings",
        "--preset",
        "tiny",
        "--workspace",
        str(tmp_path),
        *words,
    ]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (done.stdout.count("built"), done.stdout.count("reused")) == (1, 1)
    two = ItemEmbeddings.load(ws.require("embeddings"))
    items = Corpus.load(ws.require("data")).items
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one = encode(
        semantic_room.item_texts(items["title"].tolist(), items["text"].tolist()),
        ws.config.embeddings,
    )
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(two.semantic, one)


def test_lsa_is_the_svd_of_tf_idf():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = texts_of(30)
    counts = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+").fit_transform(texts).toarray()
    u, s, _ = np.linalg.svd(counts, full_matrices=False)
    by_hand = (u * s)[:, :4]
    by_hand /= np.linalg.norm(by_hand, axis=1, keepdims=True)
    ours = encode(texts, EmbeddingsConfig(encoder="lsa", lsa_dim=4))
    np.testing.assert_allclose(ours @ ours.T, by_hand @ by_hand.T, atol=1e-4)
    asked = encode_queries(
        ["red tent", texts[3], "zeppelin"], texts, EmbeddingsConfig(encoder="lsa", lsa_dim=4)
    )
    np.testing.assert_allclose(asked[1], ours[3], atol=1e-5)
    assert not asked[2].any(), "a word that no item has"
    assert LSA.fit(["a b", "b c"], 256, 0).transform(["b"]).shape == (1, 2), (
        "no more directions than there are"
    )


def test_lsa_without_a_word_says_so():
    with pytest.raises(ArtifactError, match="2 item texts hold no word"):
        encode(["...", "!"], EmbeddingsConfig(encoder="lsa"))


# ------------------------------------------------------------------------- learned from train alone


def with_other(corpus: Corpus, splits: tuple[str, ...]) -> Corpus:
    """The same log with other items in every event of `splits`."""
    events, rng = corpus.events.copy(), np.random.default_rng(9)
    rows = events["split"].isin(splits).to_numpy()
    events.loc[rows, "item_id"] = rng.integers(corpus.num_items, size=rows.sum())
    assert (events["item_id"] != corpus.events["item_id"]).any()
    return Corpus(corpus.items, corpus.queries, events, corpus.relevance).check()


def learned(model: str, corpus: Corpus, **changes) -> np.ndarray:
    told = EmbeddingsConfig(**{**vars(SMALL), **changes})
    if model == "svd":
        return SVDRanker.fit(corpus, told).item_vectors
    if model == "joint":
        texts = random_rows(corpus.num_items, 6), random_rows(len(corpus.queries), 6, seed=1)
        return train_joint(corpus, *texts, told)[0].item_vectors().numpy()
    return train_sasrec(corpus, EmbeddingsConfig(**{**vars(told), "loss": model}))[
        0
    ].item_vectors.numpy()


@pytest.mark.parametrize("model", ["ce", "bce", "bpr", "svd", "joint"])
def test_held_out_events_change_nothing(model):
    """With a single validation nothing is chosen, and other validation or test events leave every
    bit as it is.
    """
    corpus = small_corpus(num_users=40, twin_rate=0.3)
    vectors = learned(model, corpus)
    assert np.isfinite(vectors).all()
    np.testing.assert_array_equal(
        learned(model, with_other(corpus, ("validation", "test"))), vectors
    )
    trained = with_other(corpus, ("train",))
    assert not np.array_equal(learned(model, trained), vectors), "train events do matter"


@pytest.mark.parametrize("model", ["ce", "joint"])
def test_test_events_choose_no_epoch(model):
    corpus = small_corpus(num_users=40)
    several = {"max_epochs": 4, "joint_epochs": 4}
    vectors = learned(model, corpus, **several)
    np.testing.assert_array_equal(learned(model, with_other(corpus, ("test",)), **several), vectors)


def test_bpr_by_hand():
    torch.manual_seed(0)
    model, hidden, goal = SASRec(5, SMALL), torch.randn(3, 8), torch.tensor([0, 4, 2])
    torch.manual_seed(7)
    found = pairwise(model, hidden, goal)
    torch.manual_seed(7)
    other = torch.randint_like(goal, 5)
    scores = (hidden @ model.items.weight[:5].T).detach()
    won = [1 / (1 + np.exp(-float(scores[i, goal[i]] - scores[i, other[i]]))) for i in range(3)]
    assert found.item() == pytest.approx(-np.log(won).mean(), rel=1e-5)


def test_bpr_learns_a_cycle():
    rows = [(u, t, "recommend", (u + t) % 12, -1) for u in range(60) for t in range(8)]
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    corpus = small_corpus(num_items=12, events=events)
    told = EmbeddingsConfig(
        dim=32, max_epochs=40, eval_every=10, dropout=0.0, lr=5e-3, patience=9, loss="bpr"
    )
    assert (
        train_sasrec(corpus, told)[1][-1]["ndcg@10"] > 0.9
    )  # six candidates in any order would give 0.55


# ---------------------------------------------------------------------------------------------- svd


def test_svd_against_numpy():
    corpus = small_corpus(num_users=40, twin_rate=0.5)
    matrix = np.zeros((corpus.num_users, corpus.num_items))
    for event in corpus.events.itertuples():
        if event.split == "train" and event.task == "recommend":
            matrix[event.user_id, event.item_id] = 1
    np.testing.assert_array_equal(train_matrix(corpus).toarray(), matrix)
    damping = np.sqrt(np.maximum(matrix.sum(axis=0), 1))
    _, s, v = np.linalg.svd(matrix / damping)
    ranker = SVDRanker.fit(corpus, EmbeddingsConfig(dim=6))
    np.testing.assert_allclose(ranker.strength, s[:6], rtol=1e-3)
    whole = SVDRanker.fit(corpus, EmbeddingsConfig(dim=500))  # more than there are: all of them
    products = (matrix / damping).T @ (matrix / damping)
    np.testing.assert_allclose(whole.item_vectors @ whole.item_vectors.T, products, atol=1e-4)
    targets = corpus.targets("test")
    met = np.zeros((len(targets), corpus.num_items))
    for row, event in enumerate(targets.itertuples()):
        log = corpus.events
        met[
            row, log.loc[(log["user_id"] == event.user_id) & (log["time"] < event.time), "item_id"]
        ] = 1
    low = v[:6].T @ v[:6]
    np.testing.assert_allclose(ranker.scores(targets), (met / damping) @ low * damping, atol=5e-3)


def test_svd_recommends_inside_a_group():
    rng = np.random.default_rng(0)
    rows = [
        (u, t, "recommend", item + 20 * (u % 2), -1)
        for u in range(80)
        for t, item in enumerate(rng.permutation(20)[:8])
    ]
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    corpus = small_corpus(num_items=40, events=events)
    targets = corpus.targets("test")
    top = SVDRanker.fit(corpus, EmbeddingsConfig(dim=2)).scores(targets).argsort(axis=1)[:, -10:]
    assert (top // 20 == (targets["user_id"].to_numpy() % 2)[:, None]).all()


# -------------------------------------------------------------------------------------------- joint


def test_contrastive_by_hand():
    anchors, items = (
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]),
    )
    goal, counts = torch.tensor([0, 1]), torch.tensor([4.0, 1.0, 2.0])
    total = 0.0
    for anchor, right in zip(anchors, goal, strict=True):
        weight = [
            np.exp(float(anchor @ item) / 0.5) / float(n)
            for item, n in zip(items, counts, strict=True)
        ]
        total -= np.log(weight[right] / sum(weight))
    assert contrastive(anchors, items, goal, counts.log(), 0.5).item() == pytest.approx(
        total / 2, rel=1e-5
    )


def test_joint_examples_are_train_events_with_something_to_go_by():
    corpus = small_corpus(num_users=30)
    found = joint_examples(corpus.events)
    rows = []
    for event in corpus.events.itertuples():
        log = corpus.events[
            (corpus.events["user_id"] == event.user_id) & (corpus.events["time"] < event.time)
        ]
        if event.split == "train" and (event.task == "search" or len(log)):
            rows.append((event.query_id, event.item_id, log["item_id"].tolist()[-10:]))
    read = [[i for i in row if i >= 0] for row in found.history.tolist()]
    assert list(zip(found.query.tolist(), found.item.tolist(), read, strict=True)) == rows


def test_a_batch_is_the_whole_catalogue_cut_to_its_targets():
    corpus = small_corpus(num_users=30)
    torch.manual_seed(0)
    model = JointModel(
        torch.randn(corpus.num_items, 6), torch.randn(len(corpus.queries), 6), 4
    ).eval()
    torch.nn.init.normal_(model.free.weight)
    examples, log_share = joint_examples(corpus.events), torch.rand(corpus.num_items)
    part = Examples(*(x[5:25] for x in examples))
    table = model.item_vectors()
    competing = sorted(set(part.item.tolist()))
    total = 0.0
    with torch.no_grad():
        for history, query, item in zip(*part, strict=True):
            anchor = model.queries(query[None]) if query >= 0 else model.users(history[None], table)
            scores = (anchor @ table[competing].T / 0.5 - log_share[competing])[0]
            total -= float(scores.log_softmax(dim=0)[competing.index(int(item))])
        assert float(batch_loss(model, part, log_share, 0.5)) == pytest.approx(total / 20, rel=1e-5)


def test_a_user_is_made_of_items_and_ranked_by_cosine():
    corpus = small_corpus()
    torch.manual_seed(0)
    model = JointModel(
        torch.randn(corpus.num_items, 6), torch.randn(len(corpus.queries), 6), 4
    ).eval()
    table = model.item_vectors()
    torch.testing.assert_close(table.norm(dim=1), torch.ones(corpus.num_items))
    with torch.no_grad():
        both = model.users(torch.tensor([[-1, 3, 5], [-1, -1, 5]]), table)
        for row, met in enumerate(([3, 5], [5])):
            mixed = model.user(torch.cat([table[met].mean(dim=0), table[5]]))
            torch.testing.assert_close(both[row], mixed / mixed.norm())
    targets = corpus.targets("test")
    scores = JointRanker(model, corpus.events).scores(targets)
    searched = (targets["task"] == "search").to_numpy()
    with torch.no_grad():
        asked = model.queries(torch.tensor(targets["query_id"].to_numpy()[searched]))
    np.testing.assert_allclose(scores[searched], (asked @ table.T).numpy(), atol=1e-6)
    assert 0 < searched.sum() < len(targets)


def test_the_joint_view_learns_both_tasks():
    """Queries name an item's group, and users stay inside theirs; text tells groups, so both can be
    learned.
    """
    rng, rows = np.random.default_rng(0), []
    for user in range(150):
        group = user % 3
        for time, item in enumerate(rng.permutation(10)[:7]):
            search = bool(rng.random() < 0.5)
            rows.append(
                (
                    user,
                    time,
                    "search" if search else "recommend",
                    10 * group + item,
                    group if search else -1,
                )
            )
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    corpus = small_corpus(num_items=30, events=events)
    centre = random_rows(3, 8)
    text = np.repeat(centre, 10, axis=0) + random_rows(30, 8, seed=1) / 3
    told = EmbeddingsConfig(joint_epochs=12, joint_dim=16)
    _, curve = train_joint(
        corpus, text, random_rows(3, 8, seed=2), told
    )  # query vectors unlike the items' own
    best = max(curve, key=lambda row: row["score"])
    assert best["search/recall@10"] > 0.85  # ten items answer a query
    assert best["recommend/recall@10"] > 0.85


def test_a_log_without_searches_has_a_joint_view_all_the_same():
    rows = [(u, t, "recommend", (u + t) % 12, -1) for u in range(60) for t in range(8)]
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    corpus = small_corpus(num_items=12, events=events)
    told = EmbeddingsConfig(encoder="lsa", joint_epochs=12)
    texts = corpus.items["title"].tolist()
    _, curve = train_joint(corpus, encode(texts, told), encode_queries([], texts, told), told)
    assert "search/ndcg@10" not in curve[0]
    assert curve[-1]["score"] > 0.9  # the next item is always the next number


def test_an_item_nobody_met_stays_where_its_text_puts_it():
    corpus = small_corpus(num_items=60, num_users=8)
    cold = cold_items(corpus)
    assert cold.any()
    model, _ = train_joint(corpus, random_rows(60, 6), random_rows(3, 6), SMALL)
    free = model.free.weight.detach().abs().sum(dim=1).numpy()
    assert not free[cold].any()
    assert free[~cold].any()


def test_a_joint_loss_that_is_not_finite_stops():
    with pytest.raises(ArtifactError, match="joint view's loss became"):
        train_joint(
            small_corpus(), np.full((40, 6), np.nan, dtype=np.float32), random_rows(3, 6), SMALL
        )


def test_full_ranking_against_sorting():
    corpus, rng = small_corpus(num_users=30, num_items=25), np.random.default_rng(0)
    table, given = rng.normal(size=(len(corpus.events), 25)), []

    class Fixed:
        def scores(self, targets):
            given.append(table[targets["event_id"].to_numpy()])
            return given[-1]

    targets, hits, gains = corpus.targets("validation"), [], []
    for event in targets.itertuples():
        log = corpus.events[
            (corpus.events["user_id"] == event.user_id) & (corpus.events["time"] < event.time)
        ]
        known = set(log["item_id"]) if event.task == "recommend" else set()
        order = [i for i in np.argsort(-table[event.event_id]) if i not in known]
        place = order.index(event.item_id) + 1
        hits.append(place <= 10)
        gains.append(1 / np.log2(place + 1) if place <= 10 else 0)
    found = FullRanking(corpus, targets, batch=7)(Fixed())
    assert found == pytest.approx({"recall@10": np.mean(hits), "ndcg@10": np.mean(gains)})
    np.testing.assert_array_equal(
        np.concatenate(given), table[targets["event_id"]]
    )  # the ranker's own are left alone


# ----------------------------------------------------------------------------- cold, fused, refused


def test_cold_items_by_counting():
    corpus = small_corpus(num_items=60, num_users=8)
    for task in (None, "recommend"):
        log = corpus.events[corpus.events["split"] == "train"]
        met = set(log["item_id"] if task is None else log.loc[log["task"] == task, "item_id"])
        assert cold_items(corpus, task).tolist() == [i not in met for i in range(60)]


def test_a_cold_item_is_the_weighted_mean_of_its_text_neighbours():
    semantic = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-1.0, 0.0], [0.0, -1.0]])
    collaborative = np.array([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0], [9.0, 9.0]])
    cold = np.array([True, False, False, False, False])
    filled = fill_cold(collaborative, semantic, cold, k=2)
    np.testing.assert_allclose(filled[0], [0.8 / 1.4, 0.6 / 1.4])
    np.testing.assert_array_equal(filled[1:], collaborative[1:])
    np.testing.assert_array_equal(collaborative[0], [9.0, 9.0])  # not in place
    alone = fill_cold(collaborative, semantic, np.array([True, True, True, False, False]), k=9)
    np.testing.assert_allclose(alone[0], [7.0, 7.0])  # nobody near: all count alike
    with pytest.raises(ArtifactError, match="no item has a train event"):
        fill_cold(collaborative, semantic, np.ones(5, dtype=bool), k=2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({1: np.nan, 3: np.inf}, r"2 of 5 joint rows hold NaN or infinity \(items 1, 3\)"),
        ({2: 0.0}, r"1 of 5 joint rows are zero \(items 2\)"),
    ],
)
def test_vectors_not_worth_quantizing_are_refused(rows, message):
    bad, good = random_rows(5, 3), random_rows(5, 2)
    for row, value in rows.items():
        bad[row] = value
    with pytest.raises(ArtifactError, match=message):
        ItemEmbeddings(good, good, joint=bad).check()
    with pytest.raises(ArtifactError, match=message):
        standardise(bad, "joint")
    check_vectors(good, "semantic")


def test_embeddings_keep_what_is_optional(tmp_path):
    views, cold = (
        [random_rows(5, d) for d in (4, 3, 2)],
        np.array([True, False, False, True, False]),
    )
    ItemEmbeddings(*views, cold=cold).check().save(tmp_path)
    back = ItemEmbeddings.load(tmp_path)
    np.testing.assert_array_equal(back.joint, views[2])
    assert (back.cold.dtype, back.cold.tolist()) == (np.bool_, cold.tolist())
    save_file(
        {"semantic": views[0], "collaborative": views[1]}, tmp_path / "embeddings.safetensors"
    )
    old = ItemEmbeddings.load(tmp_path)  # of a version that knew neither
    assert (old.joint, old.cold) == (None, None)
    with pytest.raises(ArtifactError, match="5 semantic rows but 4 cold"):
        ItemEmbeddings(*views, cold=cold[:4]).check()


def test_fused_views_have_the_same_say():
    views = {"semantic": random_rows(50, 12) * 7 + 3, "collaborative": random_rows(50, 4, seed=1)}
    both = fused_concat(views)
    assert both.shape == (50, 16)
    np.testing.assert_allclose([(both[:, :12] ** 2).sum(), (both[:, 12:] ** 2).sum()], 50)
    np.testing.assert_allclose(both.mean(axis=0), 0, atol=1e-9)
    u, s, _ = np.linalg.svd(both, full_matrices=False)
    by_hand = (u * s)[:, :5]
    by_hand /= np.sqrt((by_hand**2).sum(axis=1).mean())
    components = principal_components(both, 5)
    np.testing.assert_allclose(components @ components.T, by_hand @ by_hand.T, atol=1e-9)
    assert principal_components(both, 99).shape == (50, 16)


# ---------------------------------------------------------------------------------------- agreement


def test_neighbours_against_enumeration():
    vectors, items = random_rows(30, 5), np.array([4, 0, 29])

    def cosine(i, j):
        return vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])

    by_hand = [
        sorted((j for j in range(30) if j != i), key=lambda j: -cosine(i, j))[:6] for i in items
    ]
    assert neighbours(vectors, 6, items).tolist() == by_hand
    assert neighbours(vectors, 6, block=7)[items].tolist() == by_hand
    assert neighbours(np.ones((4, 2)), 9).tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_overlap_and_labels_by_hand():
    first, second = np.array([[1, 2], [0, 2], [0, 1]]), np.array([[2, 1], [2, 3], [3, 4]])
    assert neighbour_overlap(first, second) == pytest.approx((2 + 1 + 0) / 6)
    assert neighbour_overlap(first, first) == 1
    labels = np.array(["a", "a", "b", "b"], dtype=object)
    assert label_agreement(np.array([[1, 2], [0, 3]]), labels) == 0.5
    assert label_agreement(np.array([[3, 1]]), labels, items=np.array([2])) == 0.5


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_cka_is_the_gram_matrices_cosine_and_ignores_rotation(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(12, 5)), rng.normal(size=(12, 3))
    centre = np.eye(12) - 1 / 12
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    assert linear_cka(x, y) == pytest.approx((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert linear_cka(x, 3 * x @ turn + 7) == pytest.approx(1)
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x))


# ---------------------------------------------------------------------------------- maps, the stage


def test_maps_are_the_same_every_time_and_kept(tmp_path):
    groups = np.repeat(random_rows(3, 10) * 8, 20, axis=0) + random_rows(60, 10, seed=1)
    pca = flat_map(groups, "pca", cache=tmp_path)
    assert pca.shape == (60, 2)
    assert not list(tmp_path.iterdir())
    first = flat_map(groups, "tsne", seed=3, cache=tmp_path)
    np.testing.assert_array_equal(flat_map(groups, "tsne", seed=3), first)
    (stored,) = tmp_path.iterdir()
    save_file({"xy": np.zeros((60, 2))}, stored)
    assert not flat_map(groups, "tsne", seed=3, cache=tmp_path).any(), "read, not computed"
    near = np.argsort(((first[:, None] - first) ** 2).sum(axis=2), axis=1)[:, 1:6]
    assert (near // 20 == np.arange(60)[:, None] // 20).mean() > 0.95
    with pytest.raises(ConfigError, match="'cube' is none of pca, tsne, umap"):
        flat_map(groups, "cube")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small shop embedded without any text model: LSA, SVD, joint."""
    changes = {
        "encoder": "lsa",
        "lsa_dim": 32,
        "collaborative": "svd",
        "joint": "adapter",
        "joint_epochs": 2,
    }
    config = override(preset("tiny"), {f"embeddings.{k}": v for k, v in changes.items()})
    ws = Workspace.open(config, tmp_path_factory.mktemp("views"))
    prepare(ws)
    embed(ws)
    return ws


def test_the_stage_writes_every_view_and_names_cold_items(built):
    found, corpus = (
        ItemEmbeddings.load(built.require("embeddings")),
        Corpus.load(built.require("data")),
    )
    shapes = [found.semantic.shape, found.collaborative.shape, found.joint.shape]
    assert shapes == [(200, 32), (200, 16), (200, 64)]
    said = built.meta("embeddings")["statistics"]
    cold = cold_items(corpus, "recommend")  # what the SVD learns from
    np.testing.assert_array_equal(found.cold, cold)
    assert 0 < said["cold"]["items"] == cold.sum()
    assert said["cold"]["first"] == np.flatnonzero(cold)[:10].tolist()
    raw = SVDRanker.fit(corpus, built.config.embeddings).item_vectors
    np.testing.assert_array_equal(found.collaborative[~cold], raw[~cold])
    expected = fill_cold(raw, found.semantic, cold, built.config.embeddings.cold_neighbours)
    np.testing.assert_allclose(found.collaborative, expected, atol=1e-6)


def test_the_stage_gives_its_rankers_back(built):
    corpus = Corpus.load(built.require("data"))
    name, ranker = load_ranker(built, corpus)
    targets = corpus.targets("validation").head(50)
    assert name == "svd"
    assert ranker.scores(targets).shape == (50, 200)
    joint = load_joint(built, corpus)
    np.testing.assert_allclose(
        joint.model.item_vectors(), ItemEmbeddings.load(built.require("embeddings")).joint
    )
    best = built.meta("embeddings")["statistics"]["joint_best"]
    again = FullRanking(corpus, corpus.targets("validation", "search"))(joint)
    assert again["ndcg@10"] == pytest.approx(best["search/ndcg@10"])


def test_no_joint_view_says_what_to_do(tmp_path):
    ws = Workspace.open(preset("tiny"), tmp_path)
    ws.build("data", lambda folder: small_corpus().save(folder) or {}, say=lambda _: None)
    views = ItemEmbeddings(random_rows(40, 4), random_rows(40, 4))
    ws.build("embeddings", lambda folder: views.save(folder) or {}, say=lambda _: None)
    with pytest.raises(ArtifactError, match=r"no joint view. Set embeddings\.joint=adapter"):
        load_joint(ws, small_corpus())
