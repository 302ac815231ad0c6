"""Fixtures that several rooms share."""

import os

import pytest


@pytest.fixture(scope="session")
def beauty():
    """The whole of Amazon Beauty 2014 as a corpus; skips with a reason where its files cannot be had."""
    from data_download import missing_files
    from gensar_lite.config import preset
    from gensar_lite.data import build_corpus
    from gensar_lite.data.sources import load_source

    if missing_files("beauty") and not os.environ.get("GENSAR_MIRROR"):
        pytest.skip("Amazon Beauty is not here: set GENSAR_MIRROR, or run: gensar download beauty")
    settings = preset("beauty-quick").data
    return build_corpus(load_source(settings), settings)[0]
