"""Regular expressions for wildcards, matched in time proportional to the text, whatever the pattern.

`a*a*a*b` as `a[^/]*a[^/]*a[^/]*b` would try all ways to divide a name. The first place of what stands between two
wildcards is enough, since the second takes whatever is left over: atomic groups (`(?>`) try no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

STAR = "*"
"""The token for any characters of a name; the others are expressions for one character each."""
FOLDERS = "**/"
"""The token for any folders, or none; it is the first one or comes after a slash."""


def linear(tokens: Iterable[str]) -> str:
    """Return the expression for tokens, to which an expression for what follows is added."""
    blocks = (["".join(piece) for piece in _split(block, STAR)] for block in _split(tokens, FOLDERS))
    return _joined([_joined(pieces, "[^/]*") for pieces in blocks], "(?:[^/]*/)*")


def _joined(pieces: list[str], gap: str) -> str:
    first, *others = pieces
    middle = [f"(?>{gap}?{piece})" for piece in others[:-1]]
    return "".join([first, *middle, *(gap + piece for piece in others[-1:])])


def _split(tokens: Iterable[str], wildcard: str) -> list[list[str]]:
    """Return what is between the wildcards; some in a row are one."""
    pieces: list[list[str]] = [[]]
    for is_wildcard, group in groupby(tokens, wildcard.__eq__):
        if is_wildcard:
            pieces.append([])
        else:
            pieces[-1] += group
    return pieces
