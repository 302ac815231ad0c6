"""Words of strangers: HTML, and what programs write where there is nothing.

Texts are written by hand beside what a reader would make of them.
"""

from __future__ import annotations

import time

import pandas as pd
import pytest
from own_logs import checked, checked_table, log, messages

from gensar_lite.data.own.rules import check_items
from gensar_lite.data.text import clean, has_tags, plain

# -------------------------------------------------------------------------------- words for nothing


def test_query_ids_that_say_there_is_none_are_recommendations():
    events = log({"u1": 6}).assign(query_id=["-1", "NULL", "", "7", "nan", "none"])
    table, findings = checked(events, pd.Series({"7": "red tent", "none": "a tent"}))
    assert table["query"].tolist() == ["", "", "", "red tent", "", "a tent"], (
        "a query that is known stays one"
    )
    (message,) = messages(findings, "query_id that says there is none")
    assert message.startswith("FIX events: 3 of 6 rows ")


def test_a_query_null_in_many_rows_is_no_query():
    events = log({"u1": 50, "u2": 50})
    few = events.assign(query=["none"] + ["red tent"] * 49 + [""] * 50)
    assert checked(few)[0]["task"].tolist() == ["search"] * 50 + ["recommend"] * 50, (
        "somebody may have typed it"
    )
    many = events.assign(query=["NULL"] * 60 + ["red tent"] * 40)
    table, findings = checked(many)
    assert table["task"].tolist() == ["recommend"] * 60 + ["search"] * 40
    assert messages(findings, "query that says there is none")[0].startswith(
        "FIX events: 60 of 100 rows"
    )


def test_no_brand_and_no_category_are_made_empty_and_counted():
    items = pd.DataFrame({
        "item_id": list("abcdef"),
        "title": ["Tent", "NULL", "NULL", "None", "Mat", "Lamp"],
        "brand": ["Unknown", "N/A", "unbranded", "Nord", "Unknown Pleasures", "generic"],
        "category": ["(no genres listed)", "Drama", "Unknown", "n/a", "Other", "Drama"],
    })  # fmt: skip
    table, findings = checked_table(check_items, items)
    assert table["brand"].tolist() == ["", "", "", "Nord", "Unknown Pleasures", ""]
    assert table["category"].tolist() == ["", "Drama", "", "", "Other", "Drama"]
    assert table["title"].tolist() == ["Tent", "Drama", "item c", "None", "Mat", "Lamp"]
    counts = {
        f.what: f.count for f in findings if "says there is none" in f.what and f.level == "FIX"
    }
    assert counts == {
        "have a brand that says there is none": 4,
        "have a category that says there is none": 3,
        "have a title that says there is none": 2,
    }


# --------------------------------------------------------------------------------------------- HTML


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<b>Tent</b>", "Tent"),
        ("<script>alert(1)</script>Tent", "Tent"),
        ("<SCRIPT type='a'>alert('</b>')</script >Tent<style>b{}</style>", "Tent"),
        ("Tent<br/>green<p class=x hidden>large</p>", "Tent green large"),
        ('<a href="http://x/?a=1&amp;b=2" target=_blank>Tent</a>', "Tent"),
        ("<!-- a > b -->Tent", "Tent"),
        ("<img src=x onerror=alert(1)>Tent", "Tent"),
        ("T<sub>2</sub>O", "T2O"),
        ("&lt;b&gt;Tent&lt;/b&gt;", "Tent"),
        ("<td>Tent</td><td>Mat</td>", "Tent Mat"),
    ],
)
def test_html_is_taken_out(text, kept):
    assert clean(text) == kept
    assert has_tags(text)
    assert plain(text) == text, "typed queries keep what was typed"


@pytest.mark.parametrize(
    "text",
    ["a < b and c > d", "<3", "I <3 you", "a<b and b>c", "<TENT>", "Map<a, b>", "5 <6> 7", "-> <-",
     "<>", "< b >", "x <script", "1 <b", "b> <", "<b2b>"],
)  # fmt: skip
def test_what_is_no_html_stays(text):
    assert clean(text) == text
    assert not has_tags(text)


HOSTILE = [
    "<",
    "<a ",
    '<a x="',
    "<!--",
    "<script>",
    "<p x = ",
    "<b a=b ",
    "<!doctype ",
    "<script a=b ",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_takes_long(piece):
    start = time.process_time()
    for end in ("", ">"):
        clean(piece * (10_000_000 // len(piece)) + end)
        has_tags(piece * 1000 + end)
    assert time.process_time() - start < 2


def test_tags_are_counted_apart_in_titles_texts_and_queries():
    items = pd.DataFrame(
        {"item_id": ["1", "2"], "title": ["<b>Tent</b>", "Mat &amp; bag"], "text": ["a<br>b", "<3"]}
    )
    table, findings = checked_table(check_items, items)
    assert table["title"].tolist() == ["Tent", "Mat & bag"]
    assert table["text"].tolist() == ["a b", "<3"]
    (message,) = messages(findings, "title with HTML tags")
    assert message == (
        "FIX items: 1 of 2 rows have a title with HTML tags or scripts (row 0; first: {item_id: "
        "'1', "
        "title: '<b>Tent</b>', text: 'a<br>b'}). Taken out; the words between tags stay."
    )
    assert len(messages(findings, "text with HTML tags")) == 1
    assert messages(findings, "HTML entities")[0].startswith(
        "FIX items: 1 of 2 rows have a title with control"
    )
    events = log({"u": 4}).assign(query=["<i>red</i> tent", "red tent", "", ""])
    table, findings = checked(events)
    assert table["query"].tolist() == ["red tent", "red tent", "", ""]
    assert len(messages(findings, "query with HTML tags")) == 1
