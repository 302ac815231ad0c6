"""What a word is, in any script: one rule for BM25, the made queries and the words of codes.

In: text. Out: its words in lower case, in order. Where a script puts spaces between words, a word
is a run of letters with the marks above and below them. Chinese, Japanese, Thai, Lao, Khmer and
Burmese put none: there every two neighbouring characters are a word (Lucene's rule for Chinese,
Japanese and Korean). This file knows no language: no stop words, no endings, no lexicon.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import groupby, pairwise

# What belongs to a word beside its marks, as regular expressions know it
WRITTEN = r"\w"  # letters, digits, the underscore
TOKEN = r"[^\W_]"  # letters and digits
LETTERS = r"[^\W\d_]"
# Thai, Lao; Burmese; Khmer; kana and the iteration marks of Han; Bopomofo; Han with its extensions;
# half-width kana
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_SYLLABLES = "\uac00-\ud7a3"  # Hangul
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
# the first word of a letter's Unicode name -> what people call the script; other names stay
_SCRIPTS = {"CJK": "Han", "IDEOGRAPHIC": "Han", "HANGUL": "Korean", "MYANMAR": "Burmese"}
_KANA = ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HALFWIDTH")
_SCRIPTS |= dict.fromkeys(_KANA, "Japanese")
MAX_TEXTS = 2000  # of which the script is counted


def words_of(text: str, written: str = TOKEN, least: int = 1, whole: bool = False) -> list[str]:
    """The words of `text` in lower case: runs of `written` characters, at least `least` of them.
    Where a script puts no spaces, two neighbouring characters; with `whole` the run in one piece,
    as people would type it."""
    if text.isascii():
        return _pattern("ascii", written, least).findall(text.lower())
    text = _one_form(text)
    if not _IS_UNSPACED.search(text):
        return _pattern("spaced", written, least).findall(text)
    pieces = []
    for run, spaced_run in _pattern("mixed", written, least).findall(text):
        if spaced_run or whole:
            pieces.append(spaced_run or run)
        else:  # every two neighbouring characters of a run, each with its marks
            parts = _character().findall(run)
            pieces += [first + second for first, second in pairwise(parts)] or parts
    return pieces


def other_scripts(texts: Iterable[str]) -> dict[str, float]:
    """Share of the letters of each script but the Latin one, of all letters, largest first; over
    `MAX_TEXTS` texts, evenly taken. Kana, and Han beside kana, are ``Japanese``."""
    texts = list(texts)
    texts = texts[:: max(1, len(texts) // MAX_TEXTS)]
    letters = Counter(c for text in texts for c in text if c.isalpha())
    counts: Counter[str] = Counter()
    for letter, count in letters.items():
        counts[_script(letter)] += count
    if counts["Japanese"]:  # Chinese texts hold no kana
        counts["Japanese"] += counts.pop("Han", 0)
    shares = {name: count / counts.total() for name, count in counts.most_common() if count}
    shares.pop("Latin", None)
    return shares


def is_latin(word: str) -> bool:
    """Whether a word holds no letter of another script: an English phrase may go round it."""
    return word.isascii() or all(_script(c) == "Latin" for c in word if c.isalpha())


@cache
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "").partition(" ")[0]
    folded = unicodedata.name(unicodedata.normalize("NFKC", letter)[0], "").partition(" ")[0]
    if "LATIN" in (name, folded) or name in ("MICRO", "FEMININE", "MASCULINE", "MODIFIER"):
        return "Latin"
    return _SCRIPTS.get(name, name.capitalize() or "unknown")


def _one_form(text: str) -> str:
    """Lower case, letters joined with accents; wide forms of unspaced scripts are narrow ones."""
    form = "NFKC" if _IS_UNSPACED.search(text) else "NFC"
    text = unicodedata.normalize(form, text).lower()
    # what lower() makes of the Turkish capital letter with a dot
    return text.replace("i\u0307", "i")


@cache
def _pattern(scripts: str, written: str, least: int) -> re.Pattern[str]:
    """What finds the words of a text in ``ascii``, in ``spaced`` scripts, or in ``mixed`` ones: two
    groups, a run of an unspaced one, or a run of anything else."""
    if scripts == "ascii":
        return re.compile(f"{written}{{{least},}}")
    if scripts == "spaced":
        return re.compile(_run(written, least))
    unspaced = f"(?:(?={written})[{_UNSPACED}][{_marks()}]*)+"
    return re.compile(f"({unspaced})|({_run(f'(?={written})[^{_UNSPACED}]', least)})")


def _run(written: str, least: int) -> str:
    """A run that begins with a letter; vowel signs count as letters, a Korean syllable as two."""
    spelled = f"{written}(?:{written}|[{_marks()}]){{{least - 1},}}"
    return f"{spelled}|[{_SYLLABLES}]{{{(least + 1) // 2},}}"


@cache
def _character() -> re.Pattern[str]:
    return re.compile(f"[^{_marks()}][{_marks()}]*")


@cache
def _marks() -> str:
    """Every combining mark of Unicode, and the joiners of Indian scripts, as a character class."""
    points = [*range(0x20000), *range(0xE0100, 0xE01F0)]  # the planes that hold marks
    joiners = (0x200C, 0x200D)
    marks = [i for i in points if unicodedata.category(chr(i))[0] == "M" or i in joiners]
    # neighbours have one difference to their place in the list: they become one range
    runs = [list(run) for _, run in groupby(enumerate(marks), lambda pair: pair[1] - pair[0])]
    return "".join(f"{chr(run[0][1])}-{chr(run[-1][1])}" for run in runs)
