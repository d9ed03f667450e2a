"""Collects what is wrong, all of it, and puts it in the order of the file."""

from __future__ import annotations

from nexus_core.config.places import Place
from nexus_core.contract.problems import Problem

MOST_SHOWN = 100
LONGEST_MESSAGE = 1_000
LONGEST_QUOTE = 60


class Problems:
    """The problems of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[Problem, None] = {}
        self._errors = 0

    def error(self, code: str, place: Place, message: str) -> None:
        """Note a mistake that keeps the pipeline from loading."""
        self._add(code, place, message, "error")

    def warn(self, code: str, place: Place, message: str) -> None:
        """Note something that is likely a mistake and does no harm."""
        self._add(code, place, message, "warning")

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return self._errors

    def listed(self) -> tuple[Problem, ...]:
        """Return the problems in the order of the file, those of overrides last; at most 100 and a note on the rest."""
        ordered = sorted(self._found, key=lambda found: (found.file != self.file, found.file, found.line, found.column))
        rest = ordered[MOST_SHOWN:]
        if not rest:
            return tuple(ordered)
        severity = "error" if any(problem.severity == "error" for problem in rest) else "warning"
        last = rest[0]
        note = f"and {len(rest)} more problems: mend these first"
        return (*ordered[:MOST_SHOWN], Problem("Z001", note, last.file, last.line, last.column, severity))

    def _add(self, code: str, place: Place, message: str, severity: str) -> None:
        problem = Problem(code, one_line(message), place.file, place.line, place.column, severity)
        self._errors += severity == "error" and problem not in self._found
        self._found[problem] = None


def one_line(text: str) -> str:
    """Return a text as one printable line: foreign messages may hold line breaks and terminal escapes."""
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(text.split()))
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 3] + "..."


def quoted(text: str) -> str:
    """Return a text from a file as messages show it: in quotes, escaped, cut to a readable length."""
    return repr(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "...")
