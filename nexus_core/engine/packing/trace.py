"""What became of each candidate and why, put into words only when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import overload

from attrs import frozen

from nexus_core.contract.prompts import Decision, TraceEntry
from nexus_core.contract.ranking import Ranking
from nexus_core.engine.packing.item_selection import ItemSelection
from nexus_core.toolkit.suggest import counted


@frozen(eq=False, repr=False)
class ItemOutcome:
    """A decision about one item."""

    decision: Decision
    reason: str
    tokens: int | None = None


WHOLE = ItemOutcome("kept", "whole item fits")
PINNED = ItemOutcome("kept", "pinned")
BELOW = ItemOutcome("dropped", "ranked below what fits")
UNUSED = ItemOutcome("dropped", "the template uses no items")


class Trace(Sequence[TraceEntry]):
    """One entry per candidate, in rank order."""

    __slots__ = ("_fates", "_others", "_ranking")

    def __init__(self, ranking: Ranking, fates: Mapping[int, ItemSelection | ItemOutcome], others: ItemOutcome) -> None:
        self._ranking = ranking
        self._fates = fates
        self._others = others

    def __len__(self) -> int:
        return len(self._ranking)

    @overload
    def __getitem__(self, place: int) -> TraceEntry: ...
    @overload
    def __getitem__(self, place: slice) -> list[TraceEntry]: ...
    def __getitem__(self, place: int | slice) -> TraceEntry | list[TraceEntry]:
        found = self._ranking.order()[place]
        return self._entry(found) if isinstance(found, int) else [self._entry(index) for index in found]

    def _entry(self, index: int) -> TraceEntry:
        candidate = self._ranking.candidate(index)
        known = self._fates.get(index, self._others)
        fate = outcome_of(known) if isinstance(known, ItemSelection) else known
        return TraceEntry(
            item_id=candidate.item.id,
            title=candidate.item.title,
            decision=fate.decision,
            reason=fate.reason,
            score=candidate.score,
            scores=candidate.scores,
            tokens=fate.tokens,
            alike=known.alike_passages if isinstance(known, ItemSelection) else 0,
        )


def outcome_of(slot: ItemSelection) -> ItemOutcome:
    """Return what became of an item that was looked at."""
    if slot.chosen:
        if slot.whole:
            return ItemOutcome("kept", WHOLE.reason, slot.tokens)
        return ItemOutcome("cut", _what_was_cut(slot), slot.tokens)
    if slot.refusal is None:
        return BELOW
    kind, of, tokens = slot.refusal
    reasons = {
        "room": f"did not fit: {tokens or 'far more'} tokens, {of} left",
        "duplicate": f"near-duplicate of {of!r}",
        "quota": f"quota of {of} used up",
    }
    return ItemOutcome("dropped", reasons[kind], tokens or None)


def left_out_for_likeness(trace: Sequence[TraceEntry]) -> tuple[int, int]:
    """Return how many passages were left out since what is packed says the same, and of how many items."""
    found = [entry.alike for entry in trace if entry.alike]
    return sum(found), len(found)


def _what_was_cut(slot: ItemSelection) -> str:
    firsts = slot.cut.firsts
    total = len(firsts) - 1
    held = sum(1 for k in range(total) if slot.chosen >> firsts[k] & (1 << firsts[k + 1] - firsts[k]) - 1)
    alike = slot.alike_passages
    if alike:
        best = f"{held} of {counted(total, 'passage')}: the best for the query"
        return f"{best}; of {alike} what is packed already was left out"
    if held == total:  # there is something of each, and not all of one
        return f"cut at a sentence: {slot.chosen.bit_count()} of {len(slot.cut.tokens)} fit"
    return f"{held} of {counted(total, 'passage')}: the best for the query"
