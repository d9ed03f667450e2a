"""Words for messages: what the user may have meant, and what there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice

MOST_LISTED = 12
"""Names that a message about an unknown one tells."""
MOST_COMPARED = 200
"""Names, and of a name 64 characters, that are looked at for one that is close."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the closest known name, or an empty text when none is close."""
    from difflib import get_close_matches  # only mistakes pay for it

    close = get_close_matches(name[:64], list(islice(known, MOST_COMPARED)), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def instead(name: str | None, known: Collection[str], there: str, more: str = "") -> str:
    """Return the end of a message about an unknown name: the close one, and what there is, where it is not too much.

    Of many names the first are told, and none where one is close and `more` says what lists them, as
    "`nexus plugins` lists them". `name` is `None` where it must not be looked at, since it comes from the environment.
    """
    meant = did_you_mean(name, known) if name else ""
    begin = f"{meant} {there[0].upper()}{there[1:]}" if meant else f"; {there}"
    if len(known) <= MOST_LISTED:
        return f"{begin}: {listed(known) or 'none'}"
    if meant and more:
        return f"{meant} {more}"
    rest = len(known) - MOST_LISTED
    return f"{begin}: {', '.join(islice(known, MOST_LISTED))} and {rest} more" + (f"; {more}" if more else "")


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number with what it counts: `1 query`, `2 queries`; by default the plural has an `s`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(names: Iterable[str]) -> str:
    """Return names as people list them: `a, b and c`."""
    words = list(names)
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
