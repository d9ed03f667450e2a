"""Quick fixes: what a message of lint suggests to write instead, as an edit of the text."""

from __future__ import annotations

import ast
import re

from attrs import frozen

from nexus_core.lsp.document_text import DocumentText

_LITERAL = r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+\""""
_MEANT = re.compile(rf", did you mean (?P<meant>{_LITERAL})\?")
_QUOTED = re.compile(rf": put it in quotes, as in (?P<quoted>{_LITERAL})")
_UNQUOTED = ": write it without quotes"
_LIST = re.compile(rf": write it as a list, (?P<list>\[(?:{_LITERAL})\])")
_ANY_LITERAL = re.compile(_LITERAL)
_FURTHEST = 4_096
"""Characters after the place of a problem in which the name is looked for that it is about."""


@frozen(kw_only=True, eq=False, repr=False)
class TextFix:
    """An edit that mends a problem."""

    title: str
    start: int
    end: int
    text: str


def fix_of(message: str, source: DocumentText, index: int) -> TextFix | None:
    """Return the edit that the message of a problem suggests, `None` where it suggests none; `index` is its place."""
    meant = _MEANT.search(message)
    if meant is not None:
        return _rename(message[: meant.start()], ast.literal_eval(meant["meant"]), source, index)
    end = source.word_end(index)
    value = source.text[index:end]
    quoted, listed = _QUOTED.search(message), _LIST.search(message)
    if quoted is not None and value and value[0] not in "'\"":
        return TextFix(title="Put it in quotes", start=index, end=end, text=_in_quotes(value))
    if message.endswith(_UNQUOTED) and len(value) > 2 and value[0] == value[-1] and value[0] in "'\"":
        return TextFix(title="Write it without quotes", start=index, end=end, text=value[1:-1].strip())
    if listed is not None and value:
        return TextFix(title="Write it as a list", start=index, end=end, text=f"[{value}]")
    return None


def _rename(told: str, meant: str, source: DocumentText, index: int) -> TextFix | None:
    """Return the edit that puts the name that was meant in place of the one that the message quotes nearest to it."""
    names = [name[0] for name in _ANY_LITERAL.finditer(told)]
    for literal in reversed(names):
        name = ast.literal_eval(literal)
        name = name if ":" in meant else name.rpartition(":")[2]  # of `model:outcome` the outcome alone is meant
        at = _find_word(source.text, name, index)
        if at is not None:
            return TextFix(title=f"Replace {name!r} with {meant!r}", start=at, end=at + len(name), text=meant)
    variable = re.search(r"the environment variable (\w+) is not set$", told)
    at = None if variable is None else _find_word(source.text, variable[1], index)
    if variable is None or at is None:
        return None
    return TextFix(title=f"Replace {variable[1]} with {meant}", start=at, end=at + len(variable[1]), text=meant)


def _find_word(text: str, name: str, index: int) -> int | None:
    """Return where a name stands first at or after an index, not as a part of a longer one."""
    if not name:
        return None
    whole = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    found = whole.search(text, index, min(len(text), index + _FURTHEST))
    return None if found is None else found.start()


def _in_quotes(value: str) -> str:
    return "'" + value.replace("'", "''") + "'" if "\\" in value or '"' in value else f'"{value}"'
