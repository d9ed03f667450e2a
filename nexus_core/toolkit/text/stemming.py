"""From text to the terms that are compared: one form of each word, no stop words, stemmed; identifiers in their parts.

A text is cut at white space into pieces, and the terms of a piece are looked up in a table: pieces repeat. What a piece
yields is worked out once. Plain English words take a short way; all else is brought to one form (`normalization`), cut
where the script changes (`scripts`), and searched for versions, dates and the like (`identifiers`).

A word with marks (`résumé`) yields two terms, with and without them, so that it is found by both, and best as written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Generic, Literal, TypeVar, get_args

from nexus_core.toolkit.text.identifiers import has_identifier, hyphenated, numbers, tokens
from nexus_core.toolkit.text.language_words import MONTHS
from nexus_core.toolkit.text.normalization import fold, fold_case, normalize
from nexus_core.toolkit.text.scripts import NON_JOINER, characters, cut_by_script, stemmer_for

ANALYZER_VERSION = 4
"""Of what texts yield: an index of another version is to be built anew."""
LONGEST_PIECE = 64
"""In characters; what is longer is not remembered."""
PIECES_KEPT = 1 << 17
"""In each table: for the terms of one language about 50 MB at most."""

_Value = TypeVar("_Value")

# What a word, an identifier or a name with signs may be made of; the rest cuts a piece that is too long.
_CHUNK = re.compile(
    r"[^\s\x00-\x1f!\"$%()*;<=>?\[\\\]^`{|}~\u2000-\u200b\u200d-\u206f\u3000-\u3004\u3008-\u3020\uff00-\uff0f]{1,64}"
)


def pieces(text: str) -> list[str]:
    """Return `text` cut at white space, as `stems` wants it: a piece longer than 64 characters comes in several.

    A text all in capitals comes in lower case: there, a capital says nothing of a word.
    """
    found = cased(text).split()
    if max(map(len, found), default=0) <= LONGEST_PIECE:
        return found
    return [short for piece in found for short in ([piece] if len(piece) <= LONGEST_PIECE else _shortened(piece))]


def cased(text: str) -> str:
    """Return a text as its words are compared: all in capitals it is written in lower case, since they say nothing."""
    if not text.isupper():
        return text
    lower = text.lower()
    return lower if len(lower) == len(text) else text  # places in it stay


def _shortened(piece: str) -> list[str]:
    normal = normalize(piece).split()
    return [part for each in normal for part in ([each] if len(each) <= LONGEST_PIECE else _CHUNK.findall(each))]


class PieceTable(dict[str, _Value], Generic[_Value]):
    """The values of the pieces met so far, computed by `compute`; a full table is emptied."""

    def __init__(
        self, compute: Callable[[str], _Value], join: Callable[[str, Sequence[_Value]], _Value] | None = None
    ) -> None:
        """Take what computes a value, and what joins those of the parts of a piece that is too long to be kept."""
        super().__init__()
        self._compute, self._join = compute, join

    def __missing__(self, piece: str) -> _Value:
        if self._join is not None and len(piece) > LONGEST_PIECE:
            return self._join(piece, [self[short] for short in _shortened(piece)])
        value = self._compute(piece)
        if len(self) >= PIECES_KEPT:
            self.clear()
        self[piece] = value
        return value


Language = Literal[
    "arabic", "armenian", "basque", "catalan", "czech", "danish", "dutch", "english", "estonian", "finnish", "french",
    "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian",
    "persian", "polish", "porter", "portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil",
    "turkish", "yiddish", "none",
]  # fmt: skip
"""The Snowball stemmers by name; `none` compares words without stems."""

LANGUAGES: tuple[str, ...] = get_args(Language)

_ENGLISH_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was
will with
"""
STOP_WORDS = frozenset(_ENGLISH_STOP_WORDS.split())
"""The 33 words that Lucene's English analysis leaves out. Texts in other languages keep all their words."""

