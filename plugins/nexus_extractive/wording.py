"""Puts chosen units into words: each with its citation, those of one item together, lists and code under their lead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from nexus_extractive.scoring import Scored, study
from nexus_extractive.units import Unit

_SHOWN_ENTRIES = 8
"""Of a list that is shown for the sake of its lead."""


@frozen(eq=False, repr=False)
class _Statement:
    text: str
    inline: bool
    """It may stand on one line with others."""


def pieces(chosen: Sequence[Scored], language: str) -> Iterator[str]:
    """Yield the answer in pieces that, put together, are its text. `chosen` is best first, and so is the answer.

    Only sentences of one paragraph follow each other as they do there, whichever is the better one.
    """
    by_item: dict[int, list[Scored]] = {}
    for one in chosen:
        by_item.setdefault(one.item.number, []).append(one)
    between = ""
    for number, group in by_item.items():
        everything = [studied.unit for studied in study(group[0].item, language)]
        inline = False
        for place, statement in enumerate(_statements([one.unit for one in group], everything)):
            if place:
                between = " " if inline and statement.inline else "\n"
            yield between + _cited(statement.text, number)
            inline = statement.inline
        between = "\n\n"


def _cited(text: str, number: int) -> str:
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
        group.sort(key=lambda unit: unit.place)
        if kind == "block":
            yield from (_Statement(unit.text, True) for unit in group)
        elif kind == "led":
            whole = group[0].place == place
            shown = [unit for unit in everything if unit.lead == place] if whole else group
            yield _Statement("\n".join([everything[place].text, *_lines(shown)]), False)
        else:
            yield _Statement("\n".join([*filter(None, [group[0].follows]), *_lines(group)]), False)


def _lines(units: Sequence[Unit]) -> Iterator[str]:
    for unit in units[:_SHOWN_ENTRIES]:
        if unit.form == "code":
            fence = unit.mark[:3]
            yield f"{unit.mark}\n{unit.text}\n{fence}"
        else:
            yield f"{unit.mark} {unit.text}"
    if units[_SHOWN_ENTRIES:]:
        yield "- ..."
