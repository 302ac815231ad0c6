"""The sources: one row each, with URL, sha256 and size of every file, licence and citation.

A row says where a data set is, never what to do with it. To add a source, add a row here and a
reader in ``gensar_lite/data/``. A sha256 stands here only if it was computed from the real bytes;
where it is None, the first download's is recorded beside the files and enforced from then on
(fetch.py).
"""

from typing import NamedTuple
from urllib.parse import urlsplit


class RemoteFile(NamedTuple):
    """One public file, pinned to its content where that is known."""

    url: str
    sha256: str | None = None  # None: the publisher states none; recorded at the first download
    size: int | None = None  # bytes; None: not stated

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
    """One data set. `licence` is what its publishers state, in their words, or "not stated".

    `run_on_real_files` is False while our reader has seen only tiny files of the same format.
    """

    name: str
    title: str
    files: tuple[RemoteFile, ...]
    licence: str
    citation: str
    notes: str = ""
    run_on_real_files: bool = False

    @property
    def size(self) -> int | None:
        """Bytes of all files together, None where the publisher does not state them."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(sizes)

    @property
    def size_text(self) -> str:
        """The size for people: ``4.2 MiB`` or ``size not stated``."""
        return "size not stated" if self.size is None else f"{self.size / 2**20:.1f} MiB"


_RAW = "https://raw.githubusercontent.com"
_S3REC = f"{_RAW}/aHuiWang/CIKM2020-S3Rec/49a890dcb516c9ed3126564495234ea74d5cd566/data"
_RECSYS_ID = f"{_RAW}/Wenyueh/LLM-RecSys-ID/2200ad9fef647ef755c01d6d7e5c5de3082606c5/data/beauty"
_LLM_SEQ = (
    f"{_RAW}/dh-r/LLM-Sequential-Recommendation/6464b39064f369b251580c63edbf635de0934101/beauty"
)
_MCAULEY = (
    "McAuley, Targett, Shi, van den Hengel: Image-based recommendations on styles and substitutes, "
    "SIGIR 2015"
)

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
    licence="not stated for the Amazon data; the repositories that prepared it: not stated "
    "(CIKM2020-S3Rec), MIT (LLM-RecSys-ID), BSD 3-Clause (LLM-Sequential-Recommendation). Use it "
    "for research and teaching, do not pass it on.",
    citation=f"{_MCAULEY}; prepared by Zhou et al. (S3-Rec, CIKM 2020), Hua et al. (SIGIR-AP "
    "2023), Harte et al. (RecSys 2023)",
    notes="Order of purchases only, no times. Names of brands and categories seen fewer than 5 "
    "times are gone.",
    run_on_real_files=True,
)

# every category whose 5-core reviews of 2014 are published, as their file names write it
AMAZON_CATEGORIES = (
    "Amazon_Instant_Video", "Apps_for_Android", "Automotive", "Baby", "Beauty", "Books",
    "CDs_and_Vinyl", "Cell_Phones_and_Accessories", "Clothing_Shoes_and_Jewelry", "Digital_Music",
    "Electronics", "Grocery_and_Gourmet_Food", "Health_and_Personal_Care", "Home_and_Kitchen",
    "Kindle_Store", "Movies_and_TV", "Musical_Instruments", "Office_Products",
    "Patio_Lawn_and_Garden", "Pet_Supplies", "Sports_and_Outdoors", "Tools_and_Home_Improvement",
    "Toys_and_Games", "Video_Games",
)  # fmt: skip
WITH_QUERIES = ("CDs_and_Vinyl", "Cell_Phones_and_Accessories", "Electronics", "Kindle_Store")
QUERY_FILES = ("query_text.txt.gz", "train.qrels.gz", "test.qrels.gz")
_AMAZON = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
_PRODUCT_SEARCH = (
    f"{_RAW}/QingyaoAi/Amazon-Product-Search-Datasets/6fe07b5dd30211e24ca091205e7a7a336e3b2552"
)


def amazon(category: str) -> Source:
    """The row of one category of Amazon 2014: 5-core reviews, metadata, published search queries
    where they exist."""
    names = (f"reviews_{category}_5.json.gz", f"meta_{category}.json.gz")
    files = [RemoteFile(f"{_AMAZON}/{name}") for name in names]
    title = "purchases with times, titles, descriptions, brands, category paths"
    citation = f"{_MCAULEY}; He, McAuley: Ups and downs, WWW 2016"
    notes = "Times are days. No queries: search on it is semi-synthetic."
    if category in WITH_QUERIES:
        files += [RemoteFile(f"{_PRODUCT_SEARCH}/{names[0]}/{name}") for name in QUERY_FILES]
        title += ", published search queries"
        citation += (
            "; queries: Ai, Zhang, Bi, Chen, Croft: Learning a hierarchical embedding model for "
            "personalized product search, SIGIR 2017"
        )
        notes = "Times are days. The queries are made from category paths; nobody typed them."
    return Source(
        name=f"amazon-{category}",
        title=f"Amazon {category} 2014, 5-core: {title}",
        files=tuple(files),
        licence="not stated. Use it for research and teaching, do not pass it on.",
        citation=citation,
        notes=notes,
    )


_KUAISAR = {
    "licence": "CC BY-NC-SA 4.0",
    "citation": "Sun, Si, Zang, Leng, Niu, Song, Zhang, Xu: KuaiSAR: a unified search and "
    "recommendation dataset, CIKM 2023",
    "notes": "Real searches and recommendations of one app. Every word is a number: no text "
    "encoder can read it.",
}
_MOVIELENS = {
    "citation": "Harper, Konstan: The MovieLens datasets: history and context, ACM TiiS 5(4), 2015",
    "notes": "Ratings and tags with times. Search is semi-synthetic: a tag that a user gave, else "
    "the genres.",
}
_RESEARCH = (
    "research use, no commercial use without permission, no endorsement implied, to be cited"
)

_ROWS = (
    BEAUTY,
    amazon("Electronics")._replace(name="electronics"),
    Source(
        "kuaisar",
        "KuaiSAR: searches and recommendations of 25,877 users of a short-video app",
        (RemoteFile("https://zenodo.org/records/8181109/files/KuaiSAR_v2.zip"),),
        **_KUAISAR,
    ),
    Source(
        "kuaisar-small",
        "KuaiSAR-small: the smaller release of the same logs",
        (RemoteFile("https://zenodo.org/records/8181109/files/KuaiSAR.zip"),),
        **_KUAISAR,
    ),
    Source(
        "movielens-small",
        "MovieLens latest-small: about 100,000 ratings of 600 users, tags, genres",
        (RemoteFile("https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"),),
        licence=f"GroupLens' own: {_RESEARCH}; redistribution under the same terms",
        **_MOVIELENS
        | {
            "notes": _MOVIELENS["notes"]
            + " The publisher renews this edition: no figures to compare."
        },
    ),
    Source(
        "movielens-25m",
        "MovieLens 25M: 25,000,095 ratings of 162,541 users, 62,423 films, 1,093,360 tags",
        (RemoteFile("https://files.grouplens.org/datasets/movielens/ml-25m.zip"),),
        licence=f"GroupLens' own: {_RESEARCH}; no redistribution without permission",
        **_MOVIELENS,
    ),
)
SOURCES: dict[str, Source] = {row.name: row for row in _ROWS}


def find(name: str) -> Source | None:
    """The row called `name`: one of `SOURCES`, or ``amazon-<category>``; None if there is none."""
    if name == "amazon-Electronics":
        return SOURCES["electronics"]
    category = name.removeprefix("amazon-")
    is_category = category != name and category in AMAZON_CATEGORIES
    return amazon(category) if is_category else SOURCES.get(name)
