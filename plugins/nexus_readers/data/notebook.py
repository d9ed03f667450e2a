"""Reads notebooks (.ipynb): their cells in order, text as Markdown, code with its language, what it printed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import orjson
from attrs import evolve

from nexus_core import Block, Code, Figure, Heading, Metadata, Paragraph, ReadHints, Remark, SourceError, component
from nexus_core.toolkit import counted

MOST_OUTPUT = 10_000
"""Characters of what one cell has printed."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,40}[A-Za-z]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f]")
"""What colours a terminal."""
_RICH = ("text/markdown", "text/html", "text/latex", "text/plain")
"""In this order one form of an output is read; a table that Pandas shows is HTML."""
_OBJECT = re.compile(r"<[\w.]+(?: [^<>]{0,200})? at 0x[0-9a-f]+>|<Figure size [^>]{0,60}>")


@component
class NotebookReader:
    """Reads notebooks of Jupyter."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks, cell by cell."""
        try:
            book = orjson.loads(file.read().removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError as error:
            raise SourceError(f"is no notebook: it is not JSON ({error}); left out") from error
        cells = _cells(book)
        if cells is None:
            raise SourceError("is no notebook: it has no cells; left out")
        about = _mapping(book.get("metadata"))
        language = _language(about)
        authors = [_mapping(author).get("name", "") for author in _listed(about.get("authors"))]
        yield Metadata(
            title=str(about.get("title") or ""),
            author=", ".join(filter(None, map(str, authors))),
            values={
                **({"notebook_language": language} if language else {}),
                **({"readers": about["readers"]} if "readers" in about else {}),
            },
        )
        for number, cell in enumerate(cells, 1):
            yield from _cell(_mapping(cell), number, language, hints)


def _cells(book: Any) -> list[Any] | None:
    """Return the cells of a notebook, of old ones (version 3) those of all its sheets."""
    book = _mapping(book)
    if isinstance(book.get("cells"), list):
        return list(book["cells"])
    sheets = book.get("worksheets")
    if not isinstance(sheets, list):
        return None
    return [cell for sheet in sheets for cell in _listed(_mapping(sheet).get("cells"))]


def _language(about: Mapping[str, Any]) -> str:
    info, kernel = _mapping(about.get("language_info")), _mapping(about.get("kernelspec"))
    return str(info.get("name") or kernel.get("language") or "")


def _cell(cell: Mapping[str, Any], number: int, language: str, hints: ReadHints) -> Iterator[Block]:
    source = _text(cell.get("source", cell.get("input")))
    kind = cell.get("cell_type")
    if kind == "markdown":
        yield from _inner(source, "text/markdown", hints)
    elif kind == "heading":
        yield Heading(text=" ".join(source.split()), level=_level(cell.get("level")))
    elif kind == "code":
        if source.strip():
            yield Code(text=source.strip("\n"), language=str(cell.get("language") or language))
        for output in _listed(cell.get("outputs")):
            yield from _output(_mapping(output), number, hints)
    elif source.strip():
        yield Code(text=source.strip("\n"))


def _level(value: Any) -> int:
    return min(max(value, 1), 6) if isinstance(value, int) else 1


def _output(output: Mapping[str, Any], number: int, hints: ReadHints) -> Iterator[Block]:
    kind = output.get("output_type")
    if kind == "stream":
        yield from _printed(_text(output.get("text")), number)
    elif kind in ("error", "pyerr"):
        # The trace repeats the code of the cell: what went wrong stands in these two.
        yield Code(text=f"{output.get('ename', 'error')}: {_clean(_text(output.get('evalue')))}".strip())
    else:
        data = _mapping(output.get("data")) or {_OLD.get(name, name): value for name, value in output.items()}
        yield from _shown(data, number, hints)


_OLD = {"text": "text/plain", "html": "text/html", "markdown": "text/markdown", "latex": "text/latex"}


def _shown(data: Mapping[str, Any], number: int, hints: ReadHints) -> Iterator[Block]:
    """Yield one form of what a cell has shown; a picture by the words that come with it."""
    media_type = next((name for name in _RICH if _text(data.get(name)).strip()), "")
    text = _text(data.get(media_type))
    if any(name.startswith("image/") or name in ("png", "jpeg", "svg") for name in data):
        words = _clean(_text(data.get("text/plain"))).strip()
        if words and not _OBJECT.fullmatch(words):
            yield Figure(text=" ".join(words.split()))
        yield Remark(text=f"cell {number}: its output is a picture, which is left out", lost=True)
    elif media_type == "text/plain":
        if not _OBJECT.fullmatch(text.strip()):
            yield from _printed(text, number)
    elif media_type == "text/latex":
        yield Paragraph(text=" ".join(text.split()))
    elif media_type:
        yield from _inner(text, media_type, hints)


def _printed(text: str, number: int) -> Iterator[Block]:
    """Yield what was printed, as the terminal left it: a progress bar is its last state."""
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    text = _clean("\n".join(lines)).strip("\n")
    if len(text) > MOST_OUTPUT:
        half = MOST_OUTPUT // 2
        left_out = len(text) - MOST_OUTPUT
        yield Remark(text=f"cell {number}: {counted(left_out, 'character')} of its output left out", lost=True)
        text = f"{text[:half]}\n…\n{text[-half:]}"
    if text.strip():
        yield Code(text=text)


def _inner(text: str, media_type: str, hints: ReadHints) -> Iterator[Block]:
    """Yield a text by the reader of its kind, its headings as deep as they are written."""
    if not text.strip():
        return
    data = ("\ufeff" + text).encode("utf-8", "replace")
    for at, block in enumerate(hints.read_inner("cell", data, media_type, 1)):
        if at == 0 and isinstance(block, Heading) and block.implied:
            continue  # the name of the cell, which is none
        yield evolve(block, level=max(1, block.level - 1)) if isinstance(block, Heading) else block


def _clean(text: str) -> str:
    return _ESCAPES.sub("", text)


def _text(value: Any) -> str:
    """Return a text that may be written as a list of lines."""
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []
