"""Finds passages that say what another one says already: over 60 % of their word triples are in it, and no new number.

Two near-copies of every item added to HotpotQA cost a third of the answers without this test, and next to none with it;
where there are no copies it changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from attrs import define, field

from nexus_core.engine.worth import MARK_BITS, Triples

Marks = npt.NDArray[np.bool_]

_SAME = 0.6
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def _no_marks() -> Marks:
    return np.zeros(1 << MARK_BITS, np.bool_)


@define(eq=False)
class Duplicates:
    """The passages of a pool that were taken so far."""

    triples: Triples
    text_of: Callable[[int], str]
    _taken: list[int] = field(factory=list, init=False)
    _marks: Marks = field(factory=_no_marks, init=False)
    """Which marks of triples are in them."""

    def original(self, passage: int) -> int | None:
        """Return the passage that this one repeats, and remember its words if there is none."""
        triples, marks = self.triples, self._marks
        found = triples.marks[triples.span(passage)]
        # A mark may stand for several triples, so marks only say where to look closely.
        if np.count_nonzero(marks[found]) > _SAME * len(found):
            other = self._closest(passage)
            if other is not None:
                return other
        marks[found] = True
        self._taken.append(passage)
        return None

    def _closest(self, passage: int) -> int | None:
        triples = self.triples
        known = set(triples.mixed[triples.span(passage)].tolist())
        for other in self._taken:
            shared = len(known.intersection(triples.mixed[triples.span(other)].tolist()))
            if shared > _SAME * len(known) and not self._adds_number(passage, other):
                return other
        return None

    def _adds_number(self, passage: int, other: int) -> bool:
        """Tell whether a passage has a number that the other lacks: the rows of a table differ in little else."""
        new, known = (set(_NUMBER.findall(self.text_of(number))) for number in (passage, other))
        return not new <= known
