"""Puts chosen units into words: each with its citation, those of one item together, lists and code under their lead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from nexus_extractive.citable_units import Unit, Words
from nexus_extractive.scoring import Question, Scored, study

_SHOWN_ENTRIES = 8
"""Of a list that is shown for the sake of its lead."""


@frozen(eq=False, repr=False)
class _Statement:
    quotes: tuple[str, ...]
    """One, or several where they do not stand together in the item: a list's lead and its third entry."""
    inline: bool
    """It may stand on one line with others."""


def pieces(chosen: Sequence[Scored], question: Question) -> Iterator[str]:
    """Yield the answer in pieces that, put together, are its text. `chosen` is best first, and so is the answer.

    After the best of a paragraph its other sentences follow each other as they do there.
    """
    by_item: dict[int, list[Scored]] = {}
    for one in chosen:
        by_item.setdefault(one.item.number, []).append(one)
    between = ""
    for number, group in by_item.items():
        everything = [studied.unit for studied in study(group[0].item, question)]
        inline = False
        for place, statement in enumerate(_statements([one.unit for one in group], everything)):
            if place:
                between = " " if inline and statement.inline else "\n"
            yield between + "\n".join([_cited(quote, number) for quote in statement.quotes])
            inline = statement.inline
        between = "\n\n"


def _cited(text: str, number: int) -> str:
    if text.endswith("|"):  # a line right below a table would be a row of it
        return f"{text}\n\n[{number}]"
    return f"{text}\n[{number}]" if text.endswith(("```", "~~~")) else f"{text} [{number}]"


def _statements(units: Sequence[Unit], everything: Sequence[Unit]) -> Iterator[_Statement]:
    """Yield what is said of an item, the best first."""
    leads = {unit.lead for unit in everything}
    groups: dict[tuple[str, int], list[Unit]] = {}
    for unit in units:
        if unit.lead is not None or unit.place in leads:
            key = ("led", unit.place if unit.lead is None else unit.lead)
        else:
            key = ("block", unit.block) if unit.form == "sentence" else ("alone", unit.place)
        groups.setdefault(key, []).append(unit)
    for (kind, place), group in groups.items():
        if kind == "block":
            best, *others = group
            yield from (_Statement((unit.text,), True) for unit in (best, *sorted(others, key=_place)))
            continue
        group.sort(key=_place)
        if kind == "alone":
            yield _Statement(tuple(_quotes(_with_heads(group))), False)
        else:
            whole = group[0].place == place
            shown = [unit for unit in everything if unit.lead == place][:_SHOWN_ENTRIES] if whole else group
            yield _Statement(tuple(_quotes([everything[place], *_with_heads(shown)])), False)


def _place(unit: Unit) -> int:
    return unit.place


def _with_heads(units: Iterable[Unit]) -> Iterator[Words]:
    """Yield units, each head of a table and each heading before the first that it belongs to."""
    shown: Words | None = None
    for unit in units:
        if unit.head is not None and unit.head is not shown:
            yield unit.head
        shown = unit.head
        yield unit


def _quotes(parts: Iterable[Words]) -> Iterator[str]:
    """Yield what stands together in the item as one quotation, and what does not as several.

    Rows of one table stay under its head, whichever rows between them are left out: a citation there would end it.
    """
    lines: list[str] = []
    end = -1
    head: Words | None = None
    for part in parts:
        is_row = isinstance(part, Unit) and part.form == "row" and part.head is not None and part.head is head
        if lines and not is_row and (end < 0 or part.lines[0] != end):
            yield "\n".join(lines)
            lines = []
        lines.append(_shown(part))
        end, head = part.lines[1], part.head if isinstance(part, Unit) else part
    if lines:
        yield "\n".join(lines)


def _shown(part: Words) -> str:
    if not isinstance(part, Unit) or part.form in ("sentence", "row"):
        return part.text
    if part.form == "code":
        fence = part.mark[: len(part.mark) - len(part.mark.lstrip(part.mark[0]))]
        return f"{part.mark}\n{part.text}\n{fence}"
    return f"{part.mark} {part.text}"
