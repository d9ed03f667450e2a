"""Language detection: whose stemmer a text is for, by its script and the function words in it.

It looks at the beginning of a text and knows the languages of the stemmers; of a text that it does not know it says
`english`, as of one without any words. Of the short texts in tests/bench/languages.json that are in a language with a
stemmer it knows nine in ten; English is told by a look for its commonest words, which costs next to nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from nexus_core.contract.values import Item
from nexus_core.toolkit.text.language_words import ENDINGS, FUNCTION_WORDS, LETTERS
from nexus_core.toolkit.text.stemming import LANGUAGES, Language

DEFAULT = "english"
AUTO = "auto"
"""In place of a language: that of each item."""
AnyLanguage = Literal["auto", Language]
_LOOKED_AT = 2000
"""Characters of a text."""
_COMMON = (" the ", " of ", " and ", " to ", " is ", " for ", " that ")
_ENOUGH = 2
"""So many of them, and it is English."""
_LETTER, _ENDING = 0.8, 0.6
"""What a letter that English has not, and an ending, are worth against a word, where one language has them."""
_CLEAR, _DENSE = 0.8, 0.15
"""What a language must have over English, in all and for each word: less is a name, a quotation, or no language."""
_FEWEST = 4
"""Words that tell a language: fewer are a name."""
_ENDINGS_LOOKED_AT = 30
_LETTERS_COUNTED = 5

_WORD = re.compile(r"[^\W\d_]+")
_SCRIPTS = re.compile(
    "(?P<greek>[\u0370-\u03ff\u1f00-\u1fff]{2,})|(?P<cyrillic>[\u0400-\u052f]{2,})|(?P<armenian>[\u0531-\u0587]{2,})"
    "|(?P<arabic>[\u0620-\u06ff]{2,})|(?P<devanagari>[\u0900-\u097f]{2,})|(?P<tamil>[\u0b80-\u0bff]{2,})"
    "|(?P<latin>[A-Za-z\u00c0-\u024f\u1e00-\u1eff]{2,})"
)
_SERBIAN = re.compile("[ђјљњћџ]")
_PERSIAN = re.compile("[پچژگیک]|\\bاست\\b|\\bو\\b")
_ARABIC = re.compile("[ةىأإيك]|\\bال|\\bفي\\b")
_NEPALI = re.compile("छ|\\bगर्न|\\bको\\b.*\\bमा\\b|लाई")


def detect_language(text: str) -> str:
    """Return the language of a text, as a stemmer is called, `none` where it is known to have none."""
    return guess_language(text) or DEFAULT


def guess_language(text: str) -> str | None:
    """Return the same, `None` where nothing tells: the text is short, a program, a list of names."""
    sample = text[:_LOOKED_AT]
    if sum([word in sample for word in _COMMON]) >= _ENOUGH:
        return DEFAULT
    if sample.isascii():
        return _by_words(sample)
    lengths = Counter[str]()
    for match in _SCRIPTS.finditer(sample):
        lengths[match.lastgroup or ""] += match.end() - match.start()
    script = lengths.most_common(1)[0][0] if lengths else "latin"
    if script == "latin":
        return _by_words(sample)
    if script == "cyrillic":
        return "serbian" if _SERBIAN.search(sample) else "russian"
    if script == "arabic":
        return "persian" if len(_PERSIAN.findall(sample)) > len(_ARABIC.findall(sample)) else "arabic"
    if script == "devanagari":
        return "nepali" if _NEPALI.search(sample) else "hindi"
    return script


def language_of(item: Item, document: str = "") -> str:
    """Return the language of an item: what its metadata calls `language` if that has a stemmer, else as detected.

    Programs are taken for English. With the language of its `document`, that is an item's, too, unless it is in
    another script.
    """
    if document and item.kind != "code" and "language" not in item.metadata and _is_latin(item.text):
        return document
    return _language_of(item) or document or DEFAULT


def _is_latin(text: str) -> bool:
    """Tell whether a text is in Latin letters, by a look at its beginning."""
    sample = text[:200]
    return sample.isascii() or max(sample) < "\u0370"


def _language_of(item: Item) -> str | None:
    known: Any = item.metadata.get("language") if item.metadata else None
    named = named_language(str(known)) if known is not None else None
    return named or (DEFAULT if item.kind == "code" else guess_language(item.text))


_CODES = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "cs": "czech", "da": "danish", "nl": "dutch",
    "en": "english", "et": "estonian", "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi",
    "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali",
    "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "fa": "persian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sr": "serbian", "hr": "serbian", "bs": "serbian", "es": "spanish",
    "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""ISO 639-1."""


def named_language(name: str) -> str | None:
    """Return the stemmer for a language's English name or code (`German`, `de`, `de-AT`), `None` if it has none."""
    plain = name.strip().lower()
    if plain in LANGUAGES:
        return plain
    return _CODES.get(re.split("[-_]", plain)[0])


def item_languages(items: Sequence[Item], language: str = AUTO) -> list[str]:
    """Return the language of each item: the one that is named, or with `auto` each item's own.

    Where nothing tells it, an item has the language that most of the others have.
    """
    if language != AUTO:
        return [language] * len(items)
    own = [_language_of(item) for item in items]
    (most, _), *_ = Counter([each for each in own if each is not None]).most_common(1) or [(DEFAULT, 0)]
    return [each or most for each in own]


_Shares = dict[str, tuple[tuple[str, float], ...]]


@lru_cache(maxsize=1)
def _features() -> tuple[_Shares, _Shares, _Shares]:
    """Return for each function word, ending and letter the languages that have it, and what it says for each."""
    return (
        _shares({language: words.split() for language, words in FUNCTION_WORDS.items()}, 1.0),
        _shares({language: endings.split() for language, endings in ENDINGS.items()}, _ENDING),
        _shares(LETTERS, _LETTER),
    )


def _shares(features: Mapping[str, Iterable[str]], weight: float) -> _Shares:
    languages: dict[str, list[str]] = {}
    for language, found in features.items():
        for feature in set(found):
            languages.setdefault(feature, []).append(language)
    return {feature: tuple((each, weight / len(found)) for each in found) for feature, found in languages.items()}


def _by_words(sample: str) -> str | None:
    """Return the language with most of its function words, letters and endings in a text of Latin letters."""
    words, endings, letters = _features()
    scores: dict[str, float] = dict.fromkeys(FUNCTION_WORDS, 0.0)
    lower = sample.lower()
    found = _WORD.findall(lower)
    is_told = False
    for word in found:
        for language, share in words.get(word, ()):
            scores[language] += share
            is_told = True
    for word in found[:_ENDINGS_LOOKED_AT]:
        for length in (4, 3, 2):
            if len(word) > length:
                for language, share in endings.get(word[-length:], ()):
                    scores[language] += share
    for letter, count in Counter(lower).items() if not lower.isascii() else ():
        for language, share in letters.get(letter, ()):
            scores[language] += share * min(count, _LETTERS_COUNTED)
            is_told = True
    best, score = max(scores.items(), key=lambda each: (each[1], each[0]))
    if len(found) < _FEWEST or not is_told:  # endings alone are those of many languages
        return None
    least = max(_CLEAR, _DENSE * len(found))
    if best == DEFAULT:
        return best if score >= least else None
    return best if score >= scores[DEFAULT] + least else None
