"""Normal forms of text for comparison: one form of what Unicode writes in several ways, and a second one without marks.

`normalize` takes away what no reader sees or types (soft hyphens, points of Arabic and Hebrew, stress marks of
Cyrillic); `fold` takes away what a reader sees and many leave out when they type: accents, dots, nuktas.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import category, decimal, normalize as to_form

from nexus_core.toolkit.text.scripts import NON_JOINER

_IGNORABLE = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200B), (0x200D, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Default_Ignorable_Code_Point, but for the non-joiner."""
_UNTYPED = (
    (0x0610, 0x061A), (0x0640, 0x0640), (0x064B, 0x065F), (0x0670, 0x0670), (0x06D6, 0x06DC), (0x06DF, 0x06E8),
    (0x06EA, 0x06ED), (0x08D3, 0x08FF), (0x0591, 0x05BD), (0x05BF, 0x05BF), (0x05C1, 0x05C2), (0x05C4, 0x05C5),
    (0x05C7, 0x05C7), (0x1F3FB, 0x1F3FF),
)  # fmt: skip
"""Points of Arabic and Hebrew, tatweel, skin tones of emoji."""
_ALIKE = str.maketrans({
    "آ": "ا", "أ": "ا", "إ": "ا", "ٱ": "ا", "ى": "ي", "ی": "ي", "ې": "ي", "ک": "ك", "ہ": "ه", "ۀ": "ه", "ۂ": "ه",
    "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u05f3": "'", "\u05f4": '"', "\u201d": '"', "\u05be": "-",
    "\u2010": "-", "\u2011": "-", "\u2212": "-", "ѐ": "е", "ѝ": "и", "Ѐ": "Е", "Ѝ": "И",
})  # fmt: skip
"""Letters of Arabic that are typed for one another, quotes, hyphens."""


class _Cleaning(dict[int, int | str | None]):
    """A table for `str.translate` that fills itself: what becomes of a character."""

    def __missing__(self, number: int) -> int | str | None:
        result: int | str | None = _ALIKE.get(number, number)
        if any(first <= number <= last for first, last in (*_IGNORABLE, *_UNTYPED)):
            result = None
        elif number > 127 and category(chr(number)) == "Nd":
            result = str(decimal(chr(number)))
        self[number] = result
        return result


class _Folding(dict[int, str]):
    """The same for the letter under the marks."""

    def __missing__(self, number: int) -> str:
        letter = chr(number)
        parts = to_form("NFD", letter)
        folded = "".join([part for part in parts if not _FOLDED(part)]) if letter not in "йЙ" else letter
        self[number] = folded
        return folded


_FOLDED = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f"
    "\u093c\u09bc\u0a3c\u0abc\u0b3c\u0cbc]"
).match
_CLEAN = _Cleaning()
_FOLD = _Folding({
    ord(letter): plain
    for letter, plain in {
        "ø": "o", "đ": "d", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ħ": "h", "ŧ": "t",
        "ŋ": "n", "ß": "ss", "ə": "e",
    }.items()
})  # fmt: skip

_ARABIC = "\u0600-\u06ff"


@lru_cache(maxsize=1)
def _in_context() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return what is taken away by what stands beside it; compiled at the first text that is not ASCII."""
    return (
        (re.compile(f"{NON_JOINER}(?![{_ARABIC}])|(?<![{_ARABIC}]){NON_JOINER}"), ""),
        (re.compile("(?<=[\u0400-\u04ff])[\u0300\u0301]+"), ""),
        # An apostrophe in a word of Ukrainian, the mark of an abbreviation in Hebrew, the raised dot of Catalan.
        (re.compile("(?<=[\u0400-\u04ff])'(?=[\u0400-\u04ff])|(?<=[\u05d0-\u05ea])[\"']+(?=[\u05d0-\u05ea])"), ""),
        (re.compile("(?<=[lL])\u00b7(?=[lL])"), ""),
    )


def normalize(text: str) -> str:
    """Return a text in the one form that is compared: NFKC, without what nobody sees or types. Case is kept."""
    if text.isascii():
        return text
    text = to_form("NFKC", to_form("NFKC", text).translate(_CLEAN))
    if text.isascii():
        return text
    for pattern, replacement in _in_context():
        text = pattern.sub(replacement, text)
    return text


def fold_case(word: str, language: str = "english") -> str:
    """Return a normalized word without its case; of Turkish, I and dotted I are two letters."""
    if language == "turkish":
        word = word.replace("I", "ı").replace("İ", "i")
    return to_form("NFKC", word.casefold()).replace("i\u0307", "i")


def fold(word: str) -> str:
    """Return a word without its marks: `resume` for `résumé`, `istanbul` for `ıstanbul`."""
    return word.translate(_FOLD)


def is_valid_unicode(text: str) -> bool:
    """Tell whether a text can be written in UTF-8: one with half of a surrogate pair cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def valid_unicode(text: str) -> str:
    """Return `text` with pairs of surrogates joined and lone ones replaced; the very same text where it has none."""
    if is_valid_unicode(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
