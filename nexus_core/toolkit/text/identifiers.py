"""Tokenizer of what is no plain word: versions, dates, numbers, measures, abbreviations, names with signs in them.

`tokens("v2.3.1")` gives `2.3.1`; each token is either a word, to be stemmed, or what it is compared by as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from nexus_core.toolkit.text.scripts import SYMBOLS, letters

# Bounds on repetition keep the search linear, and no word can grow with the text. A possessive s belongs to no word.
_PATTERN = r"""
    (?<![\w.,/-])(?:(?P<year>[12]\d{{3}})(?P<a>[-/.])(?P<month>\d{{1,2}})(?P=a)(?P<day>\d{{1,2}})
        |(?P<one>\d{{1,2}})(?P<b>[-/.])(?P<two>\d{{1,2}})(?P=b)(?P<last>[12]\d{{3}}))(?=\D|$)(?![/-]\d|[.]\d)
    |(?<![\w.])[vV]?(?P<version>\d{{1,9}}(?:\.\d{{1,9}}){{2,8}})
    |(?<!\w)[vV](?P<short_version>\d{{1,9}}\.\d{{1,9}})
    |(?P<number>\d{{1,32}}(?:[.,]\d{{1,32}}){{1,8}}|\d{{1,3}}(?:'\d{{3}}){{1,8}}(?!\w))
    |(?<!\w)(?P<initials>(?:[^\W\d_]\.){{2,8}}(?:[^\W\d_](?!\w))?)
    |(?<!\w)(?P<pair>[A-Za-z]{{1,4}}&[A-Za-z]{{1,4}})(?!\w)
    |(?<![\w.])(?P<library>[A-Za-z][a-z0-9]{{1,31}}\.(?:js|io))(?!\w)
    |(?<!\w)(?P<sign>[cC]\+\+|[cCfFjJ]\#(?!\w)|\.(?:NET|Net|net)(?!\w))
    {symbols}
    |(?P<word>{letters}{{1,64}})(?:'[sS]\b)?
"""
_ASCII = re.compile(_PATTERN.format(symbols="", letters=r"\w"), re.VERBOSE)
_SIGN = re.compile(r"[.]\w|[&+#]|\d[,'/-]\d").search
_IDENTIFIER = re.compile(
    r"\d[.,'/-]\d|(?<!\w)[vV]\d|[A-Za-z]&[A-Za-z]|(?<!\w)[^\W\d_]\.[^\W\d_](?!\w)|[cC]\+\+|[cCfFjJ]\#|\.[nN][eE][tT]|\w\.(?:js|io)(?!\w)"
).search
# Letters and a number, a letter and a word, two short parts (Wi-Fi), co- and a word: all hyphened words in one cost
# Cranfield .007 of its nDCG@10, those of two letters and a word .003. Where programs subtract one or two from a
# variable, nothing is joined.
_HYPHENATED = re.compile(
    r"(?<![\w-])(?:[^\W\d_A-Z]{2,6}-(?:[3-9]|\d{2,32})|[A-Z][^\W\d_]{0,5}-\d{1,32}|[^\W\d_]-[^\W\d_A-Z]{2,32}|[^\W\d_][^\W\d_A-Z]-[^\W\d_][^\W\d_A-Z]{1,2}|[Cc]o-[^\W\d_A-Z]{2,32}"
    r"|(?=\d[\d-]{8})\d{1,32}(?:-\d{1,32}){1,4})(?![\w-])"
)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?").fullmatch
_POINTED_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?").fullmatch
Token = tuple[str, bool]
"""A text, and whether it is a word: to be stemmed, cut by case, left out as a stop word."""


def tokens(text: str, months: tuple[str, ...]) -> list[Token]:
    """Return the tokens of a normalized text without white space, in order; hyphened words in one follow the rest."""
    pattern = _ASCII if text.isascii() else _any_script()
    result: list[Token] = []
    has_date = False
    for match in pattern.finditer(text):
        kind = match.lastgroup
        found = match[kind or 0]
        if kind == "word":
            result.append((found, True))
        elif kind == "number":
            result += [(number, False) for number in numbers(found)]
        elif kind == "initials":
            result.append((found.replace(".", ""), True))
        elif kind == "pair":
            result += [(found.lower(), False), *((part, True) for part in found.split("&"))]
        elif kind == "library":
            joined = found.replace(".", "").lower()
            result += [(joined, joined.isalpha()), *((part, True) for part in found.split("."))]
        elif kind in ("day", "last"):
            has_date = True
            result += _date(match, months)
        else:  # versions, names with signs, symbols
            result.append((found.lower(), False))
            if kind == "version" and _POINTED_THOUSANDS(found):
                result.append((found.replace(".", ""), False))
    if "-" in text and not has_date:
        result += [(joined, joined.isalpha()) for joined in hyphenated(text)]  # its parts are there
    return result


def has_identifier(text: str) -> bool:
    """Tell whether there may be one in a text; what has none is only words."""
    return _SIGN(text) is not None and _IDENTIFIER(text) is not None


def hyphenated(text: str) -> list[str]:
    """Return what is also written in one, so: `email` of `e-mail`, `ora00942` of `ORA-00942`, a number of an ISBN."""
    place = text.find("-")
    # The first hyphen tells, without a search for each compound word.
    if not text[place + 1 : place + 2].isdigit() and place > 2 and text[place - 3].isalnum():
        return []
    return [found.replace("-", "").lower() for found in _HYPHENATED.findall(text)]


@lru_cache(maxsize=1)
def _any_script() -> re.Pattern[str]:
    return re.compile(_PATTERN.format(symbols=f"|(?P<symbol>[{SYMBOLS}])", letters=letters()), re.VERBOSE)


def numbers(found: str) -> tuple[str, ...]:
    """Return a number without what separates its thousands; where a point may do so or not, both."""
    if found.isdigit():
        return (found,)
    if _THOUSANDS(found):
        return (found.replace(",", ""),)
    if "'" in found:
        return (found.replace("'", ""),)
    if _POINTED_THOUSANDS(found):
        plain = found.replace(".", "").replace(",", ".")
        return (plain,) if "," in found or found.count(".") > 1 else (found, plain)
    found = found.replace(",", ".") if found.count(",") == 1 else found
    return (found, found[:-2]) if found.endswith(".0") else (found,)  # OAuth 2.0 is OAuth 2


def _date(match: re.Match[str], months: tuple[str, ...]) -> Iterator[Token]:
    """Yield a date as it is written in words; one that may be read in two ways as both, and its numbers."""
    if match["year"]:
        year, month, day = match["year"], int(match["month"]), int(match["day"])
    else:
        year, day, month = match["last"], int(match["one"]), int(match["two"])
        if match["b"] == "/" and month <= 12 and day <= 12 and day != month:
            yield from (
                (f"{year}-{one:02}-{two:02}", False) for one, two in ((month, day), (day, month)) if one and two
            )
            yield from ((part, False) for part in (str(day), str(month), year))
            return
        if month > 12:
            day, month = month, day
    if not (1 <= month <= 12 and 1 <= day <= 31):
        yield from ((part, False) for part in re.split(r"\D", match[0]))
        return
    yield f"{year}-{month:02}-{day:02}", False
    yield str(day), False
    yield months[month - 1], True
    yield year, False
