"""Values with parts (of JSON, of XML without prose) into blocks: records as tables, keys with their paths as lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nexus_core import Block, Heading, ListItem, Paragraph, Place, Remark
from nexus_core.toolkit import record_text
from nexus_readers.data.row_groups import MOST_ROWS, RowGroups

LARGE = 1_000
"""Characters: a part that is larger stands under a heading of its own, a smaller one in lines with its path."""
LARGE_RECORD = 2_000
"""Characters: of records that are larger each has a heading."""
LONG_TEXT = 300
DEEPEST = 60
"""Parts in parts; what is deeper is told and left out."""
_DEEPEST_HEADING = 6
_LABELS = ("title", "name", "label", "subject", "key", "id", "_id", "slug", "path", "url")
"""Keys by whose value a large record is called."""
_SPARSE = 3
"""How many times as many columns as a row has cells: beyond that, records are lines and no table."""

Value = Any  # a text, a mapping of texts to values, or a list of values: as JSON has it, numbers as they are written


def value_blocks(value: Value, level: int = 1, depth: int = 0) -> Iterator[Block]:
    """Yield the blocks of a value, its headings from a level on."""
    if depth > DEEPEST:
        yield Remark(text=f"what is nested more than {DEEPEST} deep is left out", lost=True)
    elif isinstance(value, Mapping):
        yield from _mapping(value, level, depth)
    elif isinstance(value, list):
        yield from _list("", value, level, depth)
    elif text := scalar(value).strip():
        yield from _text("", text)


def scalar(value: Value) -> str:
    """Return a value without parts as it is written."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mapping(value: Mapping[str, Value], level: int, depth: int) -> Iterator[Block]:
    """Yield the small parts as lines, then each large one under its key."""
    large = []
    for key, part in value.items():
        if is_large(part):
            large.append((key, part))
        else:
            yield from _lines(one_line(key), part, depth)
    for key, part in large:
        if isinstance(part, str):
            yield from _text(one_line(key), part)
            continue
        yield Heading(text=one_line(key) or '""', level=min(level, _DEEPEST_HEADING))
        if isinstance(part, list):
            yield from _list(one_line(key), part, level + 1, depth + 1)
        else:
            yield from value_blocks(part, level + 1, depth + 1)


def is_large(value: Value) -> bool:
    """Tell whether a value has more text than stands in some lines; looks at no more of it than that."""
    size, waiting = 0, [value]
    while waiting and size <= LARGE:
        part = waiting.pop()
        if isinstance(part, Mapping):
            size += sum(len(key) + 2 for key in part)
            waiting.extend(part.values())
        elif isinstance(part, list):
            size += len(part)
            waiting.extend(part)
        else:
            size += len(scalar(part))
    return size > LARGE


def _lines(path: str, value: Value, depth: int) -> Iterator[Block]:
    """Yield the lines of a small value, each with the path that leads to it."""
    if depth > DEEPEST:
        yield Remark(text=f"what is nested more than {DEEPEST} deep is left out", lost=True)
    elif isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _lines(f"{path}.{one_line(key)}" if path else one_line(key), part, depth + 1)
    elif isinstance(value, list) and len(value) > 1 and all(isinstance(part, Mapping) for part in value):
        yield from _records(value, path)
    elif isinstance(value, list) and any(isinstance(part, Mapping | list) for part in value):
        for number, part in enumerate(value):
            yield from _lines(f"{path}[{number}]", part, depth + 1)
    elif isinstance(value, list):
        yield ListItem(text=f"{path}: {', '.join(one_line(scalar(part)) for part in value) or '(none)'}")
    else:
        yield from _text(path, "(none)" if isinstance(value, Mapping) else scalar(value))


