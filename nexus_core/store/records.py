"""What a store tells of what it holds, and what it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Item, Value

LONGEST_NAME = 4096
LONGEST_REASON = 1000
"""Characters of an id, a name of a context or document, a tag, a link: as long as a path may be."""
LONGEST_TEXT = 64 * 2**20
"""Characters of an item: text, title, kind, source and metadata together."""
LINKS = "links"
"""The field of the metadata that names the items that one links to."""
GROUP = "group:"
"""How the name of a group of readers begins."""
DEEPEST = 64
"""Lists and maps within one another in an item's metadata: what can be written must be readable everywhere."""


@frozen(kw_only=True, eq=False, repr=False)
class Context(Value):
    """A named collection of items, as it is at rest."""

    id: int
    name: str
    description: str
    language: str
    """Whose stems its index holds."""
    encoding: str
    """The one whose tokens are counted when an item is added; others are counted when they are first needed."""
    created: float
    """Seconds since the epoch, as is the next."""
    changed: float
    items: int
    analyzer: int
    """The version by which its words were made: another one than this version's are made anew by who writes next."""
    readers: tuple[str, ...] = ()
    """The groups that may see it; empty: everyone who may ask it."""
    embedder: str = ""
    """Whose vectors its searches by meaning compare; empty: it is searched by words."""


@frozen(kw_only=True, eq=False, repr=False)
class StoredDocument(Value):
    """What items were read from, such as a file."""

    name: str
    """Unique within its context."""
    origin: str = ""
    """What it was added as part of, such as a folder: what is gone from there can be pruned."""
    stamp: str = ""
    """By which it is told, without reading it, that it is surely the same."""
    digest: str = ""
    """SHA-256 of its bytes, in hexadecimal."""
    size: int = 0
    """In bytes."""
    original: str | None = None
    """The key of its bytes among the objects, where they are kept there."""
    skipped: str = ""
    """Why nothing was read of it; empty where it was read."""
    reader: str = ""
    """What has read it, with its version, such as `html 3`; empty where that is not known."""
    problems: tuple[str, ...] = ()
    """What of it is not in the context as it should be, and why; it is read again next time."""
    remarks: tuple[str, ...] = ()
    """What its reader says of it: pages without text, parts that are missing or were read with doubt."""
    readers: tuple[str, ...] = ()
    """The groups that may see all of it; empty: whoever may see its context."""


@frozen(kw_only=True, eq=False, repr=False)
class Added(Value):
    """What became of items that were to be added."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    remarks: tuple[str, ...] = ()
    """What was kept and is of no use as it is, each once: vectors of another model than the context's."""

    def __add__(self, other: Added) -> Added:
        return Added(
            new=self.new + other.new,
            changed=self.changed + other.changed,
            unchanged=self.unchanged + other.unchanged,
            removed=self.removed + other.removed,
            remarks=tuple(dict.fromkeys((*self.remarks, *other.remarks))),
        )


@frozen(kw_only=True, eq=False, repr=False)
class Imported(Value):
    """What became of a file that was to be imported."""

    context: str
    added: Added
    problems: tuple[str, ...] = ()
    """Why lines were left out, each with its number: the first thousand of them."""
    left_out: int = 0
    """Lines."""
    embedder: str = ""
    """By which the context was searched by meaning where it was exported, and is not here yet."""


def checked_name(name: object, what: str) -> str:
    """Return a name that can be kept exactly; raises UsageError with the reason for any other."""
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{what} is empty: give it at least one visible character")
    check_text(name, what, LONGEST_NAME)
    if not name.isprintable() and any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise UsageError(f"{what} holds a control character: {ascii(name)[:80]}; leave it out")
    return name


def checked_readers(readers: object, where: str) -> tuple[str, ...]:
    """Return groups in their order, each once; raises UsageError for what names no group."""
    if not isinstance(readers, tuple | list):
        raise UsageError(f"{where}: its readers are of type {type(readers).__name__}: give a list, as [group:hr]")
    for group in readers:
        checked_name(group, f"{where}: one of its readers")
        if not group.startswith(GROUP) or len(group) == len(GROUP):
            raise UsageError(f"{where}: {group[:80]!r} names no group of readers: write it as `group:hr`")
    return tuple(sorted(set(readers)))


