"""The front matter of a Markdown document, YAML between `---` or TOML between `+++`: metadata, not text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from importlib import import_module
from math import isfinite
from typing import Any

from attrs import frozen

from nexus_core import Metadata

_YAML = re.compile(r"\A---[ \t]*\n(.{0,20000}?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TOML = re.compile(r"\A\+\+\+[ \t]*\n(.{0,20000}?\n)?\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
_LONGEST = 20_000
_SAYS_READERS = re.compile(r"^[\"']?readers[\"']?[ \t]*[:=]", re.MULTILINE)
_MERGE = "tag:yaml.org,2002:merge"
_MOST_CHARACTERS = 1000
"""Characters of values, which each item repeats."""
_MOST_TAGS = 50
_WORDY = frozenset({str, int, float, date, datetime})
"""Types of values that people ask about."""
_LONGEST_TAG = 200
_AUTHORS, _LANGUAGES, _DATES = ("author", "authors"), ("lang", "language"), ("date",)
_ABSTRACTS = ("description", "summary", "abstract")
_FOR_PROGRAMS = re.compile(
    r"title|date|lang(uage)?|layout|permalink|slug|id|url|image|icon|template|type|weight|draft|aliases|redirect\w*|nav\w*"
    r"|sidebar\w*|toc\w*|hide\w*|show\w*|css\w*|js\w*|\w*class|output|header-includes|bibliography|csl",
    re.IGNORECASE,
)
"""Keys whose values tell a site generator what to do."""
_LONGEST_VALUE = 300
_DEEPEST = 3
"""Mappings in mappings that are looked through."""


@frozen
class FrontMatter:
    """What a document says of itself before its text."""

    metadata: Metadata
    text: str = ""
    """What of that a reader would want to know, in words: its description, its tags, who owns it."""
    lines: int = 0
    """Of the file that it takes."""


NONE = FrontMatter(Metadata())


def front_matter(text: str) -> FrontMatter:
    """Return the front matter of a document; what is neither a YAML mapping nor TOML is text."""
    match = _YAML.match(text) if text.startswith("---") else _TOML.match(text) if text.startswith("+++") else None
    if match is None or (":" if text[0] == "-" else "=") not in (match[1] or ""):
        return _unread(text[:_LONGEST] if match is None and text.startswith(("---", "+++")) else "")
    values = _yaml(match[1]) if text[0] == "-" else _toml(match[1])
    if values is None:
        return _unread(match[1])
    return FrontMatter(
        metadata_of(values),
        _in_words(values),
        match[0].count("\n") + (not match[0].endswith("\n")),
    )


def _unread(text: str) -> FrontMatter:
    """Return what cannot be read as text alone; where it says who may see the document, nobody knows who that is."""
    return FrontMatter(Metadata(values={"readers": ""})) if _SAYS_READERS.search(text) else NONE


def metadata_of(values: Mapping[Any, Any]) -> Metadata:
    """Return what some named values tell of their document."""
    tags = values.get("tags", values.get("keywords")) or ()
    if isinstance(tags, str):
        tags = [tag.strip() for tag in tags.split(",")] if "," in tags else tags.split()
    tags = tags if isinstance(tags, list) else ()
    return Metadata(
        title=_first(values, ("title",)),
        author=_first(values, _AUTHORS),
        date=_first(values, _DATES),
        language=_first(values, _LANGUAGES),
        tags=tuple(str(tag)[:_LONGEST_TAG] for tag in tags[:_MOST_TAGS] if isinstance(tag, str | int | float) and tag),
        values={**dict(_rest(values)), **_readers(values)},
    )


def _readers(values: Mapping[Any, Any]) -> Mapping[str, Any]:
    """Return who alone may see the document, whatever is said there: what names no groups shows it to nobody."""
    told = [value for key, value in values.items() if isinstance(key, str) and key.strip().lower() == "readers"]
    if not told:
        return {}
    names = told[0] if len(told) == 1 else ""
    if isinstance(names, list):
        names = [name if isinstance(name, str) else "" for name in names]
    return {"readers": names if isinstance(names, str | list) else str(names)}


def _in_words(values: Mapping[Any, Any]) -> str:
    """Return the values that people read, in a line; the description is a sentence of its own."""
    abstract = ""
    told: list[str] = []
    for path, value in _flat(values):
        key = path[-1]
        if not isinstance(key, str) or any(_FOR_PROGRAMS.fullmatch(str(part)) for part in path):
            continue
        if key.lower() in ("tags", "readers"):  # they stand with each item, and are asked for by name
            continue
        words = value[:_MOST_TAGS] if isinstance(value, list) else [value]
        text = ", ".join(" ".join(str(word).split()) for word in words if type(word) in _WORDY)
        if key.lower() in _ABSTRACTS and text:
            abstract = text
        elif any(map(str.isalnum, text)) and len(text) <= _LONGEST_VALUE and sum(map(len, told)) < _MOST_CHARACTERS:
            told.append(f"{key.replace('_', ' ').replace('-', ' ').capitalize()}: {text}")
    return " ".join(filter(None, (abstract, "; ".join(told))))


def _flat(values: Mapping[Any, Any], above: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the values by the keys that lead to them: mappings in mappings are looked through, none too deep."""
    for key, value in values.items():
        if isinstance(value, Mapping) and len(above) < _DEEPEST:
            yield from _flat(value, (*above, key))
        else:
            yield (*above, key), value


def _first(values: Mapping[Any, Any], names: tuple[str, ...]) -> str:
    for name in names:
        value = _plain(values.get(name))
        if value is not None:
            return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return ""


def _rest(values: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the plain values that have no place of their own, as far as there is room for them."""
    own = ("title", "tags", "readers", *_AUTHORS, *_LANGUAGES, *_DATES)
    left = _MOST_CHARACTERS
    for path, value in _flat(values):
        key = ".".join(map(str, path))
        if path[0] in own or not all(isinstance(part, str | int | float | date) for part in path):
            continue
        plain = _plain(value)
        left -= 0 if plain is None else len(key) + len(str(plain))
        if plain is not None and left >= 0:
            yield key, plain


def _plain(value: Any) -> str | int | float | bool | list[Any] | None:
    """Return a value as JSON has it, and None for what is none; of a mapping its name."""
    if isinstance(value, Mapping):
        value = value.get("name")
    if isinstance(value, list):
        found = [
            plain for each in value[:_MOST_TAGS] if not isinstance(each, list) and (plain := _plain(each)) is not None
        ]
        return found or None
    if isinstance(value, date | time):
        return value.isoformat()
    if (isinstance(value, float) and not isfinite(value)) or (isinstance(value, int) and abs(value) >= 1 << 63):
        return None
    return value if isinstance(value, (str, int, float)) else None


def _toml(text: str) -> Mapping[str, Any] | None:
    library = import_module("tomllib")  # only documents with such a front matter pay for it
    try:
        values: Mapping[str, Any] = library.loads(text)
    except (ValueError, RecursionError):
        return None
    return values


def _yaml(text: str) -> Mapping[Any, Any] | None:
    """Return the mapping that YAML writes, `None` where it is no YAML or no mapping."""
    yaml = import_module("yaml")  # only documents with such a front matter pay for it

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        """A list of aliases under `<<` doubles a mapping with each line, so a page could take hours: it is left out."""

        def flatten_mapping(self, node: Any) -> None:
            """Leave merge keys out instead of copying what they name."""
            node.value = [(key, value) for key, value in node.value if key.tag != _MERGE]

    try:
        values = yaml.load(text, Loader)  # a SafeLoader: it makes plain values only
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return values if isinstance(values, Mapping) else None
