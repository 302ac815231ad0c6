"""Public data sets: what they are (`SOURCES`) and how they get here (`fetch`).

In: a source's name. Out: paths of files whose sha256 is the pinned one. This package does not know
what is inside the files, and does not import `gensar_lite`.
"""

from data_download.fetch import DownloadError, data_folder, describe, fetch, missing_files
from data_download.recorded import is_web_page
from data_download.registry import (
    AMAZON_CATEGORIES,
    QUERY_FILES,
    SOURCES,
    RemoteFile,
    Source,
    find,
)

__all__ = [
    "AMAZON_CATEGORIES",
    "QUERY_FILES",
    "SOURCES",
    "DownloadError",
    "RemoteFile",
    "Source",
    "data_folder",
    "describe",
    "fetch",
    "find",
    "is_web_page",
    "missing_files",
]
