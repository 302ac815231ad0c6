"""Search without training on searches: Bayes' rule by hand and by enumeration, the text encoder
beside plain cosines."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.config import EmbeddingsConfig
from gensar_lite.embeddings import SASRecRanker, encode, encode_queries, item_texts, minilm_folder
from gensar_lite.embeddings.collaborative import SVDRanker
from gensar_lite.embeddings.judge import FullRanking
from gensar_lite.embeddings.sasrec import SASRec
from gensar_lite.evaluation import bayes, dense
from gensar_lite.evaluation.baselines import top_k_run
from gensar_lite.evaluation.bayes import Bayes, bayes_name, tune_bayes
from gensar_lite.evaluation.dense import Dense
from gensar_lite.evaluation.runs import write_trec

TITLES = ("red tent", "blue tent", "red red lamp", "wool hat", "blue wool tent")
QUERIES = ("red tent", "wool", "red tent", "zebra", "blue zebra")  # two ids of one string


def corpus_of(rows: list[tuple], titles=TITLES, queries=QUERIES) -> Corpus:
    """`rows`: (user, time, item, split, query or -1)."""
    names = ["user_id", "time", "item_id", "split", "query_id"]
    events = pd.DataFrame(rows, columns=names)
    events = events.sort_values(["user_id", "time"], kind="stable", ignore_index=True)
    events["task"] = np.where(events["query_id"] >= 0, "search", "recommend")
    events["event_id"] = np.arange(len(events))
    items = pd.DataFrame({"item_id": range(len(titles)), "title": list(titles)})
    items = items.assign(text="", brand="", category="")
    table = pd.DataFrame({"query_id": range(len(queries)), "text": list(queries)})
    relevance = pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=int)
    return Corpus(items, table, events, relevance, False).check()


def five_items() -> Corpus:
    rows = [(0, 0, 0, "train", -1), (0, 1, 2, "train", -1), (0, 2, 0, "validation", 0)]
    rows += [(0, 3, 1, "test", 0), (1, 0, 2, "train", -1), (1, 1, 2, "train", 1)]
    rows += [(1, 2, 4, "test", 1), (2, 0, 0, "test", 2), (3, 0, 1, "test", 3), (4, 0, 1, "test", 4)]
    return corpus_of(rows)


class Table:
    """A recommender whose scores are written down, a row for each event."""

    def __init__(self, num_events: int, num_items: int, seed: int = 0):
        table = np.random.default_rng(seed).standard_normal((num_events, num_items))
        self.table = 3 * table.astype(np.float32)

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        return self.table[targets["event_id"].to_numpy()].copy()


# ---------------------------------------------------------------------------------- Bayes' rule


def by_hand(corpus: Corpus, logits, query: str, history: float, popularity: float, mu: float):
    """The score of every item for one search, number by number."""
    counts = [title.split() for title in corpus.items["title"]]
    words = [word for title in counts for word in title]
    train = corpus.events[corpus.events["split"] == "train"]["item_id"].tolist()
    shares = [(1 + train.count(item)) / (len(counts) + len(train)) for item in range(len(counts))]
    below = sum(math.exp(value) for value in logits)
    scores = []
    for item, title in enumerate(counts):
        likelihood = sum(
            math.log((title.count(w) + mu * words.count(w) / len(words)) / (len(title) + mu))
            for w in query.split()
            if w in words
        )
        preferred = math.log(math.exp(logits[item]) / below)
        scores.append(history * preferred + popularity * math.log(shares[item]) + likelihood)
    return scores


def test_scores_equal_a_computation_by_hand():
    corpus = five_items()
    ranker, targets = Table(len(corpus.events), 5), corpus.targets("test", "search")
    tuned = tune_bayes(corpus, ranker).scorer  # its words are smoothed by what was chosen
    scorer = Bayes(ranker, tuned.texts, tuned.words, tuned.prior, history=0.6, popularity=0.4)
    found = scorer.scores(targets)
    assert found.shape == (5, 5)
    for row, target in zip(found, targets.itertuples(), strict=True):
        logits, query = ranker.table[target.event_id], QUERIES[target.query_id]
        expected = by_hand(corpus, logits.astype(float), query, 0.6, 0.4, tuned.words.mu)
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_the_choice_is_the_best_of_all_by_full_ranking(monkeypatch):
    monkeypatch.setattr(bayes, "_BATCH", 7)
    corpus, ranker = searches(seed=1)
    tuned = tune_bayes(corpus, ranker)
    judge = FullRanking(corpus, corpus.targets("validation", "search"))
    assert judge(tuned.scorer)["ndcg@10"] == pytest.approx(
        tuned.record["validation_ndcg@10"], abs=5e-5
    )
    one = tuned.scorer
    for history in bayes.HISTORY:  # smoothed as chosen, every other pair of weights
        for popularity in bayes.POPULARITY:
            other = Bayes(ranker, one.texts, one.words, one.prior, history, popularity)
            assert judge(other)["ndcg@10"] <= judge(one)["ndcg@10"] + 1e-9
    assert tuned.record["choices"] == (len(bayes.MUS) * len(bayes.HISTORY) * len(bayes.POPULARITY))


def searches(seed: int, noise: float = 1.0, num_users: int = 60) -> tuple[Corpus, Table]:
    """A log in which everybody takes one of five items with the query's word, and a recommender
    that knows which, up to noise."""
    rng = np.random.default_rng(seed)
    colours = ("red", "blue", "green", "white")
    titles = [f"{colour} thing{number}" for colour in colours for number in range(5)]
    rows = []
    for user in range(num_users):
        for step, split in enumerate(("train", "train", "validation", "test")):
            query = int(rng.integers(4))
            item = 5 * query + int(rng.integers(5))
            rows.append((user, step, item, split, query))
    corpus = corpus_of(rows, titles, colours)
    ranker = Table(len(rows), len(titles), seed)
    ranker.table *= noise
    ranker.table[np.arange(len(rows)), corpus.events["item_id"]] += 4
    return corpus, ranker


def test_a_recommender_counts_for_as_much_as_it_knows():
    corpus, ranker = searches(seed=2, noise=0.1)
    assert tune_bayes(corpus, ranker).record["validation_ndcg@10"] == 1
    blind = Table(len(corpus.events), corpus.num_items, seed=9)
    blind.table *= 3
    assert tune_bayes(corpus, blind).record["history"] < bayes.HISTORY[0]
    words_alone = tune_bayes(corpus, blind).record["validation_ndcg@10"]
    assert 0.3 < words_alone < 0.8  # one of five that have the word


def with_items(corpus: Corpus, split: str, item: int) -> Corpus:
    """The corpus, whoever took anything in `split` having taken `item`."""
    changed = corpus.events["item_id"].where(corpus.events["split"] != split, item)
    events = corpus.events.assign(item_id=changed)
    return Corpus(corpus.items, corpus.queries, events, corpus.relevance, False).check()


def test_weights_are_chosen_on_validation_and_never_on_test():
    corpus, ranker = searches(seed=3)
    record = tune_bayes(corpus, ranker).record
    assert tune_bayes(with_items(corpus, "test", 0), ranker).record == record
    assert tune_bayes(with_items(corpus, "validation", 0), ranker).record != record


def test_without_a_validation_search_the_first_choice_is_taken():
    corpus = corpus_of([(0, 0, 0, "train", -1), (0, 1, 1, "test", 0)])
    record = tune_bayes(corpus, Table(2, 5)).record
    assert (record["history"], record["popularity"], record["mu"]) == (0.7, 0.3, 2.0)
    assert (record["targets"], record["validation_ndcg@10"]) == (0, 0)


def rankers(corpus: Corpus) -> list:
    torch.manual_seed(0)
    settings = EmbeddingsConfig(dim=8, num_heads=1, num_layers=1, max_length=6)
    model = SASRec(corpus.num_items, settings).eval()
    return [SASRecRanker(model, corpus.events), SVDRanker.fit(corpus, settings)]


@pytest.mark.parametrize("which", [0, 1], ids=["sasrec", "svd"])
def test_a_search_is_answered_from_strictly_earlier_events(which):
    """Neither the target's own item nor a later one moves a score; an earlier one does."""
    rows = [
        (user, step, (user + 2 * step) % 5, "train", -1) for user in range(6) for step in (0, 1)
    ]
    rows += [(user, 2, user % 5, "validation", user % 5) for user in range(6)]
    rows += [(user, 3, (user + 1) % 5, "test", user % 5) for user in range(6)]
    corpus = corpus_of(rows)
    targets = corpus.targets("validation", "search")
    ranker = rankers(corpus)[which]
    scorer = tune_bayes(corpus, ranker).scorer
    scorer = Bayes(ranker, scorer.texts, scorer.words, scorer.prior, 1.0, 0.3)
    before = scorer.scores(targets)
    assert np.isfinite(before).all()
    for split, same in (("validation", True), ("test", True), ("train", False)):
        other = type(ranker)(**{**vars(ranker), "events": with_items(corpus, split, 3).events})
        moved = Bayes(other, scorer.texts, scorer.words, scorer.prior, 1.0, 0.3)
        assert np.array_equal(moved.scores(targets), before) == same, split