# A word of Latin letters, or a number, with quotes, brackets and stops around it: most pieces of English.
_PLAIN = re.compile(
    "[\"'(\\[“‘«]*(?:([A-Za-z][a-z]{0,63})(?:['’]s)?|([0-9]{1,32}(?:\\.[0-9]{1,2})?)%?)[.,;:!?\"')\\]”’»]*"
).fullmatch
_WORD = re.compile(r"(\w{1,64})(?:'[sS]\b)?")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z_\d]+|\d+")
_MIXED_CASE = re.compile(r"[^\W\d_A-Z][A-Z]|[A-Z]{2}[a-z]")
_LETTERS_OR_DIGITS = re.compile(r"\d+|[^\d_]+")
_NAME_AND_NUMBER = 2
_MOST_PARTS = 4
"""Of letters and digits in turn: what has more is a hash, or the number of a part."""
_WITH_LINKING_S = frozenset({"german", "dutch", "swedish", "danish", "norwegian"})
_LEAST_COMPOUND = 11
_COMPOUND = re.compile(r"([^\W\d_]{4,24}[bdfghklmnrt])s(?!ch|t|ität)([^\W\d_]{5,40})").fullmatch
"""`Mitgliedsbeitrag`, `Arbeitsvertrag`: the s after a consonant that belongs to neither part."""
_HEBREW_PREFIXES = frozenset("הבלושמכ")
_LEAST_HEBREW = 3
_BENGALI_ARTICLE = re.compile("([\u0980-\u09ff]{2,})(?:টি|টা|টুকু|গুলো|গুলি|গুলা|খানা|খানি)(?:র|কে|তে|য|ও|ই)?").fullmatch
"""The article that follows a noun in one word, with the ending of a case."""
_WITH_AFFIXES = _HEBREW_PREFIXES.union(map(chr, range(0x0985, 0x09E2)))
_FIRST_UNCASED = "\u0590"
"""All that is before it is Latin, Greek, Cyrillic or Armenian."""


def stems(piece: str, language: str = "english") -> tuple[str, ...]:
    """Return what a piece of text is compared by, in order: stems without stop words, parts after their whole.

    A piece has no white space in it; no term has.
    """
    return stem_table(language)[piece]


def stem_table(language: str, *, all_words: bool = False) -> PieceTable[tuple[str, ...]]:
    """Return the terms of pieces in a language, as `stems` does: for those who look up many.

    With `all_words` those of stop words, too: for a question that has no others.
    """
    return _stem_table(language, all_words)


@lru_cache(maxsize=2 * len(LANGUAGES))
def _stem_table(language: str, all_words: bool) -> PieceTable[tuple[str, ...]]:
    return PieceTable(_Analyzer(language, all_words=all_words).terms_of)