def check_text(text: object, what: str, longest: int = LONGEST_TEXT) -> None:
    """Raise UsageError, with the reason, for what can not be kept exactly."""
    if not isinstance(text, str):
        raise UsageError(f"{what} is no text but of type {type(text).__name__}")
    if len(text) > longest:
        raise UsageError(f"{what} has {len(text):,} characters, more than {longest:,}: shorten or divide it")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{what} holds half of a surrogate pair at character {error.start + 1}, which is no text: replace it"
        ) from error


def checked_item(item: Item) -> str:
    """Return the metadata of an item as JSON; raises UsageError, with the reason, for what cannot be kept exactly."""
    checked_name(item.id, f"the id of an item ({ascii(item.id)[:80]})")
    where = f"item {ascii(item.id)[:80]}"
    for name in ("text", "title", "kind", "source"):
        check_text(getattr(item, name), f"{where}: its {name}")
    if not isinstance(item.tags, tuple | list):
        raise UsageError(f"{where}: its tags are of type {type(item.tags).__name__}: give a tuple of texts")
    for tag in item.tags:
        checked_name(tag, f"{where}: a tag")
    checked_readers(item.readers, where)
    told = _as_json(item.metadata, f"{where}: its metadata")
    for target in links_of(item):
        checked_name(target, f"{where}: a link")
    total = len(item.text) + len(item.title) + len(item.kind) + len(item.source) + len(told)
    if total > LONGEST_TEXT:
        raise UsageError(f"{where} has {total:,} characters in all, more than {LONGEST_TEXT:,}: divide it")
    return told


def _as_json(metadata: Any, what: str) -> str:
    if not metadata and isinstance(metadata, Mapping):
        return "{}"
    try:
        given = dict(metadata)
        told = _WRITE(given)
        if _is_plain(given):
            check_text(told, what)
            return told
        read = json.loads(told) if told.count("[") + told.count("{") <= DEEPEST or _depth(given) <= DEEPEST else None
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what} is no JSON ({str(error)[:200]}): use texts, finite numbers, lists, maps") from error
    if read is None:
        raise UsageError(f"{what} is more than {DEEPEST} lists and maps deep: make it flatter")
    if read != given and _with_lists(given) != read:
        raise UsageError(f"{what} has keys that are no texts: JSON knows no others")
    check_text(told, what)
    return told


_WRITE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_PLAIN = frozenset((str, int, bool, type(None)))


def _is_plain(given: Mapping[Any, Any]) -> bool:
    """Tell whether metadata surely come back from JSON as they are: texts and numbers, and lists of them."""
    kinds = {type(key) for key in given}
    for value in given.values():
        kinds.update(map(type, value) if type(value) is list or type(value) is tuple else (type(value),))
    return kinds <= _PLAIN and all(type(key) is str for key in given)


def links_of(item: Item) -> tuple[str, ...]:
    """Return the ids that an item links to, as its metadata tells them."""
    told: Any = item.metadata.get(LINKS)
    if not isinstance(told, list | tuple):
        return ()
    return tuple(dict.fromkeys(target for target in told if isinstance(target, str) and target))


def digest_of(item: Item, metadata: str) -> bytes:
    """Return what tells two states of an item apart."""
    parts = (item.id, item.title, item.text, item.kind, item.source, metadata, *sorted(set(item.tags)))
    if item.readers:
        parts = (*parts, "\0readers", *sorted(set(item.readers)))  # no tag holds a control character
    lengths = ",".join([str(len(part)) for part in parts])  # so that no text can pose as two parts
    return sha256("\0".join((lengths, *parts)).encode()).digest()[:16]


def _depth(value: Any) -> int:
    """Return how deep a value is, or at least that it is too deep."""
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        depth += 1
        inner: list[Any] = []
        for each in level:
            inner += each.values() if isinstance(each, dict) else each
        level = [each for each in inner if isinstance(each, dict | list | tuple)]
    return depth


def _with_lists(given: Any) -> Any:
    """Return a value with lists for its tuples: they come back as lists, and that is no loss."""
    if isinstance(given, tuple | list):
        return [_with_lists(each) for each in given]
    if isinstance(given, dict):
        return {key: _with_lists(each) for key, each in given.items()}
    return given
