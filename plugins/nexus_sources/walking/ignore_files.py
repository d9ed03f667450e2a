"""What a folder's own lists leave out: `.gitignore` as git reads it, and `.nexusignore` in the same language."""

from __future__ import annotations

import os

from attrs import define, field

from nexus_sources.walking.ignore_rules import IgnoreRules, parse

_LONGEST = 1_000_000
"""Bytes of a list."""

_Lists = tuple[tuple[int, IgnoreRules], ...]
"""Those that hold in a folder, the deepest first, each with where paths relative to its folder begin."""


@define(eq=False, repr=False)
class Ignoring:
    """The lists of the folders that were looked at: the deepest one that says something of a path decides."""

    names: tuple[str, ...]
    """How the files are called; what a later one says goes before what an earlier one does."""
    _lists: dict[str, _Lists | None] = field(factory=dict)
    """By folder; None where the folder itself is left out, and all that is in it."""

    def look(self, folder: str) -> None:
        """Take up the lists of a folder, and of those above it up to where its repository begins."""
        waiting = [folder, *self._above(folder)]
        while waiting:
            path = waiting.pop()
            lists = self._lists.get(os.path.dirname(path), ())
            if path not in self._lists:
                left_out = lists is None or self.ignores(path, is_folder=True)
                self._lists[path] = None if left_out else (*self._own(path), *(lists or ()))

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Tell whether a path in a folder that was looked at is left out."""
        lists = self._lists.get(os.path.dirname(path), ())
        if not lists:
            return lists is None
        path = os.fsencode(path).decode("latin-1").replace(os.sep, "/")
        decisions = (rules.decide(path[start:], is_folder=is_folder) for start, rules in lists)
        return next((decision for decision in decisions if decision is not None), False)

    def _above(self, folder: str) -> list[str]:
        found = []
        while folder not in self._lists and not os.path.exists(os.path.join(folder, ".git")):
            folder, below = os.path.dirname(folder), folder
            if folder == below:
                return []  # no repository
            found.append(folder)
        return found

    def _own(self, folder: str) -> _Lists:
        rules = parse("\n".join(_text(os.path.join(folder, name)) for name in self.names))
        return ((len(os.fsencode(os.path.join(folder, ""))), rules),) if rules else ()


def _text(path: str) -> str:
    """Return a list with a character for each byte: git compares bytes."""
    try:
        with open(path, encoding="latin-1", newline="") as file:
            return file.read(_LONGEST).removeprefix("\xef\xbb\xbf")
    except OSError:
        return ""