class _Analyzer:
    """Works out the terms of pieces of text in one language."""

    def __init__(self, language: str, *, all_words: bool) -> None:
        _check(language)
        self._language = language
        self._stop_words = STOP_WORDS if _latin_stemmer(language) in ("english", "porter") else frozenset[str]()
        if all_words:
            self._stop_words = frozenset()
        self._months = MONTHS.get(language, MONTHS["english"])
        self._has_linking_s = language in _WITH_LINKING_S
        self._stem_latin = stemmer(_latin_stemmer(language))

    def terms_of(self, piece: str) -> tuple[str, ...]:
        """Return the terms of a piece."""
        plain = _PLAIN(piece)
        if plain is not None:
            if plain[1] is None:
                return numbers(plain[2])
            word = plain[1].lower()
            return () if word in self._stop_words else self._forms(word)
        if piece.isascii() and len(piece) <= LONGEST_PIECE and not has_identifier(piece):
            found = [term for word in _WORD.findall(piece) for term in self._terms_of_cased(word)]
            return tuple(found) if "-" not in piece else (*found, *map(self._stem_latin, hyphenated(piece)))
        return tuple(self._terms(normalize(piece)))

    def _terms(self, normal: str) -> list[str]:
        if len(normal) > LONGEST_PIECE:
            return [term for part in _shortened(normal) for term in self.terms_of(part)]
        terms: list[str] = []
        for found, is_word in tokens(normal, self._months):
            if not is_word:
                terms.append(found)
            elif found.isascii() or max(found) < _FIRST_UNCASED:
                terms += self._terms_of_cased(found)
            else:
                terms += self._terms_of_runs(found)
        return terms

    def _terms_of_runs(self, word: str) -> Iterator[str]:
        for run, is_unspaced in cut_by_script(word):
            if is_unspaced:
                yield from characters(run)
            elif NON_JOINER in run:
                yield from self._forms(run.replace(NON_JOINER, ""))
                yield from (term for part in run.split(NON_JOINER) if len(part) > 1 for term in self._forms(part))
            else:
                yield from self._terms_of_cased(run)

    def _terms_of_cased(self, word: str) -> tuple[str, ...]:
        is_ascii = word.isascii()
        lower = word.lower() if is_ascii else fold_case(word, self._language)
        # In capitals, what is a stop word otherwise is a name: IT, WHO.
        if lower in self._stop_words and not (len(word) > 1 and word.isupper()):
            return ()
        # What has one case, or begins with its only capital, needs no search for parts.
        if "_" not in word and (word.islower() or word.isupper() or word.istitle() or not _MIXED_CASE.search(word)):
            return self._forms(lower) if word.isalpha() else self._with_number(lower)
        parts = [part.lower() for part in _PART.findall(word)]
        if len(parts) == 1:
            return self._of_parts(parts)
        runs = [] if word.isalpha() else _of_letters_and_digits(lower)
        if len(runs) == _NAME_AND_NUMBER:  # of OAuth2 also oauth, besides o and auth
            parts += [run for run in runs if run not in parts]
        return (*self._forms(lower), *self._of_parts(parts))

    def _with_number(self, lower: str) -> tuple[str, ...]:
        """Return a word of letters and digits, and its parts."""
        parts = _of_letters_and_digits(lower)
        return self._forms(lower) if len(parts) < 2 else (*self._forms(lower), *self._of_parts(parts))

    def _of_parts(self, parts: Sequence[str]) -> tuple[str, ...]:
        return tuple([term for part in parts if part not in self._stop_words for term in self._forms(part)])

    def _forms(self, lower: str) -> tuple[str, ...]:
        """Return a word's stem, with marks and without; of a compound with a linking s those of both parts, too."""
        found = _COMPOUND(lower) if self._has_linking_s and len(lower) >= _LEAST_COMPOUND else None
        if found is None:
            return self._forms_of_one(lower)
        return tuple([form for each in (lower, *found.groups()) for form in self._forms_of_one(each)])

    def _forms_of_one(self, lower: str) -> tuple[str, ...]:
        if lower.isascii():
            stem = self._stem_latin(lower)
            if self._language != "turkish" or "i" not in lower:
                return (stem,)
            # Typed without its letters: endings are known by the dotless i alone.
            return tuple(dict.fromkeys((stem, fold(self._stem_latin(lower.replace("i", "ı"))))))
        plain, stem_of = fold(lower), stemmer(stemmer_for(lower[0], self._language))
        exact = stem_of(lower)
        if plain == lower:
            return (exact, *_without_affix(exact)) if lower[0] in _WITH_AFFIXES else (exact,)
        base = stem_of(plain)
        # Some stemmers take marks away, too; others know an ending only with its marks.
        # Of a mark that stands alone nothing is left.
        bare = [form for word in _without_affix(lower) for form in (word, fold(word))]
        return tuple(dict.fromkeys(filter(None, (lower if exact == base else exact, base, fold(exact), *bare))))


def _of_letters_and_digits(lower: str) -> list[str]:
    """Return the parts of a word where letters and digits meet; none of a code that has many."""
    parts = _LETTERS_OR_DIGITS.findall(lower)
    return parts if len(parts) <= _MOST_PARTS else []


def _without_affix(word: str) -> tuple[str, ...]:
    """Return what is left of a word of Hebrew without a letter that may be a prefix, of Bengali without its article."""
    if word[:1] in _HEBREW_PREFIXES and len(word) > _LEAST_HEBREW:
        return (word[1:],)
    article = _BENGALI_ARTICLE(word)
    return () if article is None else (article[1],)


def _latin_stemmer(language: str) -> str:
    return stemmer_for("a", language)


def _check(language: str) -> None:
    if language not in LANGUAGES:
        raise ValueError(f"there is no stemmer for {language!r}; choose one of {', '.join(LANGUAGES)}")


@lru_cache(maxsize=len(LANGUAGES))
def stemmer(language: str) -> Callable[[str], str]:
    """Return what stems the words of a language."""
    _check(language)
    if language == "none":
        return str
    # Imported at the first word: to declare a ranker takes no stemmer.
    from Stemmer import Stemmer

    stem: Callable[[str], str] = Stemmer(language, 0).stemWord
    if language == "persian":
        return lambda word: stem(word.replace("ي", "ی").replace("ك", "ک"))
    return stem
