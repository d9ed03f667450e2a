"""`nexus context read`: a file as its reader understands it, block by block."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import attrs
import click

from nexus_core.cli.commands.context.inputs import reader_choices, reader_option
from nexus_core.cli.event_loop import run
from nexus_core.cli.option_types import duration
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, line, plain, print_json
from nexus_core.contract.blocks import (
    Block,
    Figure,
    Footnote,
    Heading,
    ListItem,
    Metadata,
    PageBreak,
    Place,
    Remark,
    Table,
)
from nexus_core.contract.errors import SourceError, UsageError
from nexus_core.toolkit.documents.block_text import blocks_text
from nexus_core.toolkit.documents.reading import FileOrigin, ReadSettings, stream_blocks
from nexus_core.toolkit.processes.call import ApartError, stream_apart

EPILOG = """\b
Examples:
  nexus context read documents/handbook.md
  nexus context read PRICES.xlsx --json
  nexus context read PAGE.html --markdown
  nexus context read SCAN.acme --reader .acme=acme-reader

\b
So a document is before it is cut into items: `nexus context add` reads it in the same way.
"""
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_WIDTH = 100


@click.command("read", epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--markdown", "as_markdown", is_flag=True, help="Print it as Markdown.")
@json_option
@click.option("--encoding", default="utf-8", show_default=True, metavar="NAME", help="Of text that tells none itself.")
@reader_option
@click.option(
    "--document-timeout", "limit_s", default="2m", show_default=True, callback=duration("1s", "24h"),
    metavar="DURATION", help="The most that reading it may take until its first or next blocks come.",
)  # fmt: skip
def command(
    file: Path, as_markdown: bool, as_json: bool, encoding: str, readers: tuple[str, ...], limit_s: float
) -> None:
    """Show the blocks of FILE: headings, paragraphs, tables, ..., and where each stands.

    What was lost or read with doubt is told at the end.
    """
    if as_json and as_markdown:
        raise UsageError("--json and --markdown are two ways to print it: choose one")
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    # Whoever names one file wants it read, however large; what is packed unpacks to more than its size.
    most = max(ReadSettings().max_bytes, 10 * file.stat().st_size + 1)
    settings = ReadSettings(encoding=encoding, max_bytes=most, readers=reader_choices(readers))
    try:
        reader, blocks = run(_read(file, settings, limit_s))
    except (SourceError, ApartError) as error:
        raise SourceError(f"{file}: {error}") from error
    remarks = [block for block in blocks if isinstance(block, Remark)]
    if as_json:
        print_json({"file": str(file), "reader": reader, "blocks": [block_json(block) for block in blocks]})
        return
    if as_markdown:
        echo(blocks_text(blocks, grids=True))
    else:
        echo(f"{plain(str(file))}  (read by {plain(reader)})")
        for shown in _lines(blocks):
            echo(shown)
    for remark in remarks:
        echo(f"{'lost' if remark.lost else 'remark'}: {plain(remark.text)}", err=True)


_NOTHING = Metadata()
"""What a document that tells nothing of itself tells."""


async def _read(file: Path, settings: ReadSettings, limit_s: float) -> tuple[str, list[Block]]:
    reader, blocks = "", list[Block]()
    origin = FileOrigin(name=file.name)
    async with aclosing(stream_apart(limit_s, stream_blocks, str(file), settings, origin)) as results:
        async for name, some in results:
            reader = name
            blocks += some
    return reader, blocks


def block_json(block: Block) -> dict[str, Any]:
    """Return a block as JSON has it: its kind, its place, and what else is not empty."""
    told: dict[str, Any] = {"kind": kind_word(block)}
    for part in attrs.fields(type(block)):
        value = getattr(block, part.name)
        if part.name == "place":
            value = {_camel(name): told for name, told in attrs.asdict(block.place).items() if told is not None}
        if value or (isinstance(value, bool | int) and part.name in ("level", "number")):
            told[_camel(part.name)] = value
    return told


def kind_word(block: Block) -> str:
    """Return what a block is, as people read it: `list item`."""
    return _CAPITAL.sub(" ", type(block).__name__).lower()


def _lines(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if not isinstance(block, Remark) and block != _NOTHING:
            yield f"{_place(block.place):>9}  {_kind(block):<14}  {line(_content(block), _WIDTH)}".rstrip()


def _place(place: Place) -> str:
    if place.row is not None:
        return f"row {place.row}"
    if place.page is not None:
        return f"page {place.page}"
    return f"line {place.line}" if place.line is not None else ""


def _kind(block: Block) -> str:
    if isinstance(block, Heading):
        return f"heading {block.level}"
    if isinstance(block, Table):
        return f"table {len(block.rows)}x{max(map(len, (block.header, *block.rows)), default=0)}"
    return kind_word(block)


def _content(block: Block) -> str:
    """Return in one line what a block says."""
    if isinstance(block, PageBreak):
        return block.label or str(block.number)
    if isinstance(block, Metadata):
        values = {name: getattr(block, name) for name in ("title", "author", "date", "language")}
        values |= {"tags": ", ".join(block.tags), **block.values}
        return "; ".join(f"{name}: {value}" for name, value in values.items() if value)
    if isinstance(block, Table):
        rows = " / ".join("; ".join(row) for row in block.rows[:3])
        return " / ".join(filter(None, [block.caption, "; ".join(block.header), rows]))
    text = str(getattr(block, "text", ""))
    if isinstance(block, Figure):
        return " / ".join(filter(None, [text, block.caption]))
    if isinstance(block, Footnote):
        return f"[^{block.mark}] {text}"
    return f"{'  ' * (block.depth - 1)}{block.marker} {text}" if isinstance(block, ListItem) else text


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(map(str.title, more))
