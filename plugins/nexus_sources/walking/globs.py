"""The language of the patterns: `*`, `?`, `[abc]`, `{md,txt}` within a name, `**` for any folders.

Hidden files and folders, and those nobody means (`node_modules`, `__pycache__`), match only where a pattern names them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from posixpath import normpath

from attrs import frozen

STAR = "*"
"""The token for any characters of a name; the others are expressions for one character each."""
FOLDERS = "**/"
"""The token for any folders, or none; it is the first one or comes after a slash."""

UNMEANT = frozenset({"node_modules", "__pycache__"})
"""Names that match only where a pattern names them, as hidden ones do."""
_WILD = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
_RANGE = re.compile(r"(.)(?:-(.))?", re.DOTALL)
_BRACES = re.compile(r"\{([^{}/]*,[^{}/]*)\}")
_MOST_ALTERNATIVES = 64


@frozen(eq=False, repr=False)
class Pattern:
    """A pattern in its parts: where it begins, and what it asks of each name from there on."""

    text: str
    """As the user wrote it."""
    start: str
    """The path of the folder from which it is walked, or of the one file it names."""
    shown: str
    """The same as people see it: relative to the root, empty for the root itself."""
    parts: tuple[str, ...]
    """Empty where the pattern has no wildcard."""


def patterns(text: str, root: str) -> list[Pattern]:
    """Return the patterns a text stands for: one, or one for each alternative in its braces."""
    return [_pattern(text, alternative, root) for alternative in alternatives(text)]


def means(part: str, name: str) -> bool:
    """Tell whether a part of a pattern means a name; a hidden one has to be named as such."""
    if part == name:
        return True
    if name.startswith(".") and not part.startswith("."):
        return False
    return name not in UNMEANT and _regex(part).fullmatch(name) is not None


@lru_cache(maxsize=1024)
def exclusion(pattern: str) -> re.Pattern[str]:
    """Return what fully matches the relative paths that a pattern excludes: those it means, and all that is below them.

    Without a slash it means a name anywhere, with one a path from the root.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    tokens = [] if "/" in pattern.rstrip("/") else [FOLDERS]
    for number, part in enumerate(parts, 1):
        last = number == len(parts)
        if part == "**":
            tokens.append(".+" if last else FOLDERS)
        else:
            tokens += [*_tokens(part), *([] if last else ["/"])]
    return re.compile(linear(tokens) + "(?:/.*)?", re.DOTALL)


def linear(tokens: Iterable[str]) -> str:
    """Return the expression for tokens, to be followed by another one; it takes time in proportion to the text.

    `a*a*a*b` as `a[^/]*a[^/]*a[^/]*b` would try all ways to divide a name. The first place of what stands between two
    wildcards is enough, since the second takes whatever is left over: atomic groups (`(?>`) try no other.
    """
    blocks = (["".join(piece) for piece in _split(block, STAR)] for block in _split(tokens, FOLDERS))
    return _joined([_joined(pieces, "[^/]*") for pieces in blocks], "(?:[^/]*/)*")


def alternatives(text: str) -> list[str]:
    """Return the patterns without braces that a text stands for."""
    waiting = [text]
    done: list[str] = []
    while waiting and len(waiting) + len(done) <= _MOST_ALTERNATIVES:
        first = waiting.pop(0)
        braces = _BRACES.search(first)
        if braces is None:
            done.append(first)
        else:
            waiting += [first[: braces.start()] + word + first[braces.end() :] for word in braces[1].split(",")]
    return done + waiting


def _pattern(text: str, alternative: str, root: str) -> Pattern:
    path = os.path.expanduser(alternative)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    plain = next((number for number, part in enumerate(parts) if _WILD.search(part)), len(parts))
    root = os.path.abspath(root)
    start = os.path.normpath(os.path.join(os.sep if path.startswith("/") else root, *parts[:plain]))
    shown = normpath(os.path.relpath(start, root).replace(os.sep, "/"))
    if path.startswith("/") and shown.startswith(".."):
        shown = start.replace(os.sep, "/")
    return Pattern(text, start, "" if shown == "." else shown, tuple(parts[plain:]))


@lru_cache(maxsize=1024)
def _regex(part: str) -> re.Pattern[str]:
    return re.compile(linear(_tokens(part)), re.DOTALL)


def _tokens(part: str) -> Iterator[str]:
    for token in _TOKEN.findall(part):
        if token.startswith("*"):
            yield STAR
        elif token == "?":
            yield "[^/]"
        else:
            yield _set(token[1:-1]) if token.startswith("[") and len(token) > 2 else re.escape(token)


def _set(inside: str) -> str:
    """Return the expression for a set of characters; a range that runs backwards holds none."""
    inverted = inside.startswith("!")
    ranges = _RANGE.findall(inside[inverted:])
    kept = [f"{re.escape(first)}-{re.escape(last or first)}" for first, last in ranges if first <= (last or first)]
    if not kept:
        return "[^/]" if inverted else "(?!)"
    return f"[{'^/' if inverted else ''}{''.join(kept)}]"


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
