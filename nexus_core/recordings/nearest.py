"""The nearest recording of a request that has none, and how the two differ.

Nearest is a recording of the same model and operation whose request has the most lines in common; among the best by
that the one whose other words are most alike. What that costs is bounded: files, words and lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher, unified_diff
from itertools import chain, islice
from pathlib import Path
from typing import Any

from attrs import field, frozen

from nexus_core.recordings.recording_file import RecordingError, pretty, read_recording, recordings_in
from nexus_core.toolkit.suggest import counted

_MOST_FILES = 2_000
_MOST_CHARACTERS = 20_000_000
_FINALISTS = 5
_WORDS = 400
"""Of the lines that two requests do not share, those that are compared."""
_SHOWN = 40
"""Lines of a difference."""
_LONG_LINE = 120
_MOST_SHOWN = 4_000
"""Characters of a line that is shown whole."""
_PIECE = re.compile(r".{1,120}?(?:[.!?,;] |$)|.{1,120}")
"""Long lines are compared by their clauses: two of them may have most in common."""


@frozen(eq=False)
class _Candidate:
    name: str
    kind: tuple[str, str]
    """Model and operation."""
    request: Mapping[str, Any]
    lines: Sequence[str]
    """What is compared."""
    counts: Counter[str]


@frozen(eq=False)
class RecordingIndex:
    """The requests of a folder of recordings, read when they are first needed."""

    folder: Path
    _candidates: list[_Candidate] = field(factory=list, init=False)

    def difference(self, request: Mapping[str, Any]) -> str:
        """Return how a request differs from that of the nearest recording, as text."""
        if not self._candidates:
            self._candidates.extend(_read_candidates(self.folder))
        asked = _candidate("this request", request)
        found = nearest(asked, self._candidates)
        if found is None:
            return f"none of its recordings is one of {request['operation']!r}; record the run again with --record"
        before, after = _lines(found.request, _MOST_SHOWN), _lines(request, _MOST_SHOWN)
        lines = unified_diff(before, after, found.name, asked.name, lineterm="", n=2)
        shown = [*islice(lines, _SHOWN)]
        more = sum(1 for _ in lines)
        rest = [f"... and {counted(more, 'more line')}"] if more else []
        return "\n".join([f"the nearest is {found.name} (- as recorded, + as asked now):", *shown, *rest])


def nearest(asked: _Candidate, candidates: Sequence[_Candidate]) -> _Candidate | None:
    """Return the candidate that is most alike, `None` where none does the same operation."""
    model, operation = asked.kind
    alike = [each for each in candidates if each.kind[1] == operation]
    alike = [each for each in alike if each.kind[0] == model] or alike
    finalists = sorted(alike, key=lambda each: (-_shared(asked, each), each.name))[:_FINALISTS]
    return max(finalists, key=lambda each: _likeness(asked, each), default=None)


def _read_candidates(folder: Path) -> Iterator[_Candidate]:
    characters = 0
    for path in recordings_in(folder)[:_MOST_FILES]:
        try:
            recording = read_recording(path)
        except RecordingError:  # told of where it is the one that is needed
            continue
        if recording is None:
            continue
        candidate = _candidate(path.name, recording.request)
        characters += sum(map(len, candidate.lines))
        if characters > _MOST_CHARACTERS:
            return
        yield candidate


def _candidate(name: str, request: Mapping[str, Any]) -> _Candidate:
    lines = _lines(request, _LONG_LINE)
    kind = (str(request.get("model")), str(request.get("operation")))
    return _Candidate(name, kind, request, lines, Counter(lines))


def _lines(request: Mapping[str, Any], longest: int) -> list[str]:
    """Return the lines of a request, those that are longer than `longest` in parts."""
    pieces = ([line] if len(line) <= longest else _PIECE.findall(line) for line in pretty(request).split("\n"))
    return [*chain.from_iterable(pieces)]


def _shared(one: _Candidate, other: _Candidate) -> float:
    """Return which part of the text of two requests stands in lines that both have."""
    common = sum(len(line) * count for line, count in (one.counts & other.counts).items())
    return 2 * common / (sum(map(len, one.lines)) + sum(map(len, other.lines)))


def _likeness(one: _Candidate, other: _Candidate) -> tuple[float, float]:
    shared = _shared(one, other)
    here, there = _words(one.counts - other.counts), _words(other.counts - one.counts)
    return shared + (1 - shared) * SequenceMatcher(None, here, there, autojunk=False).ratio(), shared


def _words(lines: Counter[str]) -> list[str]:
    return [word for line in lines.elements() for word in line.split()][:_WORDS]
