"""Words for messages: what the user may have meant, and what there is."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the closest known name, or an empty text when none is close."""
    from difflib import get_close_matches  # only mistakes pay for it

    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number with what it counts: `1 query`, `2 queries`; by default the plural has an `s`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(names: Iterable[str]) -> str:
    """Return names as people list them: `a, b and c`."""
    words = list(names)
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
