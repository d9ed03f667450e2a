"""One look at the folders: each is listed once, whatever the number of patterns, and links lead round no loop.

A link within a folder that leads out of it is left out: who names a folder means what is in it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from stat import S_ISREG
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from nexus_core.toolkit import Stamp, stamp_of
from nexus_sources.walking.globs import Pattern, exclusion, means

if TYPE_CHECKING:
    from nexus_sources.walking.ignore_files import Ignoring

LEAVING = "is a link that leads out of the folder; left out (follow_links, or --follow-links, includes it)"
_STORE = frozenset({"store.db", "index", "objects"})
"""What the folder of a store holds."""


@frozen(eq=False, repr=False)
class FoundFile:
    """A file that a pattern matches."""

    path: str
    """To open it by."""
    name: str
    """As people see it: relative to the root, with slashes."""
    stamp: Stamp


@frozen(eq=False, repr=False)
class ListedFolder:
    """What is directly in a folder."""

    stamp: Stamp
    """Taken before it was listed."""
    files: tuple[os.DirEntry[str], ...] = ()
    folders: tuple[os.DirEntry[str], ...] = ()


@define(eq=False, repr=False)
class Walk:
    """Finds files by patterns, and remembers what it saw."""

    exclude: tuple[str, ...] = ()
    ignoring: Ignoring | None = None
    root: str = ""
    """Links may lead anywhere in this folder, and in the one that a pattern names."""
    follows: bool = False
    """Links may lead anywhere."""
    problems: list[str] = field(factory=list)
    unreadable: dict[str, str] = field(factory=dict)
    """Why, by the name of what can be no document; it is among the problems, too."""
    left_out: dict[str, str] = field(factory=dict)
    """Links out of the root or to nothing, pipes, sockets and devices: why, by their names. Among the problems, too."""
    nowhere: set[str] = field(factory=set)
    """Those of what is left out that are links whose target is gone."""
    excluded: int = 0
    """How many files match and are excluded."""
    looked_at: int = 0
    """How many folders and files so far."""
    listed: dict[str, ListedFolder] = field(factory=dict)
    """By path."""
    unlisted: set[str] = field(factory=set)
    """The paths of folders that cannot be listed; why stands among the problems."""
    _seen: dict[str, list[FoundFile]] = field(factory=dict)
    _within: tuple[str, ...] = ()
    """The real folders that links of the pattern may lead to."""

    def files(self, pattern: Pattern) -> Iterator[list[FoundFile]]:
        """Yield the files a pattern matches, folder by folder, in no order."""
        parts = pattern.parts
        if not parts:
            if not os.path.isdir(pattern.start):
                yield self._stamped(lambda: os.stat(pattern.start), pattern.start, pattern.shown)
                return
            parts = ("**",)  # a folder stands for all that is in it
        self._within = tuple(os.path.realpath(folder) for folder in {self.root or pattern.start, pattern.start})
        been: set[tuple[int, int, int]] = set()
        waiting = deque([(pattern.start, pattern.shown, 0)])
        while waiting:
            path, shown, at = waiting.pop()
            status = _status(path)
            if status is None or (status.st_dev, status.st_ino, at) in been:
                continue  # links may lead back to where one has been
            been.add((status.st_dev, status.st_ino, at))
            folder = self._folder(path, shown, stamp_of(status))
            yield self._matching(folder, shown, parts[at]) if at == len(parts) - 1 else []
            if parts[at] == "**" and at < len(parts) - 1:
                waiting.append((path, shown, at + 1))
            for entry, name in self._below(folder, shown, parts, at):
                further = (entry.path, name, at if parts[at] == "**" else at + 1)
                # Links wait until the end, so that a folder reachable in two ways goes by its own name.
                (waiting.appendleft if entry.is_symlink() else waiting.append)(further)

    def _folder(self, path: str, shown: str, stamp: Stamp) -> ListedFolder:
        known = self.listed.get(path)
        if known is None:
            known = self.listed[path] = self._list(path, shown, stamp)
            self.looked_at += 1 + len(known.files)
        return known

    def _list(self, path: str, shown: str, stamp: Stamp) -> ListedFolder:
        try:
            with os.scandir(path) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(f"{shown or path}: cannot be listed ({error.strerror or error})")
            self.unlisted.add(path)
            return ListedFolder(stamp)
        names = {entry.name for entry in entries}
        if "pyvenv.cfg" in names or names >= _STORE:
            return ListedFolder(stamp)  # a virtual environment, or the store itself: nobody's documents
        if self.ignoring is not None:
            entries = self._wanted(path, entries, self.ignoring)
        folders = tuple(entry for entry in entries if _is(entry.is_dir))
        # A link that leads nowhere, or a pipe, is neither file nor folder, and is told of once a pattern means it.
        files = tuple(entry for entry in entries if entry not in folders)
        return ListedFolder(stamp, files, folders)

    def _wanted(self, path: str, entries: list[os.DirEntry[str]], ignoring: Ignoring) -> list[os.DirEntry[str]]:
        ignoring.look(path)
        wanted = [e for e in entries if not ignoring.ignores(e.path, is_folder=_is(e.is_dir) and not e.is_symlink())]
        self.excluded += len(entries) - len(wanted)
        return wanted

    def _below(
        self, folder: ListedFolder, shown: str, parts: tuple[str, ...], at: int
    ) -> Iterator[tuple[os.DirEntry[str], str]]:
        part = "*" if parts[at] == "**" else parts[at]
        if parts[at] == "**" or at < len(parts) - 1:
            for entry in folder.folders:
                name = f"{shown}/{entry.name}" if shown else entry.name
                if means(part, entry.name) and not self._excludes(name) and not self._leaves(entry, name):
                    yield entry, name

    def _matching(self, folder: ListedFolder, shown: str, part: str) -> list[FoundFile]:
        found = []
        for entry in folder.files:
            if means("*" if part == "**" else part, entry.name):
                name = f"{shown}/{entry.name}" if shown else entry.name
                if not self._leaves(entry, name):
                    found += self._stamped(entry.stat, entry.path, name)
        return found

    def _stamped(self, stat: Callable[[], os.stat_result], path: str, name: str) -> list[FoundFile]:
        if name not in self._seen:
            self._seen[name] = self._stamp(stat, path, name)
        return self._seen[name]

    def _stamp(self, stat: Callable[[], os.stat_result], path: str, name: str) -> list[FoundFile]:
        """Return the file with its stamp; nothing where it is excluded, or no file after all."""
        if self._excludes(name):
            self.excluded += 1
            return []
        try:
            status = stat()
        except OSError as error:
            if os.path.islink(path):
                self.nowhere.add(name)
                self._leave_out(name, f"is a link that leads nowhere ({error.strerror or error}); left out")
            return []  # else gone since its folder was listed
        if not S_ISREG(status.st_mode):
            self._leave_out(name, "is neither a file nor a folder; left out")
            return []
        return [FoundFile(path, name, stamp_of(status))]

    def _leaves(self, entry: os.DirEntry[str], name: str) -> bool:
        """Tell whether this is a link that leads out of the root, and note it; not of one that leads nowhere."""
        if self.follows or not entry.is_symlink():
            return False
        target = os.path.realpath(entry.path)
        if any(target == folder or target.startswith(folder.rstrip(os.sep) + os.sep) for folder in self._within):
            return False
        if not os.path.exists(target) or self._excludes(name):
            return False
        self._leave_out(name, LEAVING)
        return True

    def _leave_out(self, name: str, why: str) -> None:
        if name not in self.left_out:
            self.left_out[name] = why
            self.problems.append(f"{name}: {why}")

    def _note(self, name: str, why: str) -> None:
        self.unreadable[name] = why
        self.problems.append(f"{name}: {why}")

    def _excludes(self, name: str) -> bool:
        return any(exclusion(pattern).fullmatch(name) for pattern in self.exclude)


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link to itself
        return False


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
