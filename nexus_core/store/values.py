"""What a store tells of what it holds, and what it takes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.value import Value
from nexus_core.contract.values import Item

LONGEST_NAME = 500
"""Characters of an id, a name of a context or document, a tag, a link."""
LONGEST_TEXT = 64 * 2**20
"""Characters of an item's text."""


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


@frozen(kw_only=True, eq=False, repr=False)
class Document(Value):
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


@frozen(kw_only=True, eq=False, repr=False)
class Added(Value):
    """What became of items that were to be added."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0

    def __add__(self, other: Added) -> Added:
        return Added(
            new=self.new + other.new,
            changed=self.changed + other.changed,
            unchanged=self.unchanged + other.unchanged,
            removed=self.removed + other.removed,
        )


def checked_name(name: object, what: str) -> str:
    """Return a name that can be kept exactly; raises UsageError with the reason for any other."""
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{what} is empty: give it at least one visible character")
    if len(name) > LONGEST_NAME:
        raise UsageError(f"{what} has {len(name):,} characters, more than {LONGEST_NAME}: shorten it")
    _check_text(name, what)
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise UsageError(f"{what} holds a control character: {ascii(name)[:80]}; leave it out")
    return name


def checked_item(item: Item) -> str:
    """Return the metadata of an item as JSON; raises UsageError, with the reason, for what cannot be kept exactly."""
    where = f"the id of an item ({ascii(item.id)[:80]})"
    checked_name(item.id, where)
    where = f"item {item.id[:80]!r}"
    if len(item.text) > LONGEST_TEXT:
        raise UsageError(f"{where}: its text has {len(item.text):,} characters, more than {LONGEST_TEXT:,}: divide it")
    for name in ("text", "title", "kind", "source"):
        _check_text(getattr(item, name), f"{where}: its {name}")
    for tag in item.tags:
        checked_name(tag, f"{where}: a tag")
    for target in links_of(item):
        checked_name(target, f"{where}: a link")
    try:
        told = json.dumps(dict(item.metadata), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{where}: its metadata is no JSON ({error}): use texts, finite numbers, lists, maps"
        ) from error
    if json.loads(told) != item.metadata and dict(item.metadata) != _with_lists(json.loads(told), item.metadata):
        raise UsageError(f"{where}: its metadata has keys that are no texts: JSON knows no others")
    _check_text(told, f"{where}: its metadata")
    return told


def links_of(item: Item) -> tuple[str, ...]:
    """Return the ids that an item links to, as its metadata tells them."""
    told: Any = item.metadata.get("links")
    if not isinstance(told, list | tuple):
        return ()
    return tuple(dict.fromkeys(target for target in told if isinstance(target, str) and target))


def digest_of(item: Item, metadata: str) -> bytes:
    """Return what tells two states of an item apart."""
    parts = (item.id, item.title, item.text, item.kind, item.source, metadata, *sorted(set(item.tags)))
    lengths = ",".join([str(len(part)) for part in parts])  # so that no text can pose as two parts
    return sha256("\0".join((lengths, *parts)).encode()).digest()[:16]


def _check_text(text: str, what: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{what} holds half of a surrogate pair at character {error.start + 1}, which is no text: replace it"
        ) from error


def _with_lists(told: Any, given: Any) -> Any:
    """Return what JSON tells with tuples where tuples were given: they come back as lists, and that is no loss."""
    if isinstance(given, tuple) and isinstance(told, list):
        return tuple(_with_lists(one, other) for one, other in zip(told, given, strict=True))
    if isinstance(given, list) and isinstance(told, list):
        return [_with_lists(one, other) for one, other in zip(told, given, strict=True)]
    if isinstance(given, dict) and isinstance(told, dict) and told.keys() == given.keys():
        return {key: _with_lists(told[key], given[key]) for key in told}
    return told
