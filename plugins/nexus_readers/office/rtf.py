"""RTF: paragraphs, headings by their outline, lists as they are numbered, tables, notes, links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, evolve, field, frozen

from nexus_core import Block, Code, Footnote, Heading, ListItem, Metadata, Paragraph, SourceError, Table
from nexus_core.toolkit import Cell, TableGrid
from nexus_readers.office.header_rows import with_header
from nexus_readers.office.inline import Look, StyledLine, joined_code
from nexus_readers.office.rtf_tokens import RtfToken, decoded, encoding_of_charset, rtf_tokens
from nexus_readers.office.word.paragraphs import HYPERLINK_FIELD, UNSEEN_FIELD
from nexus_readers.office.word.styles import HEADING_NAME, MONOSPACED

_UNSEEN = frozenset(
    """
    colortbl listtable listoverridetable revtbl rsidtbl generator pict object objdata themedata colorschememapping
    datastore latentstyles xmlnstbl wgrffmtfilter mmathPr bkmkstart bkmkend xe tc rxe tcn filetbl stylerestrictions
    nonshppict shprslt sp template pnseclvl pgptbl background ftnsep ftnsepc ftncn aftnsep aftnsepc aftncn
    header headerl headerr headerf footer footerl footerr footerf do docvar operator company category manager
    userprops passwordhash protusertbl userprops keywords doccomm hlinkbase nextfile buptim printim revtim comment
