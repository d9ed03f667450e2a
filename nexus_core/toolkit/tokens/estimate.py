"""Estimates token counts for models whose encoding is not known, on the safe side.

The words of o200k_base, which cuts more, are counted with the tokens of cl100k_base, which has fewer, and an eighth is
added; newer open models' vocabularies lie between the two. Other scripts count by the character, at rates measured on
prose.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache
from math import ceil

from nexus_core.toolkit.tokens.bpe import UNCOMMON, WordCounter, is_common
from nexus_core.toolkit.tokens.encodings import FACTS
from nexus_core.toolkit.tokens.vocabulary import load_ranks

_RUNS = re.compile(f"( ?{UNCOMMON}+)")

_RATES = (
    (0x024F, 1.0),  # Latin, extended
    (0x036F, 2.0),
    (0x03FF, 1.1),  # Greek
    (0x04FF, 0.75),  # Cyrillic
    (0x058F, 2.0),
    (0x05FF, 1.2),  # Hebrew
    (0x06FF, 0.9),  # Arabic
    (0x07FF, 2.0),
    (0x08FF, 3.0),
    (0x097F, 1.15),  # Devanagari
    (0x0DFF, 2.0),  # the other scripts of India
    (0x0E7F, 1.1),  # Thai
    (0x0FFF, 3.0),
    (0x10FF, 2.2),  # Burmese, Georgian
    (0x1DFF, 3.0),
    (0x1EFF, 2.0),  # Latin of Vietnamese
    (0x2FFF, 3.0),
    (0x303F, 1.1),  # Chinese and Japanese punctuation
    (0x30FF, 1.2),  # Kana
    (0x4DFF, 3.0),
    (0x9FFF, 1.4),  # Chinese characters
    (0xABFF, 3.0),
    (0xD7A3, 1.4),  # Korean
    (0xFEFF, 3.0),
    (0xFF60, 1.2),  # full-width forms
    (0xFFFF, 3.0),
    (0x10FFFF, 4.0),
)
"""The last code point of a range and its tokens per character; where nothing was measured, the bytes in UTF-8."""
_LAST = tuple(last for last, _ in _RATES)


def estimate(text: str) -> int:
    """Return an upper estimate of the tokens of `text`."""
    if is_common(text):
        count: float = _words().count(text)
    else:
        runs = _RUNS.split(text)
        count = sum(map(_words().count, runs[::2])) + sum(sum(map(_rate, run)) for run in runs[1::2])
    return ceil(count * 1.125)


@lru_cache(1 << 13)
def _rate(character: str) -> float:
    return 0.0 if character == " " else _RATES[bisect_left(_LAST, ord(character))][1]


@lru_cache
def _words() -> WordCounter:
    return WordCounter(FACTS["o200k_base"].common_pattern, load_ranks(FACTS["cl100k_base"]), _count_long)


def _count_long(word: str) -> int:
    return sum(_words().count(word[start : start + 32]) for start in range(0, len(word), 32))
