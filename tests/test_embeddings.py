"""The embeddings room: SASRec's promises, train events only, the encoder's cache."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import small_corpus

from gensar_lite.artifacts import ArtifactError, ItemEmbeddings
from gensar_lite.config import EmbeddingsConfig
from gensar_lite.data import left_out
from gensar_lite.embeddings import SASRecRanker, encode, item_texts, train_sasrec
from gensar_lite.embeddings.collaborative import full_softmax
from gensar_lite.embeddings.judge import Rules, train_epochs
from gensar_lite.embeddings.sasrec import SASRec
from gensar_lite.machine.dropout import ByteDropout
from gensar_lite.machine.softmax import chunked_cross_entropy

SMALL = EmbeddingsConfig(dim=16, max_epochs=2, eval_every=1, max_length=5, dropout=0.0)


def test_sasrec_never_looks_ahead():
    torch.manual_seed(0)
    model = SASRec(20, SMALL).eval()
    one, two = (
        torch.tensor([[1, 2, 3, 4, 5]]),
        torch.tensor([[1, 2, 3, 9, 20]]),
    )  # differ from the fourth item on
    with torch.no_grad():
        np.testing.assert_allclose(model(one)[:, :3], model(two)[:, :3], atol=1e-6)
        assert not torch.allclose(model(one)[:, 3], model(two)[:, 3])


def test_full_softmax_by_hand():
    torch.manual_seed(0)
    model = SASRec(4, SMALL)
    hidden = torch.randn(2, 16)
    scores = hidden @ model.items.weight[:4].T
    wanted = (
        -(scores[0, 1].exp() / scores[0].exp().sum()).log()
        - (scores[1, 3].exp() / scores[1].exp().sum()).log()
    )
    assert full_softmax(model, hidden, torch.tensor([1, 3])).item() == pytest.approx(
        wanted.item() / 2, rel=1e-5
    )


def test_a_ranker_scores_from_the_history_alone():
    corpus = small_corpus()
    torch.manual_seed(0)
    model = SASRec(corpus.num_items, SMALL).eval()
    ranker = SASRecRanker(model, corpus.events)
    targets = corpus.targets("test", "recommend")
    together = ranker.scores(targets)
    for place in range(len(targets)):
        event = targets.iloc[place]
        log = corpus.events
        past = log[(log["user_id"] == event["user_id"]) & (log["time"] < event["time"])][
            "item_id"
        ].tolist()[-5:]
        with torch.no_grad():
            alone = model.scores(model(torch.tensor([past]))[:, -1])[0].numpy()
        np.testing.assert_allclose(together[place], alone, atol=1e-5)


def test_training_is_deterministic_and_learns_a_cycle():
    rows = [(u, t, "recommend", (u + t) % 12, -1) for u in range(60) for t in range(8)]
    events = pd.DataFrame(rows, columns=["user_id", "time", "task", "item_id", "query_id"])
    corpus = small_corpus(num_items=12, events=events)
    settings = EmbeddingsConfig(
        dim=32, max_epochs=40, eval_every=10, dropout=0.0, lr=5e-3, patience=9
    )
    (one, curve), (two, again) = train_sasrec(corpus, settings), train_sasrec(corpus, settings)
    assert curve[-1]["ndcg@10"] > 0.9  # the next item is always the next number
    assert [r["loss"] for r in curve] == [r["loss"] for r in again]
    assert torch.equal(one.item_vectors, two.item_vectors)


def test_what_users_have_seen_is_looked_up_once_per_training(monkeypatch):
    calls = []

    def counted(corpus):
        calls.append(corpus)
        return left_out(corpus)

    monkeypatch.setattr("gensar_lite.embeddings.judge.left_out", counted)
    _, curve = train_sasrec(small_corpus(), EmbeddingsConfig(dim=8, max_epochs=3, eval_every=1))
    assert len(curve) >= 3
    assert len(calls) == 1


def test_the_first_best_epoch_is_kept_and_patience_counts_validations():
    model, scores = torch.nn.Linear(1, 1, bias=False), iter([0.1, 0.3, 0.3, 0.2, 0.9])

    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)

    def batch_losses(epoch: int):
        model.weight.data.fill_(epoch)
        yield model.weight.sum()
        if epoch == 9:
            yield model.weight.sum() * float("inf")

    def validate() -> dict[str, float]:
        return {"score": next(scores)}

    rules = Rules("it", "score", epochs=8, patience=2, advice="Do this.")
    curve = train_epochs(model, optimiser, batch_losses, validate, rules)
    assert [row["score"] for row in curve] == [0.1, 0.3, 0.3, 0.2]
    assert (model.weight.item(), model.training) == (2, False)
    late = rules._replace(epochs=9, eval_every=9)
    with pytest.raises(ArtifactError, match=r"loss became inf in epoch 9\. Do this"):
        train_epochs(model, optimiser, batch_losses, validate, late)


def test_bce_trains_too():
    _, curve = train_sasrec(
        small_corpus(), EmbeddingsConfig(dim=16, max_epochs=3, eval_every=1, loss="bce")
    )
    assert curve[-1]["loss"] < curve[0]["loss"] + 0.1


def test_item_texts_join_title_and_description():
    assert item_texts(["a", "b"], ["says more", ""]) == ["a. says more", "b"]


def test_encode_uses_its_cache(tmp_path):
    settings = EmbeddingsConfig(text_batch=4)
    first = encode(["red tent", "blue tent", "green tea"], settings, tmp_path)
    assert first.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert first[0] @ first[1] > first[0] @ first[2]
    stored = next(tmp_path.glob("*.safetensors"))
    changed = stored.stat().st_mtime_ns
    assert np.array_equal(encode(["red tent", "blue tent", "green tea"], settings, tmp_path), first)
    assert stored.stat().st_mtime_ns == changed
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_an_unknown_encoder_says_what_to_do():
    with pytest.raises(ArtifactError, match=r"embeddings\.encoder=minilm"):
        encode(["a"], EmbeddingsConfig(encoder="./no/such/folder"))


def test_bad_vectors_are_refused():
    bad = np.ones((4, 3), dtype=np.float32)
    bad[2, 1] = np.nan
    with pytest.raises(ArtifactError, match=r"1 of 4 semantic rows.*items 2"):
        ItemEmbeddings(bad, np.ones((4, 3))).check()


@pytest.mark.parametrize("rows", [1, 7, 600])
def test_chunked_cross_entropy_equals_torchs(rows):
    torch.manual_seed(rows)
    hidden, table = torch.randn(rows, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    targets = torch.randint(50, (rows,))
    wanted = torch.nn.functional.cross_entropy(hidden @ table.T, targets)
    wanted_grads = torch.autograd.grad(3 * wanted, (hidden, table))
    found = chunked_cross_entropy(hidden, table, targets)
    grads = torch.autograd.grad(3 * found, (hidden, table))
    assert torch.allclose(found, wanted, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(grads, wanted_grads, strict=True))


def test_byte_dropout_keeps_its_share_and_the_mean():
    torch.manual_seed(0)
    for rate in (0.0, 0.3, 0.5):
        drop, x = ByteDropout(rate), torch.ones(300, 1001)
        out = drop(x)
        assert abs(float((out == 0).float().mean()) - rate) < 0.005
        assert abs(float(out.mean()) - 1) < 0.01
        assert torch.equal(drop.eval()(x), x)
    x = torch.ones(10, 10, requires_grad=True)
    out = ByteDropout(0.5)(x)
    out.sum().backward()
    assert torch.equal(
        x.grad, out.detach()
    )  # what was dropped learns nothing, the rest is scaled alike
