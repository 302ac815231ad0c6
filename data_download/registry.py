"""The sources: one row each, with URL, sha256 and size of every file, licence and citation.

A row says where a data set is, never what to do with it. To add a source, add a row here and a reader in
``gensar_lite/data/``.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit


class RemoteFile(NamedTuple):
    """One public file, pinned to its content."""

    url: str
    sha256: str
    size: int  # bytes

    @property
    def name(self) -> str:
        """The file's own name, unique within its source."""
        return self.host_path.rpartition("/")[2]

    @property
    def host_path(self) -> str:
        """``host/path``: where a mirror keeps the file."""
        parts = urlsplit(self.url)
        return parts.netloc + parts.path


class Source(NamedTuple):
    """One data set. `licence` is what its publishers state, in their words, or "not stated"."""

    name: str
    title: str
    files: tuple[RemoteFile, ...]
    licence: str
    citation: str
    notes: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


_RAW = "https://raw.githubusercontent.com"
_S3REC = f"{_RAW}/aHuiWang/CIKM2020-S3Rec/49a890dcb516c9ed3126564495234ea74d5cd566/data"
_RECSYS_ID = f"{_RAW}/Wenyueh/LLM-RecSys-ID/2200ad9fef647ef755c01d6d7e5c5de3082606c5/data/beauty"
_LLM_SEQ = f"{_RAW}/dh-r/LLM-Sequential-Recommendation/6464b39064f369b251580c63edbf635de0934101/beauty"

BEAUTY = Source(
    name="beauty",
    title="Amazon Beauty 2014, 5-core: purchases in order, titles, brands, category paths",
    files=(
        RemoteFile(
            f"{_S3REC}/Beauty.txt",
            "226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
            1_090_094,
        ),
        RemoteFile(
            f"{_S3REC}/Beauty_item2attributes.json",
            "129e40f67486f6877eff0f5318cfa8530ee8ac23d8b0d1de04e1bb7a2ba0b2d4",
            305_674,
        ),
        RemoteFile(
            f"{_RECSYS_ID}/datamaps.json",
            "715ab04838ff1ba21238475ed453a89e8c30aa6214b904d27a79e4168fc7b612",
            1_835_529,
        ),
        RemoteFile(
            f"{_LLM_SEQ}/products_lookup.csv",
            "65133eca0615999df67fc5b26a93a7da762e53e613a083fd6b9e37174896d128",
            961_053,
        ),
        RemoteFile(
            f"{_LLM_SEQ}/item_id_to_int.json",
            "3d1a1d362c7daeddf616057fae8fa24af9d70902fdaf4631852231a9953afa50",
            243_011,
        ),
    ),
    licence="not stated for the Amazon data; the repositories that prepared it: not stated (CIKM2020-S3Rec), "
    "MIT (LLM-RecSys-ID), BSD 3-Clause (LLM-Sequential-Recommendation). Use it for research and teaching, "
    "do not pass it on.",
    citation="McAuley, Targett, Shi, van den Hengel: Image-based recommendations on styles and substitutes, "
    "SIGIR 2015; prepared by Zhou et al. (S3-Rec, CIKM 2020), Hua et al. (SIGIR-AP 2023), "
    "Harte et al. (RecSys 2023)",
    notes="Order of purchases only, no times. Names of brands and categories seen fewer than 5 times are gone.",
)

SOURCES: dict[str, Source] = {source.name: source for source in (BEAUTY,)}
