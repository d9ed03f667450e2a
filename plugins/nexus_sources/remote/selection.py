"""Which of many names a source takes: by patterns, where nothing can be walked folder by folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

from attrs import frozen

from nexus_sources.walking.globs import UNMEANT, alternatives, exclusion


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class NameSelection:
    """Patterns of the language of `files`: without a slash they mean a name anywhere, with one a path from the root."""

    paths: tuple[str, ...] = ()
    """Empty for all names that are not hidden."""
    exclude: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Tell whether a name with slashes is taken; a hidden one has to be named as such."""
        if any(expression.fullmatch(name) for expression in self._excluding):
            return False
        if not self.paths:
            return not any(_is_unmeant(part) for part in name.split("/"))
        return any(expression.fullmatch(name) for expression in self._including) and self._names_hidden(name)

    def _names_hidden(self, name: str) -> bool:
        hidden = [part for part in name.split("/") if _is_unmeant(part)]
        return all(any(part in pattern or _dotted(pattern) for pattern in self.paths) for part in hidden)

    @cached_property
    def _including(self) -> tuple[re.Pattern[str], ...]:
        return _expressions(self.paths)

    @cached_property
    def _excluding(self) -> tuple[re.Pattern[str], ...]:
        return _expressions(self.exclude)


def as_tuple(patterns: str | Iterable[str]) -> tuple[str, ...]:
    """Return the patterns of an option that takes one or several."""
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _expressions(patterns: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(exclusion(each) for pattern in patterns for each in alternatives(pattern))


def _is_unmeant(part: str) -> bool:
    return part.startswith(".") or part in UNMEANT


def _dotted(pattern: str) -> bool:
    """Tell whether a pattern asks for hidden names, as `.github/*.yml` and `.*` do."""
    return any(part.startswith(".") and part not in (".", "..") for part in pattern.split("/"))
