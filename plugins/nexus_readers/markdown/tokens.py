"""Reads Markdown of any kind by markdown-it: the blocks of GitHub, footnotes included, in linear time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from attrs import define, field
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote
from markdown_it.token import Token
from mdit_py_plugins.footnote.index import footnote_def

from nexus_readers.markdown.parts import Part

DEEPEST = 90
"""Lists and quotations inside of each other, each counted once or twice: beyond that the parser drops text."""


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    def quotation(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        if not silent and state.src.startswith(">", state.bMarks[start] + state.tShift[start]):
            end = _end_of_quotation(state, start, end)
        return blockquote(state, start, end, silent)

    # What stands inside of paragraphs is not parsed: it stays as it is written. The addresses of links take the parser
    # a time that grows with the square of their number, and are easily found afterwards.
    parser = MarkdownIt("commonmark", {"maxNesting": DEEPEST + 10}).enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    parser.block.ruler.before("reference", "footnote_def", footnote_def, {"alt": ["paragraph", "reference"]})
    parser.disable("reference")
    parser.block.ruler.at("blockquote", quotation, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser


def _end_of_quotation(state: StateBlock, start: int, end: int) -> int:
    """Return the line before which a quotation is over, at the latest: a `>` after lines without one begins the next.

    markdown-it looks through all that could belong to a quotation before it reads its first line, and does so again at
    each `>` of what did not.
    """
    lazy = False
    for line in range(start + 1, end):
        place = state.bMarks[line] + state.tShift[line]
        if place >= state.eMarks[line]:
            return line
        is_marked = state.src[place] == ">"
        if is_marked and lazy:
            return line
        lazy = lazy or not is_marked
    return end


def parsed_parts(text: str) -> tuple[list[Part], bool]:
    """Return the parts of a document, and whether it was too deep for all of it to be read."""
    tokens = _parser().parse(text)
    return list(_Reader(tokens).parts()), any(token.level >= DEEPEST for token in tokens)


@define(eq=False)
class _List:
    number: int = 0
    """That the next item has; 0 where items are not numbered."""
    delimiter: str = "-"

    def marker(self) -> str:
        if not self.number and self.delimiter == "-":
            return "-"
        self.number += 1
        return f"{self.number - 1}{self.delimiter}"


@define(eq=False)
class _Reader:
    tokens: Sequence[Token]
    lists: list[_List] = field(factory=list)
    quotes: int = 0
    marker: str = ""
    """Of the list item that begins here."""
    note: str = ""
    place: tuple[int, int] = (0, 0)
    rows: list[list[str]] = field(factory=list)

    def parts(self) -> Iterator[Part]:
        """Yield the parts in their order."""
        waiting = iter(self.tokens)
        for token in waiting:
            kind = token.type
            if token.map:
                self.place = token.map[0], token.map[1]
            if kind == "heading_open":
                yield self._heading(token, next(waiting))
            elif kind == "inline":
                if self.rows:
                    self.rows[-1].append(token.content)
                elif token.content.strip():
                    yield self._text(token.content)
            elif kind in ("fence", "code_block"):
                yield self._part("code", token.content.removesuffix("\n"), marker=token.info.strip())
            elif kind == "html_block":
                yield self._part("html", token.content)
            elif kind == "table_close":
                rows = tuple(tuple(row) for row in self.rows)
                self.rows = []
                yield Part("table", "", *self._table_place, rows=rows, note=self.note)
            else:
                self._enter_or_leave(token)

    _table_place: tuple[int, int] = (0, 0)

    def _enter_or_leave(self, token: Token) -> None:
        kind = token.type
        if kind == "table_open":
            self._table_place = self.place
        elif kind == "tr_open":
            self.rows.append([])
        elif kind == "blockquote_open":
            self.quotes += 1
        elif kind == "blockquote_close":
            self.quotes -= 1
        elif kind == "bullet_list_open":
            self.lists.append(_List())
        elif kind == "ordered_list_open":
            self.lists.append(_List(int(token.attrs.get("start", 1)), token.markup))
        elif kind in ("bullet_list_close", "ordered_list_close"):
            self.lists.pop()
        elif kind == "list_item_open":
            self.marker = self.lists[-1].marker()
        elif kind == "list_item_close":
            self.marker = ""
        elif kind == "footnote_reference_open":
            self.note = token.meta["label"]
        elif kind == "footnote_reference_close":
            self.note = ""

    def _heading(self, token: Token, words: Token) -> Part:
        if token.level and (self.quotes or self.note or not self.lists):
            return self._text(words.content)
        self.marker = ""  # of a list item that begins with a heading
        underlined = token.markup[:1] in "=-"
        return self._part("heading", words.content, level=int(token.tag[1:]), underlined=underlined)

    def _text(self, content: str) -> Part:
        if self.marker:
            marker, self.marker = self.marker, ""
            return self._part("text", content, level=len(self.lists), marker=marker)
        return self._part("text", content, level=self.quotes, marker=">" if self.quotes else "")

    def _part(self, kind: str, text: str, **more: Any) -> Part:
        return Part(kind, text, *self.place, note=self.note, **more)
