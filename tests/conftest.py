"""Fixtures that several rooms share."""

import os

import pytest


def need_beauty() -> None:
    """Skip, with a reason, where Amazon Beauty's files cannot be had."""
    from data_download import missing_files

    if missing_files("beauty") and not os.environ.get("GENSAR_MIRROR"):
        pytest.skip("Amazon Beauty is not here: set GENSAR_MIRROR, or run: gensar download beauty")


def pytest_runtest_setup(item):
    if item.get_closest_marker("real_data"):
        need_beauty()


@pytest.fixture(scope="session")
def beauty():
    """The whole of Amazon Beauty 2014 as a corpus; skips with a reason where its files cannot be
    had."""
    from gensar_lite.config import preset
    from gensar_lite.data import build_corpus
    from gensar_lite.data.sources import load_source

    need_beauty()
    settings = preset("beauty-quick").data
    return build_corpus(load_source(settings), settings)[0]
