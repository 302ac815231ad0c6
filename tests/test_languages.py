"""Words in any script: by hand, and as searches that have one right answer."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensar_lite.artifacts import Corpus
from gensar_lite.data.families import PHRASES, attribute_family, category_family, text_family
from gensar_lite.data.own.files import check_scripts
from gensar_lite.data.queries import path_query
from gensar_lite.data.report import Checks
from gensar_lite.data.words import LETTERS, TOKEN, WRITTEN, other_scripts, words_of
from gensar_lite.embeddings.encoders import find_encoder
from gensar_lite.embeddings.semantic import LSA
from gensar_lite.evaluation.baselines import BM25
from gensar_lite.identifiers.words import typical_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sony ヘッドホン WH-1000XM4", ["sony", "ヘッ", "ッド", "ドホ", "ホン", "wh", "1000xm4"]),
        ("ソニーWH1000黒", ["ソニ", "ニー", "wh1000", "黒"]),
        ("ｿﾆｰ ＷＨ", ["ソニ", "ニー", "wh"]),  # narrow kana and wide letters are the usual ones
        ("日本語、本", ["日本", "本語", "本"]),
        ("無線耳機", ["無線", "線耳", "耳機"]),
        ("กาแฟ", ["กา", "าแ", "แฟ"]),
        ("น้ำ", ["น้ำ"]),  # a consonant with two marks is one character
        ("हिन्दी किताब", ["हिन्दी", "किताब"]),
        ("한국어 신발", ["한국어", "신발"]),
        ("Обувь мужская", ["обувь", "мужская"]),
        ("كتاب جديد", ["كتاب", "جديد"]),
        ("cafe\u0301 Crème", ["café", "crème"]),
        ("İstanbul", ["istanbul"]),
        ("", []),
        ("。、!?", []),
    ],
)
def test_words_by_hand(text, expected):
    # the Thai vowel sara am is a letter that NFKC takes apart
    assert words_of(text) == [
        unicodedata.normalize("NFKC", word) if "ำ" in word else word for word in expected
    ]


def test_the_form_in_which_a_text_was_typed_is_nothing():
    for text in ("한국어 신발", "crème brûlée", "ガラス", "Ёлка"):
        assert words_of(unicodedata.normalize("NFD", text)) == words_of(
            unicodedata.normalize("NFC", text)
        )


def test_a_short_word_counts_as_its_script_writes_it():
    assert words_of("신발 चाय ab", LETTERS, 3) == [
        "신발",
        "चाय",
    ]  # two syllables; two consonants and a vowel sign
    assert words_of("日 a", LETTERS, 3) == ["日"]
    assert words_of("ソニー WH", whole=True) == ["ソニー", "wh"]


@given(st.text(alphabet=st.characters(max_codepoint=0x24F), max_size=40), st.integers(1, 3))
def test_latin_text_is_cut_as_ever(text, least):
    text = unicodedata.normalize("NFC", text).replace("İ", "I")
    for written in (WRITTEN, TOKEN, LETTERS):
        assert words_of(text, written, least) == re.findall(f"{written}{{{least},}}", text.lower())


@given(st.text(max_size=40))
def test_any_text_gives_words_without_space(text):
    for word in words_of(text) + words_of(text, LETTERS, 3) + words_of(text, WRITTEN, whole=True):
        assert word
        assert not set(word) & set(" \t\n-.,")


def test_shares_of_scripts_by_hand():
    assert other_scripts(["Red shoes", "Crème ™ 12"]) == {}
    assert other_scripts(["ab本"]) == {"Han": pytest.approx(1 / 3)}
    assert other_scripts(["本のab", "本"]) == {"Japanese": pytest.approx(3 / 5)}
    assert list(other_scripts(["кот", "กา", "ab"])) == ["Cyrillic", "Thai"]
    assert other_scripts([]) == other_scripts(["12"]) == {}


# -------------------------------------------------------------- what is built on words


def corpus_of(titles: list[str], queries: list[str]) -> Corpus:
    """A search of each query by one user; what was taken is nothing here."""
    items = pd.DataFrame(
        {"item_id": range(len(titles)), "title": titles, "text": "", "brand": "", "category": ""}
    )
    table = pd.DataFrame({"query_id": range(len(queries)), "text": queries})
    events = pd.DataFrame(
        {"event_id": range(len(queries)), "user_id": 0, "time": range(len(queries))}
    )
    events = events.assign(task="search", item_id=0, query_id=range(len(queries)), split="test")
    return Corpus(
        items, table, events, pd.DataFrame({"query_id": [], "item_id": [], "grade": []}, dtype=int)
    ).check()


TITLES = [
    "ソニー ワイヤレスヘッドホン WH-1000XM4 黒",
    "革靴メンズ",
    "无线蓝牙耳机",
    "男士皮鞋",
    "กาแฟคั่วบด",
    "รองเท้าหนังผู้ชาย",
    "हिन्दी किताब",
    "चाय की पत्ती",
    "가죽 신발",
    "Кожаная обувь",
]


@pytest.mark.parametrize(
    ("query", "item"),
    [("ヘッドホン", 0), ("wh 1000xm4", 0), ("革靴", 1), ("耳机", 2), ("皮鞋", 3), ("กาแฟ", 4),
     ("รองเท้า", 5), ("किताब", 6), ("चाय", 7), ("신발", 8), ("ОБУВЬ", 9)],
)  # fmt: skip
def test_bm25_answers_in_every_script(query, item):
    corpus = corpus_of(TITLES, [query])
    scores = BM25(corpus).scores(corpus.targets("test"))[0]
    assert scores.argmax() == item
    assert np.isfinite(scores[item])


@pytest.mark.parametrize(
    "titles", [["A", "7", "&", ""], ["the", "of", "a", "an"], ["", "", "", ""]]
)
def test_bm25_of_a_catalogue_without_words_has_no_answers(titles):
    corpus = corpus_of(titles, ["A", "the red shoe", ""])
    scores = BM25(corpus).scores(corpus.targets("test"))
    assert scores.shape == (3, 4)
    assert (scores == -np.inf).all()


def catalogue(titles: list[str], category: str, brand: str = "") -> pd.DataFrame:
    return pd.DataFrame({"title": titles, "text": "", "category": category, "brand": brand})


def test_queries_of_paths_and_brands_are_whole_words():
    assert path_query(["家電", "ヘッドホン"]) == "家電 ヘッドホン"
    assert path_query(["อาหาร", "กาแฟสด"]) == "อาหาร กาแฟสด"
    assert path_query(["हिन्दी किताबें"]) == "हिन्दी किताबें"
    items = catalogue(["x", "y"], "อาหาร > กาแฟสด", "น้องส้ม")
    assert category_family(items).texts == ["อาหาร กาแฟสด"]
    assert attribute_family(items).texts == ["น้องส้ม กาแฟสด"]


@pytest.mark.parametrize(
    ("first", "second", "rest"),
    [
        ("皮鞋", "男士", ("红", "蓝", "绿", "黄")),
        ("กา", "หมู", "ขคงจ"),
        ("신발", "가죽", ("하나", "두울", "셋셋", "네엣")),
    ],
)
def test_two_telling_words_of_titles_in_other_scripts(first, second, rest):
    """Four of forty titles share two words; only they get the query, without English round it."""
    shared = [f"{first} {second} {word}" for word in rest]
    other = [f"{chr(0x5000 + 2 * i)}{chr(0x5001 + 2 * i)}" for i in range(36)]
    family = text_family(catalogue([*shared, *other], "c"))
    assert family.item_query[:4].tolist() == [0] * 4
    assert (family.item_query[4:] == -1).all()
    assert not re.search("[a-z]", " ".join(family.texts))
    assert len(PHRASES[0]) == len(PHRASES[1]) == len("{0} {1}"), (
        "the first two phrases have no word of their own"
    )
    best = family.relevance.query("query_id == 0 and grade == 2")["item_id"]
    assert best.tolist() == [0, 1, 2, 3]


def test_typical_words_and_lsa_know_unspaced_scripts():
    texts = ["ヘッドホン", "黒いヘッドホン", "革靴", "革靴メンズ"]
    typical = typical_words(texts, np.array([0, 0, 1, 1]), top=9)
    assert {"ヘッ", "ドホ"} <= set(typical[0])
    assert "革靴" in typical[1]
    vectors = LSA.fit(texts, 3, 0).transform(["ヘッドホン", "靴 革靴"])
    assert vectors[0] @ LSA.fit(texts, 3, 0).transform(texts[:1])[0] == pytest.approx(1, abs=1e-5)
    assert abs(vectors[0] @ vectors[1]) < 0.1


def test_the_data_report_advises_another_encoder_where_the_language_asks_for_it():
    items = pd.DataFrame({"title": ["ソニー ヘッドホン", "革靴", "Red shoes"]})
    checks = Checks("items", max_drop_rate=0.01)
    check_scripts(items[2:], checks)
    assert checks.findings == []
    check_scripts(items, checks)
    (finding,) = checks.findings
    assert (finding.level, finding.count, finding.total) == ("WARN", 2, 3)
    assert "56% Japanese" in finding.what  # 3 + 5 + 2 letters, and 8 Latin ones
    assert "embeddings.encoder=multilingual" in finding.then
    assert re.fullmatch("[0-9a-f]{40}", find_encoder("multilingual").revision)