def _text(path: str, text: str) -> Iterator[Block]:
    """Yield a text after its path: a line, or paragraphs."""
    before = f"{path}: " if path else ""
    if len(text) <= LONG_TEXT and "\n\n" not in text:
        yield ListItem(text=before + one_line(text)) if before else Paragraph(text=one_line(text))
        return
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            yield Paragraph(text=before + "\n".join(line.strip() for line in paragraph.strip().split("\n")))
            before = ""
    if before and path:
        yield ListItem(text=before.strip())


def _list(key: str, values: Sequence[Value], level: int, depth: int) -> Iterator[Block]:
    """Yield records as a table, or each under a heading where they are large; other values one by one."""
    if values and all(isinstance(value, Mapping) for value in values):
        some = values[:MOST_ROWS]
        if sum(map(_is_large_record, some)) * 2 > len(some):
            for number, value in enumerate(values, 1):
                yield Heading(text=_label(value) or f"{key} {number}".strip(), level=min(level, _DEEPEST_HEADING))
                yield from value_blocks(value, level + 1, depth + 1)
        else:
            yield from _records(values)
    elif values and all(isinstance(value, list) for value in values):
        groups = RowGroups()
        for value in values:
            yield from groups.add([cell_text(part) for part in value])
        yield from groups.end()
    else:
        for number, value in enumerate(values):
            if isinstance(value, Mapping | list):
                yield from _lines(f"{key}[{number}]", value, depth + 1)
            elif len(text := scalar(value)) > LONG_TEXT:
                yield from _text("", text)
            else:
                yield ListItem(text=one_line(text))


def _is_large_record(value: Mapping[str, Value]) -> bool:
    nested = sum(len(cell_text(part)) for part in value.values() if isinstance(part, Mapping | list))
    return nested > LARGE_RECORD


def _label(value: Mapping[str, Value]) -> str:
    found = (value.get(key) for key in _LABELS)
    return next((one_line(text)[:200] for text in found if isinstance(text, str) and text.strip()), "")


def _records(values: Sequence[Mapping[str, Value]], caption: str = "") -> Iterator[Block]:
    """Yield records in groups, each group a table with the columns that its records have."""
    groups = RowGroups(caption=caption)
    for begin in range(0, len(values), MOST_ROWS):
        rows = [dict(flattened(value)) for value in values[begin : begin + MOST_ROWS]]
        names = tuple(dict.fromkeys(name for row in rows for name in row))
        if len(names) > _SPARSE * max(1, max(map(len, rows))):
            for number, row in enumerate(rows, begin + 1):
                yield ListItem(text=record_text([*row], [*map(one_line, row.values())]), place=Place(row=number))
            continue
        groups.header = names
        for row in rows:
            yield from groups.add([row.get(name, "") for name in names])
        yield from groups.end()


def flattened(value: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """Yield the cells of a record: what stands in parts of it has their names before its own."""
    for key, part in value.items():
        if isinstance(part, Mapping) and part and not any(isinstance(each, Mapping | list) for each in part.values()):
            yield from ((f"{one_line(key)}.{one_line(name)}", scalar(each)) for name, each in part.items())
        else:
            yield one_line(key), cell_text(part)


def cell_text(value: Value, depth: int = 0) -> str:
    """Return a value as one cell: `a: 1; b: 2`, lists with commas."""
    if depth > DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return "; ".join(f"{one_line(key)}: {cell_text(part, depth + 1)}" for key, part in value.items())
    if isinstance(value, list):
        between = " / " if any(isinstance(part, Mapping | list) for part in value) else ", "
        return between.join(cell_text(part, depth + 1) for part in value)
    return scalar(value)


def one_line(text: str) -> str:
    """Return a text with its white space collapsed."""
    return " ".join(text.split())


def merged(pairs: Iterable[tuple[str, Value]]) -> Value:
    """Return pairs of keys and values as a mapping; what comes twice under one key stands there as a list."""
    some = list(pairs)
    found = dict(some)
    if len(found) == len(some):
        return found
    several: dict[str, list[Value]] = {}
    for key, value in some:
        several.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in several.items()}
