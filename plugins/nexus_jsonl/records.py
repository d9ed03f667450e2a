"""From the lines of a file to items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from attrs import frozen

from nexus_core import Item, option, parse_readers, vector_key
from nexus_core.toolkit import did_you_mean, parse_item_vectors

_MISSING = object()
_AT_ONCE = 500
"""Items that are handed on together."""


@frozen
class FileRecords:
    """What came of a file."""

    items: tuple[Item, ...] = ()
    bad: tuple[str, ...] = ()
    """Lines that are no item, as `file:line: reason`."""
    left_out: tuple[str, ...] = ()
    """Lines without any text and lines whose id has come before, in the same form; the first one holds."""


class _Unfit(Exception):
    """An object that is no item."""


def read(lines: Iterable[bytes], name: str, fields: Fields) -> FileRecords:
    """Return the items of some lines; blank ones are passed over."""
    bad: list[str] = []
    left_out: list[str] = []
    items = tuple(each(lines, name, fields, bad, left_out))
    return FileRecords(items, tuple(bad), tuple(left_out))


def read_batches(path: str, name: str, fields: Fields) -> Iterator[FileRecords]:
    """Yield the items of a file some at a time, the last ones with all that was wrong; for another process."""
    bad: list[str] = []
    left_out: list[str] = []
    with open(path, "rb") as file:
        items = each(file, name, fields, bad, left_out)
        while len(some := tuple(islice(items, _AT_ONCE))) == _AT_ONCE:
            yield FileRecords(some)
    yield FileRecords(some, tuple(bad), tuple(left_out))


def each(lines: Iterable[bytes], name: str, fields: Fields, bad: list[str], left_out: list[str]) -> Iterator[Item]:
    """Yield the items one by one; what is wrong with lines is added to the lists, see `Reading`."""
    # Imported with the first file: who declares a pipeline reads none.
    from nexus_jsonl.lines import NoJsonError, parse

    places: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        stripped = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()
        if not stripped:
            continue
        try:
            record, twice = parse(stripped)
            item, remark = _item(record, fields, name, number)
        except NoJsonError as error:
            bad.append(f"{name}:{number}: is no JSON ({_reason(error, stripped, number)})")
        except _Unfit as error:
            bad.append(f"{name}:{number}: {error}")
        else:
            if not item.text.strip() and not item.title.strip():
                left_out.append(f"{name}:{number}: is empty; left out")
            elif places.setdefault(item.id, number) == number:
                if remark:
                    left_out.append(f"{name}:{number}: {remark}")
                if twice:
                    left_out.append(f"{name}:{number}: has the key {twice!r} more than once; the last one holds")
                yield item
            else:
                left_out.append(f"{name}:{number}: has the id {item.id!r} of line {places[item.id]}; left out")


def _reason(error: ValueError, line: bytes, number: int) -> str:
    if number == 1 and line.startswith(b"["):
        return "it begins an array: write one object a line, without brackets and commas around"
    return str(error)


def _item(record: Any, fields: Fields, name: str, number: int) -> tuple[Item, str]:
    """Return the item of a line, and what is wrong with who may see it."""
    if not isinstance(record, dict):
        raise _Unfit(f"must be an object, not {_word(record)}")
    used: set[str] = set()

    def value(key: str) -> Any:
        return _value(record, key, used)

    text, title = _text(value(fields.text), fields.text), _text(value(fields.title), fields.title)
    if text is None and title is None:
        raise _Unfit(_no_text(record, fields))
    granted = value("readers")
    readers, remark = ((), "") if granted is _MISSING else parse_readers(granted)
    tags, given, source = value(fields.tags), value(fields.metadata), _text(value(fields.source), fields.source)
    kind = _text(value(fields.kind), fields.kind)
    unique = value(fields.id) if fields.id else _first(record, ("id", "_id"), used)
    if unique is _MISSING and fields.id:
        raise _Unfit(f"has no {fields.id!r}, which `fields` names as the id")
    vectors = _vectors(value(fields.vectors), fields.vectors)
    metadata = given if isinstance(given, dict) else {}
    item = Item(
        id=f"{name}:{number}" if unique is _MISSING or unique is None else str(unique),
        text=text or "",
        title=title or "",
        kind=kind or "text",
        tags=(tags,) if isinstance(tags, str) else tuple(map(str, tags)) if isinstance(tags, list) else (),
        source=source or f"{name}:{number}",
        metadata={**{key: left for key, left in record.items() if key not in used}, **metadata},
        readers=readers,
    )
    for model, data in vectors.items():
        item.features.put(vector_key(model), data)
    return item, remark


def _vectors(told: Any, key: str) -> Mapping[str, bytes]:
    if told is _MISSING or told is None:
        return {}
    try:
        return parse_item_vectors(told)
    except ValueError as error:
        raise _Unfit(f"{error}; or name another key than {key!r} with `fields: {{vectors: ...}}`") from error


def _value(record: Mapping[str, Any], key: str, used: set[str]) -> Any:
    """Return the value under a key, or under a path of keys with dots between."""
    if key in record:
        used.add(key)
        return record[key]
    found: Any = record
    for part in key.split("."):
        found = found.get(part, _MISSING) if isinstance(found, dict) else _MISSING
    if found is not _MISSING:
        used.add(key.split(".")[0])
    return found


def _first(record: Mapping[str, Any], keys: Iterable[str], used: set[str]) -> Any:
    for key in keys:
        if key in record:
            used.add(key)
            return record[key]
    return _MISSING


def _text(value: Any, key: str) -> str | None:
    if value is _MISSING or value is None:
        return None
    if isinstance(value, (dict, list)):
        raise _Unfit(f"its {key!r} must be a text, not {_word(value)}")
    return value if isinstance(value, str) else str(value)


def _no_text(record: Mapping[str, Any], fields: Fields) -> str:
    if fields.text in record:
        return f"has no text: its {fields.text!r} is null; left out"
    keys = ", ".join(map(str, list(record)[:8])) or "nothing"
    close = did_you_mean(fields.text, record)
    return f"has no {fields.text!r}{close} (it has {keys}); name the key of the text with `fields: {{text: ...}}`"


def _word(value: Any) -> str:
    names = {
        list: "a list",
        dict: "an object",
        str: "a text",
        int: "a number",
        float: "a number",
        bool: "true or false",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)


@frozen(kw_only=True)
class Fields:
    """Which key of an object fills which field of an item; a dot leads into an object inside."""

    id: str = option("", help="Without it `id` or `_id`, else the number of the line.")
    title: str = option("title", help="The key of the title.")
    text: str = option("text", help="The key of the text.")
    kind: str = option("kind", help="The key of the kind: `text`, `markdown` or `code`.")
    tags: str = option("tags", help="The key of a list of tags, or of one tag.")
    source: str = option("source", help="The key of where it comes from; without one, file and line.")
    vectors: str = option("vectors", help="The key of its own vectors by model: lists of numbers, or base64 of halves.")
    metadata: str = option("metadata", help="The key of further data; keys that nothing else uses join it.")
