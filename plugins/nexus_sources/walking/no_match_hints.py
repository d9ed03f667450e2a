"""Says why a pattern matches no file: where it was looked for, and what is there instead."""

from __future__ import annotations

import os
from collections import Counter
from posixpath import splitext

from nexus_core.toolkit import did_you_mean, listed
from nexus_sources.walking.globs import Pattern
from nexus_sources.walking.walk import ListedFolder, Walk

_NAMED_AT_MOST = 8


def why_nothing(pattern: Pattern, walk: Walk) -> str:
    """Return one sentence about a pattern that has matched nothing in `walk`."""
    whose = "there is no file to read" if pattern.text == "." else f"paths: {pattern.text!r} matches no file"
    return f"{whose}: {_reason(pattern, walk)}"


def _reason(pattern: Pattern, walk: Walk) -> str:
    if not os.path.exists(pattern.start):
        return _absent(pattern.start)
    if not os.path.isdir(pattern.start):
        return f"{pattern.start} is there, but {'`exclude` means it too' if walk.excluded else 'is no plain file'}"
    within = pattern.start.rstrip(os.sep) + os.sep
    below = [folder for path, folder in walk.listed.items() if (path + os.sep).startswith(within)]
    hint = (
        ""
        if "**" in pattern.parts or not pattern.parts
        else "; folders below it are searched only where the pattern has a `**`"
    )
    return f"{pattern.start} {_held(below)}{', some of them excluded' if walk.excluded else hint}"


def _held(folders: list[ListedFolder]) -> str:
    """Say what is in some folders: how many files of which kind, or else which folders."""
    kinds = Counter(splitext(entry.name)[1] for folder in folders for entry in folder.files)
    if kinds:
        return "holds " + listed(f"{count} {kind or 'without a suffix'}" for kind, count in kinds.most_common(5))
    names = sorted({entry.name for folder in folders for entry in folder.folders})
    return f"holds no files, only the folders {_some(names)}" if names else "is empty"


def _absent(path: str) -> str:
    """Say which part of a path is not there, and what its folder holds."""
    parent, name = os.path.split(path)
    while not os.path.isdir(parent) and os.path.dirname(parent) != parent:
        parent, name = os.path.split(parent)
    try:
        there = sorted(entry for entry in os.listdir(parent) if not entry.startswith("."))
    except OSError as error:
        return f"{parent} cannot be listed ({error.strerror or error})"
    holding = f", which {f'holds {_some(there)}' if there else 'is empty'}"
    return f"there is no {name!r} in {parent}{did_you_mean(name, there) or holding}"


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return listed([*names[:_NAMED_AT_MOST], f"{more} more"]) if more > 0 else listed(names)
