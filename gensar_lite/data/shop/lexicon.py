"""The words of the built-in shop: its category tree, its goods and how people call them.

In: two files beside this one, ``leaves.csv`` (one bottom category per line) and ``words.toml``.
Out: `Lexicon`. This file knows no users and draws nothing (synthetic.py).
"""

from __future__ import annotations

import csv
import functools
import tomllib
from importlib import resources
from typing import NamedTuple


class Leaf(NamedTuple):
    """One bottom category. `synonym` and `misspelling` stand in no title and no description."""

    path: str  # "Outdoor > Camping > Tents"
    name: str  # "tents"
    noun: str  # "tent", the word of titles
    synonym: str  # "bivouac"
    misspelling: str  # "tentts"
    materials: list[str]
    use: str  # "nights far from the road"
    styles: list[str]  # of its root, as the next two
    brands: list[str]
    promises: list[str]  # sentences, one of which stands in every description


class Lexicon(NamedTuple):
    """Every word that a shop is made of."""

    leaves: list[Leaf]  # all 96, in the order of the tree
    colours: list[str]
    sizes: list[str]
    series: list[str]  # second word of a title
    openings: list[str]  # first sentences of a description
    closings: list[str]  # last sentences
    tastes: list[str]  # hidden interests: what people buy together, whatever shelf it stands on


@functools.cache
def lexicon() -> Lexicon:
    """The words as they stand in the package's files, read once."""
    folder = resources.files("gensar_lite.data.shop")
    words = tomllib.loads((folder / "words.toml").read_text(encoding="utf-8"))
    roots = words.pop("roots")
    lines = (folder / "leaves.csv").read_text(encoding="utf-8").splitlines()
    leaves = []
    for row in csv.DictReader(lines):
        root, middle = row.pop("root"), row.pop("middle")
        path = f"{root} > {middle} > {row['name'].title()}"
        materials = row.pop("materials").split()
        leaves.append(Leaf(path=path, materials=materials, **row, **roots[root]))
    return Lexicon(leaves, **words)
