"""The ledger of a run for people: a small table in plain text, for stderr."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import dollars, line, plain
from nexus_core.contract.answers import AttemptFinished, Event, ToolFinished
from nexus_core.contract.events import StepFinished, Waiting
from nexus_core.toolkit.suggest import counted

HEADERS = (
    "attempt",
    "model",
    "outcome",
    "status",
    "queued",
    "waited",
    "first byte",
    "content",
    "total",
    "tokens",
    "cost",
    "bytes",
)
_WORDS = 3
"""The columns that are words; the others are figures and stand to the right."""


_ARGUMENTS = 200
"""Characters that are shown of a call's arguments."""


class AttemptLog:
    """Tells of waits, calls of tools and notes of steps as they come, and of all attempts at the end."""

    def __init__(self) -> None:
        self._rows: list[AttemptFinished] = []

    def see(self, event: Event) -> None:
        """Take an event of the run."""
        match event:
            case AttemptFinished():
                self._rows.append(event)
            case Waiting(model=model, why=why, wait_s=wait_s):
                echo(f"{model}: waiting {_seconds(wait_s)} ({why})", err=True)
            case ToolFinished():
                echo(_tool_line(event), err=True)
            case StepFinished(path=path, verb=verb, notes=notes):
                for note in notes:
                    echo(f"note: {path} ({verb}): {plain(note)}", err=True)

    def show(self) -> None:
        """Print the table, if there was any attempt."""
        if self._rows:
            echo(f"\n{attempt_table(self._rows)}", err=True)


def attempt_table(rows: Iterable[AttemptFinished]) -> str:
    """Return rows of the ledger as lines of aligned columns; what is estimated has a `~`.

    What is unknown is `-`, the cost of a request `unknown`.
    """
    table = [HEADERS, *map(_cells, rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(HEADERS))]
    return "\n".join(_line(row, widths) for row in table)


def _tool_line(call: ToolFinished) -> str:
    """Return one call of a tool: its round, what came of it, how much the model reads of it, and its arguments."""
    parts = [call.outcome, f"{call.duration_s:.2f} s"]
    if call.items:
        parts.append(counted(call.items, "item"))
    parts.append(counted(call.tokens, "token") + (", cut" if call.was_cut else ""))
    return f"round {call.round}: {plain(call.name)}: {', '.join(parts)}: {line(call.arguments or '{}', _ARGUMENTS)}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if place < _WORDS else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def _cells(row: AttemptFinished) -> tuple[str, ...]:
    return (
        str(row.number),
        row.model if row.purpose == "answer" else f"{row.model} ({row.purpose})",
        _outcome(row),
        _shown(row.status),
        _seconds(row.queued_s),
        _seconds(row.waited_s),
        _seconds(row.first_byte_s),
        _seconds(row.first_content_s),
        _seconds(row.duration_s),
        _tokens(row),
        _cost(row),
        _shown(row.bytes_received),
    )


def _outcome(row: AttemptFinished) -> str:
    if row.from_cache:
        return f"{row.outcome} (from cache)"
    return row.outcome if row.request_sent else f"{row.outcome} (not sent)"


def _shown(figure: int | None) -> str:
    return "-" if figure is None else str(figure)


def _seconds(seconds: float | None) -> str:
    return f"{seconds:.2f} s" if seconds else "-"


def _cost(row: AttemptFinished) -> str:
    if row.cost is None:
        return "unknown" if row.request_sent else "-"
    return f"{'' if row.usage_source == 'provider' else '~'}{dollars(row.cost)}"


def _tokens(row: AttemptFinished) -> str:
    if row.prompt_tokens is None and row.completion_tokens is None:
        return "-"
    mark = "" if row.usage_source == "provider" else "~"
    return f"{mark}{_shown(row.prompt_tokens)}+{_shown(row.completion_tokens)}"
