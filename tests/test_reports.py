"""reports/ is for everybody: no text of a real shop's catalogue, no folder of the machine that
wrote it."""

from __future__ import annotations

import csv
import html
import json
import os
import re
from pathlib import Path

import pytest

from data_download import DownloadError, fetch, missing_files
from gensar_lite.data.text import clean

ROOT = Path(__file__).parent.parent
# trec/ (`gensar report --trec`) is ignored by git: it holds items of real data
REPORTS = sorted(
    p for p in (ROOT / "reports").rglob("*") if p.is_file() and p.parent.name != "trec"
)
TEXTS = [
    p for p in REPORTS if p.suffix in (".html", ".json", ".md", ".csv", ".txt", ".svg", ".tsv")
]
LEAST = 12  # characters: shorter titles are ordinary words
MACHINE = re.compile(
    r"(?<![\w.])/(?:home|root|Users|work|tmp|mnt|private|var)/\w|\b[A-Z]:\\(?:Users|work)", re.ASCII
)


def words_of(path: Path) -> str:
    """What a reader of the file can read: images out, entities and escapes resolved, one space
    between words."""
    text = re.sub(r"data:image/[^\"')\s]+", "", path.read_text(encoding="utf-8"))
    if path.suffix == ".json":
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return " ".join(html.unescape(text).split())


def titles_found(text: str, titles: set[str]) -> list[str]:
    text = text.lower()
    return sorted(title for title in titles if title.lower() in text)


@pytest.fixture(scope="module")
def titles(tmp_path_factory) -> set[str]:
    """Every title of the catalogue that Beauty's titles come from."""
    if missing_files("beauty") and not os.environ.get("GENSAR_MIRROR"):
        pytest.skip(
            "needs the titles of Amazon Beauty 2014: set GENSAR_MIRROR, or run: "
            "gensar download beauty"
        )
    with pytest.MonkeyPatch.context() as patch:
        if missing_files("beauty"):
            patch.setenv("GENSAR_DATA", str(tmp_path_factory.mktemp("downloads")))
        try:
            table = fetch("beauty", say=lambda line: None, progress=False)["products_lookup.csv"]
        except DownloadError as problem:
            pytest.skip(f"needs the titles of Amazon Beauty 2014: {problem}")
        with open(table, newline="", encoding="utf-8") as file:
            names = {" ".join(clean(row["name"]).split()) for row in csv.DictReader(file)}
    return {name for name in names if len(name) >= LEAST}


def test_the_scan_finds_what_it_looks_for(tmp_path):
    page = tmp_path / "index.html"
    page.write_text(
        '<p>Bath &amp; Body\n Lotion Set</p><img src="data:image/png;base64,/tmp/abcdefghijkl">'
    )
    assert titles_found(
        words_of(page), {"bath & body lotion set", "abcdefghijkl", "another title"}
    ) == ["bath & body lotion set"]
    assert not MACHINE.search(words_of(page))
    facts = tmp_path / "metrics.json"
    facts.write_text(json.dumps({"title": "Crème de la Crème", "from": "/home/somebody/x"}))
    assert titles_found(words_of(facts), {"Crème de la Crème"}) == ["Crème de la Crème"]
    assert MACHINE.search(words_of(facts))
    assert not MACHINE.search(
        "gensar run, see artifacts/tour/data and https://example.org/home/page"
    )


@pytest.mark.real_data
def test_no_report_holds_a_title_of_the_real_catalogue(titles):
    assert len(titles) > 10_000
    for path in TEXTS:
        found = titles_found(words_of(path), titles)
        assert not found, (
            f"{path.relative_to(ROOT)} holds {len(found)} titles of Amazon Beauty 2014"
        )


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_report_names_a_folder_of_somebodys_machine(path):
    found = MACHINE.search(words_of(path))
    assert not found, words_of(path)[max(found.start() - 40, 0) : found.end() + 40]


def test_reports_hold_what_people_read_and_nothing_heavy():
    for path in REPORTS:
        assert path.suffix in (
            ".html",
            ".json",
            ".md",
            ".csv",
            ".txt",
            ".svg",
            ".tsv",
            ".png",
            ".parquet",
        ), path
        assert path.stat().st_size < 5_000_000, path
    for folder in {path.parent for path in REPORTS if path.name == "index.html"}:
        rows, joint = json.loads((folder / "metrics.json").read_text()), "joint"
        if isinstance(rows, dict):  # of a trade-off study, which names its joint model
            rows, joint = rows["rows"], rows["base"]
        assert {row["system"] for row in rows} >= {joint, "popularity", "bm25"}, folder


def test_beautys_report_reaches_its_bars_and_counts_no_test_purchase():
    rows = json.loads((ROOT / "reports" / "beauty-quick" / "metrics.json").read_text())
    full = {
        (r["system"], r["task"], r["metric"]): r["value"] for r in rows if r["protocol"] == "full"
    }
    assert full["joint", "recommend", "recall@10"] >= 0.030
    assert full["joint", "search", "ndcg@10"] >= 0.08
    assert full["popularity", "recommend", "recall@10"] == pytest.approx(0.0114, abs=0.0005)
