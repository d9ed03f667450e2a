"""Messages for those who begin: what is missing on one line, and below it the commands to go on with, to be copied."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote

from nexus_core.cli.output.echo import one_line
from nexus_core.config.sibling_files import is_pipeline_file
from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.suggest import did_you_mean, listed

Step = tuple[str, str]
"""A command, and what it does."""
_WIDTH = 56
"""Characters of a command beside which there is room for what it does."""
_SHOWN = 3
"""Commands that differ in one name alone."""
_NAMED = 20
"""Names that the last line tells."""
_QUESTIONED = ("run", "explain", "chat")
"""Commands that take a pipeline, and after it at most a question."""
_LOOKED_AT = 1_000
"""Entries of a folder among which pipelines are looked for."""


def missing(what: str, steps: Iterable[Step]) -> UsageError:
    """Return an error that says what is missing, and the commands to go on with, each on a line of its own."""
    rows = list(steps)
    width = max((len(command) for command, _ in rows if len(command) <= _WIDTH), default=0)
    return UsageError("\n".join([what, *(f"  {command:<{width}}  {why}".rstrip() for command, why in rows)]))


def ask_steps(verb: str, names: Sequence[str], question: str) -> list[Step]:
    """Return how contexts of these names are asked, or how one is made; `verb` is `ask`, or `chat` without a question.

    Also how a file is asked, which needs no context.
    """
    words = f" {_word(question)}" if question else " QUESTION" if verb == "ask" else ""
    steps = [(f"nexus {verb} {_word(name)}{words}", "ask this context") for name in names[:_SHOWN]]
    if not names:
        steps = [("nexus context add NAME FOLDER", "make a context of a folder, which can be asked then")]
    if verb == "ask":
        steps.append((f"nexus ask -f FILE{words}", "ask a file or a folder, and keep nothing of it"))
    return steps + [("nexus context list", f"contexts: {_listed_names(names)}")] * (len(names) > _SHOWN)


def fill_steps(name: str) -> list[Step]:
    """Return how something comes into an empty context."""
    return [(f"nexus context add {_word(name)} FOLDER", "add a folder, a file or a page to it")]


def pipeline_steps(command: str, question: str = "", *, makes: bool = True) -> list[Step]:
    """Return how the pipelines of this folder are used by a command, or how one is made where `makes` is set."""
    words = f" {_word(question)}" if question else "" if command == "chat" else " QUERY"
    words = words if command in _QUESTIONED else " ..."
    found = [(f"nexus {command} {_word(name)}{words}", "a pipeline that is here") for name in pipelines_here()[:_SHOWN]]
    return found or [("nexus init", "write a pipeline to begin with into this folder")] * makes


def pipelines_here() -> list[str]:
    """Return the pipelines in this folder and in its folder `pipelines`, as a command takes them."""
    return [name for folder in ("", "pipelines") for name in _pipelines_in(folder)]


def no_pipeline(path: str, command: str) -> UsageError:
    """Return an error about a pipeline file that is not there; `command` is what was to use it, as `run`."""
    hint = did_you_mean(path, pipelines_here())
    return missing(f"cannot read the pipeline {one_line(path)}: there is no such file{hint}", pipeline_steps(command))


def _pipelines_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry, _ in zip(entries, range(_LOOKED_AT), strict=False) if entry.is_file()]
    except OSError:  # there is no such folder, or it is not ours to read
        return []
    paths = [Path(folder, name) for name in sorted(names) if is_pipeline_file(Path(name)) and name[0] != "."]
    return [str(path) for path in paths if _has_steps(path)]


def _has_steps(path: Path) -> bool:
    """Tell whether a file looks like a pipeline: YAML is for much else, such as what a container is made of."""
    try:
        with path.open("rb") as file:
            return b"\nsteps:" in b"\n" + file.read(65_536)
    except OSError:
        return False


def _word(text: str) -> str:
    shown = one_line(text)
    return quote(shown) if len(shown) <= 60 else "QUESTION"


def _listed_names(names: Sequence[str]) -> str:
    rest = [f"{len(names) - _NAMED} more"] if names[_NAMED:] else []
    return listed([one_line(name) for name in names[:_NAMED]] + rest)
