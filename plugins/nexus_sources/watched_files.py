"""The files of one source: looked at with each gather, read again where they have changed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import aclosing

from attrs import define, evolve, field, frozen

from nexus_core import Item, SourceError
from nexus_core.toolkit import DocumentReader, ReadSettings, SharedWork, Stamp, counted, in_thread, settled, stamp_of
from nexus_sources.load import Loaded, load
from nexus_sources.read_apart import load_apart
from nexus_sources.walking.globs import Pattern
from nexus_sources.walking.ignore_files import Ignoring
from nexus_sources.walking.no_match_hints import why_nothing
from nexus_sources.walking.walk import FoundFile, Walk

FEW = 300
"""Folders and files that are looked at without leaving the event loop: about a millisecond."""
LITTLE = 200_000
"""Bytes of changed text, Markdown and code that are read without leaving the event loop: their readers take time in
proportion to them. More, and all files of other formats, are read in another process."""
READ_S = 120.0

_TOLD_AT_MOST = 10
MISSING = "pip install"
"""In the problem of a file whose extra is not installed."""

logger = logging.getLogger("nexus_sources.files")


@frozen(eq=False, repr=False)
class _ReadFile:
    found: FoundFile
    loaded: Loaded
    settled: bool
    """False when it had changed so shortly before it was read that another change may carry the same time."""


@frozen(eq=False, repr=False)
class _Look:
    """What there is to read, and what a walk has found wrong."""

    files: list[FoundFile]
    problems: tuple[str, ...]
    folders: list[tuple[str, Stamp]]
    began: int


@define(eq=False, repr=False)
class WatchedFiles:
    """The items of the files that some patterns match."""

    root: str
    patterns: tuple[Pattern, ...]
    exclude: tuple[str, ...] = ()
    settings: ReadSettings = ReadSettings()
    fail: bool = False
    """A problem is an error."""
    ignore: tuple[str, ...] = ()
    """Names of lists of what is left out."""
    prefix: str = ""
    """Stands before the names of the files in what is read."""
    follows: bool = False
    """Links may lead out of the root."""
    read_s: float = READ_S
    """The time that one file may take in another process."""
    problems: tuple[str, ...] = ()
    """What the last look found wrong, one text each."""
    _reader: DocumentReader = field(init=False)
    _kept: dict[str, _ReadFile] = field(factory=dict)
    _items: tuple[Item, ...] = ()
    _stamps: list[tuple[str, Stamp]] = field(factory=list)
    """Of all files and folders that were looked at; empty as long as one of them may change unnoticed."""
    _work: SharedWork[tuple[Item, ...]] = field(factory=SharedWork)

    def __attrs_post_init__(self) -> None:
        self._reader = DocumentReader(self.settings)

    async def items(self) -> tuple[Item, ...]:
        """Return the items of all files, in the order of their names: the same tuple while nothing has changed.

        Little work is done at once, much in a thread and in another process; callers that come meanwhile wait for the
        same result. When the last of them leaves, the process is killed; what it has read stays.
        """
        if not self._work.running:
            walk = self._walk()
            steps, look = self._look(walk), None
            if len(self._stamps) <= FEW:
                if self._unmoved():
                    return self._outcome()
                look = _while_few(steps, walk)
                if look is not None and not self._due_apart(look.files):
                    return self._take_changes(look)
            self._work.begin(self._take_apart(steps, look))
        return await self._work.result()

    def _walk(self) -> Walk:
        if not self.ignore:
            return Walk(self.exclude, root=self.root, follows=self.follows)
        return Walk(self.exclude, Ignoring(self.ignore), root=self.root, follows=self.follows)

    async def _take_apart(self, steps: Iterator[_Look | None], look: _Look | None) -> tuple[Item, ...]:
        look = look or await in_thread(self._look_further, steps)
        if look is None:
            return self._outcome()
        due = self._due_apart(look.files)
        if due:
            await self._work.stoppable(self._read_apart(due))
        return await in_thread(self._take_changes, look, frozenset(file.name for file in due))

    def _look_further(self, steps: Iterator[_Look | None]) -> _Look | None:
        return None if self._unmoved() else next(filter(None, steps))

    async def _read_apart(self, due: list[FoundFile]) -> None:
        now = time.time_ns()
        requests = [(self._named(file), self._fingerprint(file)) for file in due]
        async with aclosing(load_apart(requests, self.settings, self.read_s)) as results:
            for file in due:
                self._kept[file.name] = self._keep(file, await anext(results), now)

    def _unmoved(self) -> bool:
        """Tell whether every folder and file is as it was, without listing any folder."""
        try:
            return bool(self._stamps) and all(stamp_of(os.stat(path)) == stamp for path, stamp in self._stamps)
        except OSError:
            return False

    def _look(self, walk: Walk) -> Iterator[_Look | None]:
        """Look into one folder after the other, and at the end yield what was seen."""
        if not os.path.isdir(self.root):
            raise SourceError(f"files: there is no folder {self.root}, which `root` names")
        began = time.time_ns()
        found: dict[str, FoundFile] = {}
        matching = dict.fromkeys((pattern.text for pattern in self.patterns), False)
        for pattern in self.patterns:
            for batch in walk.files(pattern):
                found.update((file.name, file) for file in batch)
                matching[pattern.text] |= bool(batch)
                yield None
        by_text = {pattern.text: pattern for pattern in reversed(self.patterns)}
        unmatched = [by_text[text] for text, matches in matching.items() if not matches]
        missing = [why_nothing(pattern, walk) for pattern in unmatched if pattern.start not in walk.unlisted]
        folders = [(path, folder.stamp) for path, folder in walk.listed.items()]
        yield _Look([found[name] for name in sorted(found)], (*missing, *walk.problems), folders, began)

    def _due_apart(self, files: Iterable[FoundFile]) -> list[FoundFile]:
        """Return the changed files that are to be read in another process."""
        changed = [file for file in files if not self._is_kept(file)]
        if sum(file.stamp[2] for file in changed) > LITTLE:
            return changed
        return [file for file in changed if not self._reader.is_light(file.name)]

    def _is_kept(self, file: FoundFile) -> bool:
        kept = self._kept.get(file.name)
        return kept is not None and kept.settled and kept.found.stamp == file.stamp

    def _take_changes(self, look: _Look, fresh: frozenset[str] = frozenset()) -> tuple[Item, ...]:
        """Read what has changed but for what is fresh, tell what is newly wrong, and return the items."""
        self._settle(look.files, fresh)
        unread = tuple(f"{name}: {kept.loaded.problem}" for name, kept in self._kept.items() if kept.loaded.problem)
        known, self.problems = self.problems, look.problems + unread
        if self.problems != known:
            _tell(problem for problem in self.problems if problem not in known)
        self._stamps = self._settled_stamps(look)
        return self._outcome()

    def _settled_stamps(self, look: _Look) -> list[tuple[str, Stamp]]:
        sure = all(kept.settled for kept in self._kept.values()) and all(
            settled(stamp, look.began) for _, stamp in look.folders
        )
        if look.problems or not sure or self.ignore:  # a changed list changes no stamp of its folder
            return []
        return [*look.folders, *((file.path, file.stamp) for file in look.files)]

    def _outcome(self) -> tuple[Item, ...]:
        """Return the items; raises SourceError where there are none, or where a problem is an error."""
        if self.fail and self.problems:
            raise SourceError(f"files: {_joined(self.problems)}")
        if not self._items:
            asked = ", ".join(dict.fromkeys(repr(pattern.text) for pattern in self.patterns)) or "none"
            seen = _joined(self.problems) or f"{counted(len(self._kept), 'file')}, all of them empty"
            raise SourceError(f"files: no item under {self.root} from paths {asked}: {seen}")
        return self._items

    def _settle(self, files: list[FoundFile], fresh: frozenset[str]) -> None:
        self._kept = {
            file.name: self._kept[file.name] if file.name in fresh or self._is_kept(file) else self._read(file)
            for file in files
        }
        items = tuple(item for kept in self._kept.values() for item in kept.loaded.items)
        # A file that was only read again to be sure has given the same items: then the tuple stays, too.
        if [*map(id, items)] != [*map(id, self._items)]:
            self._items = items

    def _read(self, file: FoundFile) -> _ReadFile:
        return self._keep(file, load(self._named(file), self._reader, self._fingerprint(file)), time.time_ns())

    def _keep(self, file: FoundFile, loaded: Loaded | None, now: int) -> _ReadFile:
        """Return what is kept of a file; without anything new it is what was kept before."""
        return _ReadFile(file, self._kept[file.name].loaded if loaded is None else loaded, settled(file.stamp, now))

    def _named(self, file: FoundFile) -> FoundFile:
        return evolve(file, name=self.prefix + file.name) if self.prefix else file

    def _fingerprint(self, file: FoundFile) -> bytes:
        """Return what the file is known by, where its items would be the same: they tell when it has changed."""
        before = self._kept.get(file.name)
        same_time = before is not None and before.found.stamp[0] == file.stamp[0]
        return before.loaded.fingerprint if before is not None and same_time else b""


def _while_few(steps: Iterator[_Look | None], walk: Walk) -> _Look | None:
    """Return what was seen, or None as soon as there is much to look at."""
    for look in steps:
        if look is not None or walk.looked_at > FEW:
            return look
    return None


def _tell(problems: Iterable[str]) -> None:
    """Warn of problems: a missing extra once for all files that need it, and no more than a few of the rest."""
    told = []
    waiting: dict[str, list[str]] = {}
    for problem in problems:
        name, _, why = problem.partition(": ")
        if MISSING in why:
            waiting.setdefault(why, []).append(name)
        else:
            told.append(problem)
    told[:0] = [
        f"{names[0]}: {why}" if len(names) == 1 else f"{len(names)} files, such as {names[0]}: {why}"
        for why, names in waiting.items()
    ]
    for problem in told[:_TOLD_AT_MOST]:
        logger.warning("%s", problem)
    if told[_TOLD_AT_MOST:]:
        logger.warning("and %d more problems; all are in `problems` of the source", len(told) - _TOLD_AT_MOST)


def _joined(problems: tuple[str, ...]) -> str:
    more = f"; and {len(problems) - _TOLD_AT_MOST} more" if problems[_TOLD_AT_MOST:] else ""
    return "; ".join(problems[:_TOLD_AT_MOST]) + more
