"""Child processes of Python that import nothing from the current folder: it may hold files of strangers.

`python -m` and an empty entry of `PYTHONPATH` put the current folder first on `sys.path`, before the standard library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

SAFE = "PYTHONSAFEPATH"
PATH = "PYTHONPATH"


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in this Python, with `-P`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def safe_path(entries: Iterable[str] | None = None) -> list[str]:
    """Return the entries of a path, by default `sys.path`, without those that mean the current folder."""
    return [entry for entry in (sys.path if entries is None else entries) if not is_current(entry)]


def is_current(entry: str) -> bool:
    """Tell whether an entry of a path means the current folder, or depends on which that is."""
    if not os.path.isabs(entry):
        return True
    try:
        return os.path.samefile(entry, os.getcwd())
    except OSError:  # no longer there: nothing is imported from it
        return False


def environment(path: Iterable[str] | None = None, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child, by default that of this process with its own `PYTHONPATH` made safe.

    With `path` that is where the child looks for modules.
    """
    made = dict(os.environ if given is None else given)
    found = made.get(PATH, "").split(os.pathsep) if path is None else path
    kept = safe_path(entry if os.path.isabs(entry) or not entry else os.path.abspath(entry) for entry in found)
    made[SAFE] = "1"
    made.pop(PATH, None)
    if kept:
        made[PATH] = os.pathsep.join(kept)
    return made


def protect_process() -> None:
    """Import nothing more from the current folder, nor let any child do so, whoever starts it.

    For the process of a command, before it does anything. What is on the path after the standard library has been
    installed there, and stays.
    """
    made = environment()
    os.environ[SAFE] = made[SAFE]
    os.environ.pop(PATH, None)
    if PATH in made:
        os.environ[PATH] = made[PATH]
    library = os.path.dirname(os.__file__)
    first = sys.path.index(library) if library in sys.path else len(sys.path)
    sys.path[:first] = [entry for entry in sys.path[:first] if not is_current(entry)]