def test_items_without_a_word_are_ranked_by_history_and_popularity():
    rows = [(0, 0, 1, "train", -1), (0, 1, 0, "validation", 0), (0, 2, 1, "test", 0)]
    corpus = corpus_of(rows, titles=("?", "!"))
    ranker = Table(3, 2)
    scores = tune_bayes(corpus, ranker).scorer.scores(corpus.targets("test", "search"))
    assert scores.shape == (1, 2)
    assert np.isfinite(scores).all()


def test_names_follow_the_recommender_and_survive_a_trec_file(tmp_path):
    names = [bayes_name(name) for name in ("sasrec-ce", "sasrec-bpr", "svd")]
    assert names == ["sasrec x likelihood", "sasrec x likelihood", "svd x likelihood"]
    corpus = five_items()
    scorer = tune_bayes(corpus, Table(len(corpus.events), 5)).scorer
    run = top_k_run(scorer, corpus.targets("test", "search"), 3)
    lines = write_trec(run, tmp_path / "run.trec", names[0]).read_text().splitlines()
    assert len(lines) == 15
    assert all(len(line.split()) == 6 for line in lines)
    assert lines[0].split()[-1] == "sasrec_x_likelihood"


# ---------------------------------------------------------------------------- the text encoder


LSA = EmbeddingsConfig(encoder="lsa", lsa_dim=3)


