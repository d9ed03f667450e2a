"""What a folder's own lists leave out: `.gitignore` as git reads it, and `.nexusignore` in the same language."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from attrs import define, field

_LONGEST = 1_000_000
"""Bytes of a list."""


@define(eq=False, repr=False, slots=False)
class Ignoring:
    """The lists of the folders that were looked at: the deepest one that says something of a path decides."""

    names: tuple[str, ...]
    """How the files are called; what a later one says goes before what an earlier one does."""
    _lists: dict[str, Any] = field(factory=dict)
    """By the real path of their folder."""
    _looked: set[str] = field(factory=set)

    def look(self, folder: str) -> None:
        """Take up the lists of a folder; of the first one also those above it, up to where its repository begins."""
        above = [folder]
        if not self._looked:
            above += self._above(folder)
        for each in above:
            if each not in self._looked:
                self._looked.add(each)
                lines = [line for name in self.names for line in _lines(os.path.join(each, name))]
                if lines:
                    self._lists[each] = self._spec.from_lines(lines)

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Tell whether a path is left out; those of its folders that are, are not looked into in the first place."""
        if not self._lists:
            return False
        folder = os.path.dirname(path)
        while True:
            spec = self._lists.get(folder)
            if spec is not None:
                relative = os.path.relpath(path, folder).replace(os.sep, "/") + ("/" if is_folder else "")
                said = spec.check_file(relative).include
                if said is not None:
                    return bool(said)
            parent = os.path.dirname(folder)
            if parent == folder:
                return False
            folder = parent

    @staticmethod
    def _above(folder: str) -> list[str]:
        found = []
        at = folder
        while not os.path.exists(os.path.join(at, ".git")):
            parent = os.path.dirname(at)
            if parent == at:
                return []  # no repository
            found.append(parent)
            at = parent
        return found

    @cached_property
    def _spec(self) -> Any:
        # Imported where there is a list: pathspec follows git in negation, anchors and folders.
        from pathspec import GitIgnoreSpec

        return GitIgnoreSpec


def _lines(path: str) -> Iterable[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST).splitlines()
    except OSError:
        return ()