""".split()
)
"""Groups that hold no text of the document."""
_TOLD = ("title", "author", "subject")
_SEEN_THOUGH_STARRED = frozenset("shpinst shptxt pntext listtext fldinst annotation atnauthor".split())
_WORDS = {
    "tab": "\t", "emdash": "—", "endash": "–", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”",
    "bullet": "•", "emspace": " ", "enspace": " ", "qmspace": " ", "line": "\n", "nestcell": " ", "~": " ", "_": "-",
    "{": "{", "}": "}", "\\": "\\",
}  # fmt: skip
_LOOKS: dict[str, Look] = {"super": "raised", "sub": "lowered", "strike": "struck", "striked": "struck"}
_DEEPEST_GROUP = 2_000


@frozen
class _Group:
    """How text looks in a group, and where it goes."""

    target: str = "text"
    """Or `skip`, `title`, `fonts`, `styles`, `marker`, `address`, ..."""
    look: Look = ""
    hidden: bool = False
    font: int = -1
    skipped: int = 1
    """Characters after a Unicode one, for programs that know none."""
    link: str = ""


@define(eq=False)
class _State:
    """What belongs to a paragraph."""

    level: int = 0
    style: int = -1
    in_table: bool = False
    depth: int = 1


@define(eq=False)
class _Rtf:
    encoding: str = "cp1252"
    groups: list[_Group] = field(factory=lambda: [_Group()])
    state: _State = field(factory=_State)
    line: StyledLine = field(factory=StyledLine)
    told: dict[str, str] = field(factory=dict)
    fonts: dict[int, str] = field(factory=dict)
    """The encodings of fonts."""
    monospaced: set[int] = field(factory=set)
    styles: dict[int, tuple[str, int]] = field(factory=dict)
    """Names and levels of styles."""
    ready: list[Block] = field(factory=list)
    marker: str = ""
    notes: list[Block] = field(factory=list)
    note: StyledLine | None = None
    """The note or comment that is being read, in the place of the text."""
    note_group: int = 0
    """How deep its group is."""
    note_is_comment: bool = False
    note_count: int = 0
    cells: list[str] = field(factory=list)
    merged: list[str] = field(factory=list)
    """How each cell of a row is merged: `first`, `across`, `down`, or nothing."""
    next_merged: str = ""
    rows: list[tuple[str, ...]] = field(factory=list)
    grid: TableGrid = field(factory=TableGrid)
    header_rows: int = 0
    is_header: bool = False
    defined: int = -1
    """The font or style whose definition is being read."""
    level: int = 0
    raw: bytearray = field(factory=bytearray)
    """Bytes in the encoding of the font: a character may take several of them."""
    to_skip: int = 0
    high: int = 0
    """The first half of a character that takes two numbers."""
    begins: bool = False
    """A group has just been opened: its first word tells what it is."""
    starred: bool = False
    buffered: dict[str, list[str]] = field(factory=dict)

    def take(self, token: RtfToken) -> None:
        """Take the next part of the file."""
        if token.kind == "byte":
            if self.to_skip:
                self.to_skip -= 1
            else:
                self.raw += token.data
            self.begins = False
            return
        self._flush()
        if token.kind == "open":
            self.groups.append(evolve(self.groups[-1], link=self.groups[-1].link))
            self.begins, self.starred, self.to_skip = True, False, 0
            if len(self.groups) > _DEEPEST_GROUP:
                raise SourceError("has groups too deep inside of each other; left out")
        elif token.kind == "close":
            self._close()
        elif token.kind == "text":
            self._text(token)
        else:
            self._word(token.word, token.number)

    def _text(self, token: RtfToken) -> None:
        data = token.data[self.to_skip :]
        self.to_skip = max(0, self.to_skip - len(token.data))
        self.begins = False
        self.raw += data

    def _flush(self) -> None:
        if self.raw:
            group = self.groups[-1]
            text = decoded(bytes(self.raw), self.fonts.get(group.font, "") or self.encoding)
            self.raw.clear()
            self._add(text)

    def _add(self, text: str) -> None:
        group = self.groups[-1]
        if group.target == "text":
            if group.hidden:
                return
            if self.note is not None:
                self.note.add(text, group.look, group.link)
            else:
                look = group.look or ("code" if group.font in self.monospaced else "")
                self.line.add(text, look, group.link)
        elif group.target == "marker":
            self.marker += text
        elif group.target != "skip":
            self.buffered.setdefault(group.target, []).append(text)

    def _word(self, word: str, number: int | None) -> None:
        first, starred = self.begins, self.starred
        if word == "*":
            self.starred = True
            return
        self.begins = self.starred = False
        if first and self._opens(word, starred):
            return
        if word == "u" and number is not None:
            self._add(self._character(number % 65_536))
            self.to_skip = self.groups[-1].skipped
        elif word in _WORDS:
            self._add(_WORDS[word])
        elif word in ("par", "sect", "page", "column") and self.groups[-1].target == "text":
            self._paragraph()
        elif not self._cell_word(word, number) and not self._paragraph_word(word, number):
            self._look_word(word, number)

    def _character(self, code: int) -> str:
        """Return a character by its number, or nothing yet for the first half of a pair of surrogates."""
        high, self.high = self.high, 0
        if 0xDC00 <= code < 0xE000:
            return chr(0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)) if high else "\ufffd"
        if 0xD800 <= code < 0xDC00:
            self.high = code
            return ""
        return chr(code)

    def _opens(self, word: str, starred: bool) -> bool:
        """Tell whether a word says what its group is, and so where its text goes."""
        target = ""
        if word in _TOLD or word == "fldinst":
            target = word
        elif word in ("listtext", "pntext"):
            target, self.marker = "marker", ""
        elif word == "fonttbl" or word == "stylesheet":
            target = word
        elif word in ("footnote", "annotation"):
            self._begin_note(word == "annotation")
        elif word in _UNSEEN or (starred and word not in _SEEN_THOUGH_STARRED):
            target = "skip"
        if target and self.groups[-1].target != "skip":
            self._set(target=target)
        return bool(target)

    def _begin_note(self, is_comment: bool) -> None:
        if self.groups[-1].target == "text" and self.note is None:
            if not is_comment:
                self.note_count += 1
                self.line.add(f"[^{self.note_count}]")
            self.note, self.note_is_comment, self.note_group = StyledLine(), is_comment, len(self.groups)
            self._set(look="")

    def _set(self, **changes: Any) -> None:
        self.groups[-1] = evolve(self.groups[-1], **changes)

    def _close(self) -> None:
        self.begins, self.to_skip = False, 0
        if len(self.groups) < 2:
            return
        closed = self.groups.pop()
        if closed.target == "fldinst":
            self._close_address()
        if closed.target in ("fonttbl", "stylesheet"):
            self._define(closed.target)
        if self.note is not None and len(self.groups) < self.note_group:
            self._close_note(self.note)

    def _close_address(self) -> None:
        """Take what a field is: a link, or one whose result is no text of the document."""
        if self.groups[-1].target == "fldinst":
            return
        code = "".join(self.buffered.pop("fldinst", []))
        link = HYPERLINK_FIELD.match(code)
        if link:
            self._set(link=link[1])
        elif UNSEEN_FIELD.match(code):
            self._set(target="skip")

    def _close_note(self, note: StyledLine) -> None:
        text, links = note.text(), tuple(note.links)
        if text and self.note_is_comment:
            self.notes.append(Paragraph(text=f"Comment: {text}", links=links))
        elif text:
            self.notes.append(Footnote(mark=str(self.note_count), text=text, links=links))
        self.note = None

    def _define(self, table: str) -> None:
        """Take the definition of a font or a style."""
        name = "".join(self.buffered.pop(table, [])).strip().rstrip(";").strip()
        if not name:
            return
        if table == "fonttbl" and MONOSPACED.match(name):
            self.monospaced.add(self.defined)
        elif table == "stylesheet":
            heading = HEADING_NAME.fullmatch(name.lower())
            level = int(heading[1]) if heading else self.level
            self.styles[self.defined] = (name.lower(), level)
        self.defined, self.level = -1, 0

    def _look_word(self, word: str, number: int | None) -> None:
        group = self.groups[-1]
        if word in _LOOKS or word == "nosupersub":
            self._set(look=_LOOKS.get(word, "") if number != 0 else "")
        elif word == "plain":
            self._set(look="", hidden=False)
        elif word in ("v", "deleted"):
            self._set(hidden=number != 0)
        elif word == "f" and number is not None:
            self.defined = number if group.target == "fonttbl" else self.defined
            self._set(font=number)
        elif word == "fcharset" and group.target == "fonttbl":
            self.fonts[self.defined] = encoding_of_charset(number or 0)
        elif word == "uc" and number is not None:
            self._set(skipped=max(0, min(number, 8)))
        elif word == "ansicpg" and number:
            self.encoding = f"cp{number}" if number != 65_001 else "utf-8"
        elif word in ("mac", "pc", "pca"):
            self.encoding = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850"}[word]

    def _paragraph_word(self, word: str, number: int | None) -> bool:
        group = self.groups[-1]
        if group.target == "stylesheet" and word in ("s", "outlinelevel", "cs", "ds", "ts"):
            if word == "s":
                self.defined = number or 0
            elif word == "outlinelevel" and number is not None and number < 9:
                self.level = number + 1
            return True
        if group.target != "text":
            return False
        if word == "pard" and self.note is None:
            self.state = _State()
        elif word == "s" and number is not None and self.note is None:
            self.state.style = number
        elif word == "outlinelevel" and number is not None:
            self.state.level = number + 1 if number < 9 else 0
        elif word == "ilvl" and number is not None:
            self.state.depth = max(1, min(number + 1, 16))
        elif word == "intbl":
            self.state.in_table = True
        else:
            return False
        return True

    def _cell_word(self, word: str, number: int | None) -> bool:
        if word == "trowd":
            self.merged, self.next_merged, self.is_header = [], "", False
        elif word == "trhdr":
            self.is_header = True
        elif word in ("clmgf", "clmrg", "clvmrg"):
            self.next_merged = {"clmgf": "first", "clmrg": "across", "clvmrg": "down"}[word]
        elif word == "cellx":
            self.merged.append(self.next_merged)
            self.next_merged = ""
        elif word == "cell":
            self._end_cell()
        elif word == "row":
            self._end_row()
        else:
            return False
        return True

    def _end_cell(self) -> None:
        text = f"{self.marker.strip()} {self.line.text()}".strip()
        self.cells.append(text)
        self.line, self.marker = StyledLine(), ""

    def _end_row(self) -> None:
        above = self.rows[-1] if self.rows else ()
        cells: list[Cell] = []
        for at, text in enumerate(self.cells):
            merged = self.merged[at] if at < len(self.merged) else ""
            if merged == "across" and cells and not text:
                cells[-1] = Cell(cells[-1].text, columns=cells[-1].columns + 1)
            else:
                cells.append(Cell(above[at] if merged == "down" and not text and at < len(above) else text))
        if cells:
            self.header_rows += self.is_header and self.header_rows == len(self.rows)
            self.rows.append(self.grid.row(cells))
        self.cells = []

    def _paragraph(self) -> None:
        """End a paragraph: it is one of the text, or one more line in a cell or note."""
        if self.note is not None:
            self.note.add(" ")
            return
        if self.state.in_table or self.cells:
            self.line.add(" ")
            return
        self._end_table()
        self._tell()

    def _tell(self) -> None:
        line, state, marker = self.line, self.state, self.marker.strip()
        self.line, self.marker = StyledLine(), ""
        text, links = line.text(), tuple(line.links)
        name, level = self.styles.get(state.style, ("", 0))
        level = state.level or level or (1 if name == "title" else 0)
        if line.is_code and not level and not marker:
            self.ready.append(Code(text=line.lines().replace("\t", "    ").rstrip()))
        elif text and level:
            self.ready.append(Heading(text=f"{marker} {text}".strip() if marker[:1].isalnum() else text, level=level))
        elif text and marker:
            shown = marker if any(map(str.isalnum, marker)) else "-"
            self.ready.append(ListItem(text=text, depth=state.depth, marker=shown, links=links))
        elif text:
            self.ready.append(Paragraph(text=text, links=links))
        if self.notes:
            self.ready += self.notes
            self.notes = []

    def _end_table(self) -> None:
        if self.rows:
            header, rows = with_header(self.rows, declared=self.header_rows)
            self.ready.append(Table(header=header, rows=rows))
        self.rows, self.grid, self.header_rows = [], TableGrid(), 0

    def end(self) -> None:
        """End the file."""
        self._flush()
        if self.cells:
            self._end_cell()
            self._end_row()
        self._end_table()
        self._tell()

    def metadata(self) -> Metadata:
        """Return what the file says of itself."""
        told = {name: " ".join("".join(self.buffered.get(name, [])).split()) for name in _TOLD}
        values = {"subject": told["subject"]} if told["subject"] else {}
        return Metadata(title=told["title"], author=told["author"], values=values)


def rtf_blocks(data: bytes) -> Iterator[Block]:
    """Yield the blocks of an RTF file."""
    yield from joined_code(_blocks(data))


def _blocks(data: bytes) -> Iterator[Block]:
    rtf = _Rtf()
    has_begun = False
    for token in rtf_tokens(data):
        rtf.take(token)
        if rtf.ready:
            if not has_begun:
                yield rtf.metadata()
                has_begun = True
            yield from rtf.ready
            rtf.ready = []
    rtf.end()
    if not has_begun:
        yield rtf.metadata()
    yield from rtf.ready