def texts_of(corpus: Corpus) -> list[str]:
    return item_texts(corpus.items["title"].tolist(), corpus.items["text"].tolist())


def cosines(queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    """(Q, N), pair by pair."""
    length = np.linalg.norm
    return np.array([[q @ i / (length(q) * length(i)) for i in items] for q in queries])


def test_dense_scores_are_cosines_and_a_query_without_a_word_has_no_answer():
    corpus = five_items()
    targets, texts = corpus.targets("test", "search"), texts_of(corpus)
    items = encode(texts, LSA)
    scores = Dense.fit(corpus, items, targets, LSA).scores(targets)
    asked = targets["query_id"].to_numpy()
    assert asked.tolist() == [0, 1, 2, 3, 4]
    vectors = encode_queries([QUERIES[query] for query in asked], texts, LSA)
    known = [0, 1, 2, 4]
    np.testing.assert_allclose(scores[known], cosines(vectors[known], items), rtol=1e-4, atol=1e-6)
    assert np.isneginf(scores[3]).all()  # a zebra is nowhere in the catalogue
    assert (scores[0] == scores[2]).all()
    assert (
        targets["event_id"].iloc[3]
        not in top_k_run(Dense.fit(corpus, items, targets, LSA), targets, 5)["event_id"].to_numpy()
    )


def test_dense_agrees_with_sentence_transformers():
    corpus = five_items()
    targets, settings = corpus.targets("test", "search"), EmbeddingsConfig()
    assert settings.encoder == "minilm"
    from sentence_transformers import SentenceTransformer, util

    model = SentenceTransformer(str(minilm_folder()))
    texts = texts_of(corpus)
    theirs = util.cos_sim(
        model.encode([QUERIES[query] for query in targets["query_id"]]), model.encode(texts)
    )
    ours = Dense.fit(corpus, encode(texts, settings), targets, settings).scores(targets)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)


def test_only_the_queries_of_the_targets_are_encoded(monkeypatch):
    corpus, asked = five_items(), []

    def count(queries, *rest):
        asked.extend(queries)
        return encode_queries(queries, *rest)

    monkeypatch.setattr(dense, "encode_queries", count)
    validation = corpus.targets("validation", "search")
    Dense.fit(corpus, encode(texts_of(corpus), LSA), validation, LSA)
    assert asked == ["red tent"]


def test_an_encoder_that_cannot_be_loaded_is_an_error_that_says_what_to_do(tmp_path):
    corpus = five_items()
    targets, far = corpus.targets("test", "search"), EmbeddingsConfig(encoder=str(tmp_path))
    with pytest.raises(ArtifactError, match="could not be loaded"):
        Dense.fit(corpus, np.zeros((5, 3), np.float32), targets, far)
