"""The source `inline`: items written in the pipeline itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import fields_dict, frozen

from nexus_core import Item, RunContext, component, hookimpl, option, state
from nexus_core.toolkit import did_you_mean


@frozen(kw_only=True, eq=False, repr=False)
class InlineItem:
    """An item as it is written."""

    text: str = option(help="The text.")
    id: str = option("", help="Else `inline-1` and so on.")
    title: str = option("", help="The title.")
    kind: str = option("text", help="`text`, `markdown` or `code`.")
    tags: str | tuple[str, ...] = option((), help="A tag, or a list of tags.")
    source: str = option("", help="Where it comes from, as a person would say it.")
    metadata: Mapping[str, Any] = option(factory=dict, help="Further data.")


@component
class Inline:
    """Yields items that are written in the pipeline."""

    items: tuple[str | InlineItem, ...] = option(
        help="Texts, or mappings with `text` and, if wanted, `id`, `title`, `kind`, `tags`, `source`, `metadata`."
    )
    _made: tuple[Item, ...] = state(default=())

    def __attrs_post_init__(self) -> None:
        """Make the items; raises ValueError with every entry that is wrong."""
        problems: list[str] = []
        made = [_item(number, entry, problems) for number, entry in enumerate(self.items, 1)]
        first: dict[str, int] = {}
        for number, item in enumerate(made, 1):
            if first.setdefault(item.id, number) != number:
                problems.append(f"item {number} has the id {item.id!r} of item {first[item.id]}")
        if problems or not made:
            raise ValueError("; ".join(problems) or "there are no items; write at least one")
        self._made = tuple(made)

    async def gather(self, query: str, run: RunContext) -> Sequence[Item]:
        """Return the items, the same at every call."""
        return self._made


def _item(number: int, written: Any, problems: list[str]) -> Item:
    """Make an item of an entry, or of what Python callers give for one; what is wrong is added to `problems`."""
    entry = InlineItem(text=written) if isinstance(written, str) else written
    if isinstance(entry, Mapping):
        known = fields_dict(InlineItem)
        unknown = [key for key in entry if key not in known]
        problems += [f"item {number} has no {key!r}{did_you_mean(str(key), known)}" for key in unknown]
        entry = InlineItem(**{"text": "", **{key: value for key, value in entry.items() if key in known}})
    if not isinstance(entry, InlineItem):
        problems.append(f"item {number} must be a text or a mapping, not {type(written).__name__}")
        entry = InlineItem(text="-")
    if not str(entry.text or "").strip():
        problems.append(f"item {number} has no text")
    return Item(
        id=entry.id or f"inline-{number}",
        title=entry.title,
        text=str(entry.text).strip("\n"),
        kind=entry.kind,
        tags=(entry.tags,) if isinstance(entry.tags, str) else tuple(entry.tags),
        source=entry.source,
        metadata=entry.metadata,
    )


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `inline`."""
    return [Inline]
