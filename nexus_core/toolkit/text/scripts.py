"""Classes of characters by script: which writing has no spaces, what is a combining mark, where a word is to be cut.

Strings for the inside of a character class of a regular expression, and what is compiled of them at first use: few
processes meet a text that needs them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from unicodedata import category

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\uaa60-\uaa7f"  # Thai, Lao, Myanmar, Khmer, Tai
    "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7fb"  # Hangul: spaces, but particles without any
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31ff"  # Kana, Bopomofo
)
"""Scripts in which words are not cut by spaces, or go on in particles."""
CASED = (
    "0-9A-Za-z_\u00aa-\u058f\u10a0-\u10ff\u1c80-\u1cbf\u1d00-\u1fff\u2c00-\u2d2f\u2de0-\u2dff"
    "\ua640-\ua69f\ua720-\ua7ff\uab30-\uab6f"
)
"""Latin, Greek, Cyrillic, Armenian, Georgian, and digits: a word may mix them, as in `TNFα`."""
SYMBOLS = "\u231a-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
"""Emoji and dingbats: each is a word."""
NON_JOINER = "\u200c"
"""In Persian it stands between the parts of a word."""

_STEMMERS = (
    ("\u036f", "latin"), ("\u03ff", "greek"), ("\u052f", "cyrillic"), ("\u058f", "armenian"), ("\u05ff", "hebrew"),
    ("\u077f", "arabic"), ("\u08ff", "none"), ("\u097f", "devanagari"), ("\u0b7f", "none"), ("\u0bff", "tamil"),
    ("\u1cff", "none"), ("\u1eff", "latin"), ("\u1fff", "greek"),
)  # fmt: skip
"""The script of a letter, by the last character of a range."""
_OF_SCRIPT = {
    "greek": ("greek",),
    "cyrillic": ("russian", "serbian"),
    "armenian": ("armenian",),
    "hebrew": ("none", "yiddish"),
    "arabic": ("arabic", "persian"),
    "devanagari": ("hindi", "nepali"),
    "tamil": ("tamil",),
    "none": ("none",),
}
_NOT_LATIN = frozenset(name for names in _OF_SCRIPT.values() for name in names) - {"none", "serbian"}


def stemmer_for(letter: str, language: str) -> str:
    """Return the stemmer of a word in a text of `language`, by its first letter.

    A word in another script than the language's is stemmed as one of the language that mostly writes so: English in
    Latin letters, Russian in Cyrillic.
    """
    if language == "none":
        return language
    script = next((name for last, name in _STEMMERS if letter <= last), "none")
    if script == "latin":
        return "english" if language in _NOT_LATIN else language
    names = _OF_SCRIPT[script]
    return language if language in names else names[0]


_WITH_MARKS = ((0x300, 0x3400), (0xA490, 0xAC00), (0xFB00, 0x1E94B), (0xE0100, 0xE01F0))
"""Where combining marks may be: not among ideographs and Hangul, which are half of all characters to look at."""


@lru_cache(maxsize=1)
def marks() -> str:
    """Return the combining marks, as ranges: letters are written with them that `\\w` takes for no part of a word."""
    return "".join(
        f"{chr(begin + run.start() // 2)}-{chr(begin + run.end() // 2 - 1)}"
        for begin, end in _WITH_MARKS
        for run in re.finditer("M[a-z](?:M[a-z])*", "".join(map(category, map(chr, range(begin, end)))))
    )


@lru_cache(maxsize=1)
def letters() -> str:
    """Return the class of what a word is made of in any script, brackets included."""
    return rf"[\w{marks()}{NON_JOINER}]"


@lru_cache(maxsize=1)
def _runs() -> re.Pattern[str]:
    return re.compile(f"([{UNSPACED}]+)|[{CASED}]+|[^{UNSPACED}{CASED}]+")


@lru_cache(maxsize=1)
def _clusters() -> re.Pattern[str]:
    # A sign that stacks letters, of Myanmar and Khmer, binds the letter after it, too.
    return re.compile(f".(?:[\u1039\u17d2].|[{marks()}])*", re.DOTALL)


def cut_by_script(word: str) -> list[tuple[str, bool]]:
    """Return the parts of a word where its script changes, and whether each is in writing without spaces."""
    return [(match[0], match.lastindex == 1) for match in _runs().finditer(word)]


def characters(run: str) -> tuple[str, ...]:
    """Return each character, with the marks on it, and each pair of neighbours: what stands for words without spaces.

    A single one is a word itself (a cat is written in one character), or the whole of a question.
    """
    single = _clusters().findall(run)
    if len(single) == 1:
        return (run,)
    both = [term for one, other in pairwise(single) for term in (one, one + other)]
    return (*both, single[-1])
