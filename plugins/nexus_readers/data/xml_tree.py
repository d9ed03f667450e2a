"""XML into a tree, by expat: entities decoded, none from outside, none that grow without bound."""

from __future__ import annotations

import re
from html.entities import name2codepoint
from xml.parsers import expat

from attrs import define, field

from nexus_core import SourceError

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]{0,300}\?>")
_MOST_GROWTH, _LITTLE = 10, 1_000_000
"""How many times as long as the file its text may be, beyond so many characters: entities may stand for entities."""
DEEPEST = 2_000
_LONGEST_TAG = 2_000
_OWN = ("lt", "gt", "amp", "quot", "apos")
_ENTITIES = "".join(f'<!ENTITY {name} "&#{code};">' for name, code in name2codepoint.items() if name not in _OWN)


@define(eq=False, repr=False, slots=True)
class Element:
    """An element: its parts are texts and elements in their order."""

    name: str
    """Without the prefix of its namespace."""
    attributes: dict[str, str]
    line: int
    parts: list[str | Element] = field(factory=list)

    @property
    def elements(self) -> list[Element]:
        """The elements in it."""
        return [part for part in self.parts if isinstance(part, Element)]

    @property
    def is_leaf(self) -> bool:
        """Whether it has no elements in it."""
        return not any(isinstance(part, Element) for part in self.parts)

    @property
    def is_mixed(self) -> bool:
        """Whether words stand between the elements in it."""
        words = any(isinstance(part, str) and not part.isspace() for part in self.parts)
        return words and not self.is_leaf

    def text(self) -> str:
        """Return all text in it, as it stands."""
        pieces: list[str] = []
        waiting: list[str | Element] = [self]
        while waiting:
            part = waiting.pop()
            if isinstance(part, str):
                pieces.append(part)
            else:
                waiting.extend(reversed(part.parts))
        return "".join(pieces)


@define(eq=False, repr=False)
class XmlTree:
    """Builds the tree of a file."""

    text: str
    root: Element = field(factory=lambda: Element("", {}, 1))
    """Holds the outermost element."""
    problem: str = ""
    """Where the file is not well-formed, and why."""
    rest: str = ""
    """What follows that place."""
    has_outside: bool = False
    """It takes text from other files, which is left out."""
    _open: list[Element] = field(factory=list)
    _size: int = 0
    _pieces: list[str] = field(factory=list)

    def build(self) -> Element:
        """Return the element that holds the outermost one; raises SourceError for what grows without bound."""
        self._open = [self.root]
        # The text is decoded already, so what its declaration says of bytes holds no more.
        data = _DECLARATION.sub("", self.text).encode("utf-8", "replace")
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_UNLESS_STANDALONE)
        parser.UseForeignDTD(True)
        parser.ExternalEntityRefHandler = lambda context, *_: self._declare(parser, context)
        parser.SkippedEntityHandler = self._skip
        parser.StartElementHandler = lambda name, attributes: self._start(name, attributes, parser.CurrentLineNumber)
        parser.EndElementHandler = lambda name: self._end()
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            if "amplification" in str(error):
                raise SourceError("has entities that grow without bound; left out") from error
            self.problem = f"is not well-formed XML in line {error.lineno} ({expat.errors.messages[error.code]})"
            parser.buffer_text = False  # which gives what it still holds
            at = max(0, parser.ErrorByteIndex)
            tag = data.rfind(b"<", max(0, at - _LONGEST_TAG), at)
            self.rest = data[tag if tag >= 0 and b">" not in data[tag:at] else at :].decode("utf-8", "replace")
        self._flush()
        return self.root

    def _start(self, name: str, attributes: dict[str, str], line: int) -> None:
        self._flush()
        if len(self._open) > DEEPEST:
            raise SourceError(f"has elements more than {DEEPEST:,} deep in each other; left out")
        element = Element(name.rpartition(":")[2], attributes, line)
        self._open[-1].parts.append(element)
        self._open.append(element)

    def _end(self) -> None:
        self._flush()
        if len(self._open) > 1:
            self._open.pop()

    def _characters(self, text: str) -> None:
        self._size += len(text)
        if self._size > _LITTLE + _MOST_GROWTH * len(self.text):
            raise SourceError("has entities that grow without bound; left out")
        self._pieces.append(text)

    def _declare(self, parser: expat.XMLParserType, context: str | None) -> int:
        """Give the entities of HTML in the place of a DTD, which is never read, and nothing in that of another file."""
        if context:
            self.has_outside = True
        else:
            parser.ExternalEntityParserCreate(context).Parse(_ENTITIES, True)
        return 1

    def _skip(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            self._characters(f"&{name};")

    def _flush(self) -> None:
        if self._pieces:
            self._open[-1].parts.append("".join(self._pieces))
            self._pieces.clear()
