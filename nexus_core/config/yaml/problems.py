"""Collects what is wrong, all of it, and puts it in the order of the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from attrs import frozen

from nexus_core.contract.errors import Problem
from nexus_core.toolkit.suggest import counted


@frozen
class SourceLocation:
    """A point in a file."""

    file: str
    line: int = 1
    """From 1."""
    column: int = 1
    """From 1, in characters."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


CODES: Mapping[str, str] = MappingProxyType(
    {
        "Y001": "The file cannot be read, or is not UTF-8 text.",
        "Y002": "The file is too large, too deep, or has too many values.",
        "Y003": "The text is not YAML.",
        "Y004": "A key stands twice in one mapping.",
        "Y005": "An anchor, alias or merge key.",
        "Y006": "A tag.",
        "Y007": "A key that is not text.",
        "Y008": "A number that is infinite, not a number, or larger than 64 bits.",
        "Y009": "More than one document in the file.",
        "Y010": "A character that is no text.",
        "S001": "The file holds no pipeline: it is empty, or no mapping.",
        "S002": "An unknown key or option.",
        "S003": "A required key or option is missing.",
        "S004": "A step without exactly one verb.",
        "S005": "A modifier that the step's verb does not take.",
        "S006": "Two keys that contradict each other.",
        "S007": "A key that has no effect (warning).",
        "T001": "A value of the wrong type.",
        "T002": "A number outside its bounds.",
        "T003": "A value that is not one of those allowed.",
        "T004": "A text that does not have the required form.",
        "N001": "A model that is not declared.",
        "N002": "A model name or alias that is declared twice.",
        "N003": "Models whose fallbacks form a circle.",
        "N004": "A declared model that no step uses (warning).",
        "N005": "A name that cannot be used as a name.",
        "N006": "A step that asks a model in a pipeline without models.",
        "N007": "Two tests of one name, or two items of one id in a test.",
        "N008": "An item that a test expects and does not give.",
        "P001": "A plugin or component that cannot be used.",
        "P002": "A plugin file that is missing or not allowed.",
        "P003": "A declared plugin file that nothing uses (warning).",
        "P004": "A component whose options cannot be read.",
        "P005": "A tool without a description (warning).",
        "E001": "An environment variable that is not set.",
        "E002": "A `${` that is no `${NAME}`; a secret that is `$NAME` (warning).",
        "E003": "A `${NAME}` where none is read.",
        "E004": "A value from the environment that cannot be used there.",
        "V001": "An override that is not `path=value`.",
        "V002": "An override whose path leads nowhere.",
        "X001": "An expression or template that cannot be parsed.",
        "X002": "An unknown name in an expression or template.",
        "X003": "An input that is not declared.",
        "X004": "A variable that no earlier step keeps.",
        "X005": "A `{{ }}` where none is evaluated.",
        "X006": "A template file that is missing or not allowed.",
        "X007": "A template variable that the step does not give.",
        "X008": "A given variable that the template does not read (warning).",
        "C001": "A pipeline file that cannot be called.",
        "C002": "Pipelines that call each other in a circle, or too deep.",
        "C003": "A pipeline that is asked for an answer and has none.",
        "J001": "A JSON Schema that cannot be used.",
        "O001": "A pipeline without steps.",
        "O002": "A gather or rank step after the last prompt.",
        "O003": "A prompt that the next one replaces before it is sent.",
        "O004": "A rank step whose scores a later gather drops.",
        "O005": "A rewritten query that nothing reads.",
        "O006": "A prompt without a generate step after it.",
        "O007": "Items that no prompt uses (warning).",
        "O008": "A pipeline without a generate step (warning).",
        "O009": "A `rewrite` where nothing is searched for (warning).",
        "O010": "A branch that is never chosen.",
        "O011": "Steps that cannot run side by side.",
        "Z001": "There are more problems than are shown.",
    }
)


MOST_SHOWN = 100
LONGEST_MESSAGE = 1_000
LONGEST_QUOTE = 60


class Problems:
    """The problems of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[Problem, None] = {}
        self._errors = 0

    def copy(self) -> Problems:
        """Return what has been noted so far, to go on from there another way."""
        other = Problems(self.file)
        other._found, other._errors = dict(self._found), self._errors
        return other

    def error(self, code: str, place: SourceLocation, message: str) -> None:
        """Note a mistake that keeps the pipeline from loading."""
        self._add(code, place, message, "error")

    def warn(self, code: str, place: SourceLocation, message: str) -> None:
        """Note something that is likely a mistake and does no harm."""
        self._add(code, place, message, "warning")

    def include(self, others: Iterable[Problem]) -> None:
        """Note problems of another file."""
        for problem in others:
            self._errors += problem.severity == "error" and problem not in self._found
            self._found[problem] = None

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
        note = f"and {counted(len(rest), 'more problem')}: mend these first"
        return (*ordered[:MOST_SHOWN], Problem("Z001", note, last.file, last.line, last.column, severity))

    def _add(self, code: str, place: SourceLocation, message: str, severity: str) -> None:
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
