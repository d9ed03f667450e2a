"""Finds the items that are always in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

from nexus_core.contract.errors import RunError
from nexus_core.contract.values import Item
from nexus_core.toolkit.suggest import did_you_mean

_WILDCARD = re.compile(r"[*?\[]")


def pinned(items: Sequence[Item], patterns: Sequence[str]) -> list[int]:
    """Return the indices of the items whose id or source is named by a pattern, in their order.

    Raises RunError where an id without wildcards names no item: what must be in may not be left out silently.
    """
    if not patterns:
        return []
    names = {pattern for pattern in patterns if not _WILDCARD.search(pattern)}
    globs = [translate(pattern) for pattern in patterns if pattern not in names]
    matches = re.compile("|".join(globs)).match if globs else lambda name: None
    found = [
        index
        for index, item in enumerate(items)
        if item.id in names or item.source in names or matches(item.id) or matches(item.source)
    ]
    missing = names - {name for index in found for name in (items[index].id, items[index].source)}
    if missing:
        name = min(missing)
        hint = did_you_mean(name, [item.id for item in items[:10_000]])
        raise RunError(f"`pin` names {name!r}, and no item has that id or source{hint}: correct it, or use a glob")
    return found
