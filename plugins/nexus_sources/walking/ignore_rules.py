"""The language of `.gitignore`, byte by byte as git's `wildmatch.c` and `dir.c` read it."""

from __future__ import annotations

import re

from attrs import frozen

from nexus_sources.walking.globs import FOLDERS, STAR, linear

_LONGEST = 4096
"""Of a pattern, as of a path; longer ones are left out."""
_UP_TO_SPACES = re.compile(r"(?:\\.?|[^\\ ]| ++(?!\Z))*+", re.DOTALL)
_WILD = re.compile(r"[*?\[\\]")
_STARS = re.compile(r"(\*+)(\\?/|\Z)?")
_SPANNING = {"/": (FOLDERS,), "\\/": (STAR, "/", FOLDERS), "": (".*",)}
_MEMBER = re.compile(r"\[:([^\]]*):\]|(?:\\(.)|([^\\]))(?:-(?:\\(.)|([^\]\\])))?", re.DOTALL)
_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": " \t", "cntrl": "\0-\x1f\x7f", "digit": "0-9", "graph": "!-~",
    "lower": "a-z", "print": " -~", "punct": "!-/:-@\\[-`{-~", "space": " \t\n\r", "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}  # fmt: skip


@frozen(eq=False, repr=False)
class IgnoreRules:
    """The lines of one list; the last one that matches a path decides."""

    _expression: re.Pattern[str]
    _decisions: tuple[bool, ...]
    """For each group of the expression whether it ignores."""

    def decide(self, path: str, *, is_folder: bool) -> bool | None:
        """Tell whether a path, relative to the folder of the list, is ignored; None where no line says anything."""
        name = path[path.rfind("/") + 1 :]
        match = self._expression.match(f"{name}/{'/' if is_folder else ''}{path}")
        return self._decisions[match.lastindex - 1] if match and match.lastindex else None


def parse(text: str) -> IgnoreRules | None:
    """Return the rules of a list, whose characters stand for bytes (latin-1); None where there are none."""
    # Of several alternatives the first that matches counts: the last line comes first.
    rules = [rule for line in dict.fromkeys(reversed(text.split("\n"))) if (rule := _rule(line))]
    if not rules:
        return None
    expression = re.compile("|".join(f"{expression}()" for expression, _ in rules), re.DOTALL)
    return IgnoreRules(expression, tuple(ignores for _, ignores in rules))


def _rule(line: str) -> tuple[str, bool] | None:
    """Return the expression of a line and whether it ignores; None where it matches nothing."""
    match = _UP_TO_SPACES.match(line.removesuffix("\r"))
    pattern = match[0] if match and not line.startswith("#") else ""
    negated = pattern.startswith("!")
    pattern = pattern[negated:]
    of_folders = pattern.endswith("/")
    pattern = pattern[: len(pattern) - of_folders]
    anchored = "/" in pattern
    tokens = _tokens(pattern.removeprefix("/"), anchored) if len(pattern) <= _LONGEST else None
    if not tokens:
        return None
    if anchored:
        return f"[^/]*/{'/' if of_folders else '/?+'}{linear(tokens)}\\Z", not negated
    return f"{linear(tokens)}/{'/' if of_folders else ''}", not negated


def _tokens(pattern: str, anchored: bool) -> list[str] | None:
    """Return the tokens of a pattern; None where it matches nothing."""
    wild = _WILD.search(pattern)
    tokens: list[str] = []
    at = 0
    while at < len(pattern):
        stars = _STARS.match(pattern, at)
        if stars:
            # git compares what comes before the first wildcard by itself: in `a**/b` the rest begins with `**`.
            begins = (wild and at == wild.start()) or pattern[at - 1] == "/"
            spans = stars[2] if anchored and begins and len(stars[1]) > 1 else None
            tokens += (STAR,) if spans is None else _SPANNING[spans]
            at = stars.end(1 if spans is None else 2)
        elif pattern[at] == "[":
            members, at = _members(pattern, at + 1)
            tokens.append(members)
        else:
            escaped = pattern[at] == "\\"
            character = pattern[at + escaped : at + escaped + 1]
            tokens.append("[^/]" if pattern[at] == "?" else re.escape(character))
            at += 1 + escaped
    return None if "" in tokens else tokens


def _members(pattern: str, at: int) -> tuple[str, int]:
    """Return the expression for the set of characters that begins at a place, and its end; empty where it has none."""
    inverted = pattern[at : at + 1] in ("!", "^")
    members = []
    at += inverted
    while member := _MEMBER.match(pattern, at):
        at = member.end()
        name, *ends = member.groups()
        if name is not None:
            members.append(_CLASSES.get(name, ""))
        else:
            first, last = ends[0] or ends[1], ends[2] or ends[3] or ""
            members.append(re.escape(first) + (f"-{re.escape(last)}" if first <= last else ""))
        if pattern[at : at + 1] == "]":
            whole = f"[^/{''.join(members)}]" if inverted else f"(?!/)[{''.join(members)}]"
            return whole if all(members) else "", at + 1
    return "", len(pattern)
