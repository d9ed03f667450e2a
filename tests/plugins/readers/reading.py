"""What the tests of readers share: the blocks and items of some bytes, and how their cost grows."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TypeVar

from nexus_core import Block, Item, Remark
from nexus_core.toolkit import DocumentReader, FileOrigin, ReadSettings, blocks_text
from tests.plugins.growth.steps import steps_of

_Block = TypeVar("_Block", bound=Block)
PLAIN = ReadSettings()
SPARE = 1.3
"""Counts get longer, and some work is done once."""


def blocks_of(data: bytes | str, name: str, settings: ReadSettings = PLAIN) -> list[Block]:
    """Return the blocks of a file."""
    raw = data.encode() if isinstance(data, str) else data
    return list(DocumentReader(settings).blocks(BytesIO(raw), FileOrigin(name=name))[1])


def items_of(data: bytes | str, name: str, settings: ReadSettings = PLAIN) -> list[Item]:
    """Return the items of a file."""
    raw = data.encode() if isinstance(data, str) else data
    return list(DocumentReader(settings).items(BytesIO(raw), FileOrigin(name=name)).items)


def only(kind: type[_Block], blocks: list[Block]) -> list[_Block]:
    """Return the blocks of one kind."""
    return [block for block in blocks if isinstance(block, kind)]


def remarks(blocks: list[Block]) -> list[str]:
    """Return what the reader tells."""
    return [block.text for block in blocks if isinstance(block, Remark)]


def text(blocks: list[Block]) -> str:
    """Return the text of blocks."""
    return blocks_text(blocks)


def grows_in_proportion(name: str, make: Callable[[int], str], size: int = 8_000) -> bool:
    """Tell whether twice and four times as much costs no more than that, in calls of Python and C."""
    blocks_of(make(size), name)  # what is imported and remembered does not count
    first, *others = [_calls_for(name, make(size * times)) for times in (1, 2, 4)]
    return all(calls <= SPARE * times * first + 2_000 for times, calls in zip((2, 4), others, strict=True))


def _calls_for(name: str, data: str) -> int:
    return steps_of(lambda: len(blocks_of(data, name)))[0]
