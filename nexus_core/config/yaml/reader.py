"""From bytes to a tree: bounded, strict, and without an exception whatever the bytes are.

Only PyYAML's event stream is used (the pure-Python one: the C one dies on deep nesting), so nothing is constructed that
was not asked for, and every limit is checked before a node exists.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from attrs import define, field

from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.scalars import Value, resolve
from nexus_core.config.yaml.tree import MappingEntry, MappingNode, Node, ScalarNode, SequenceNode, UnreadableNode

MOST_BYTES = 256 * 1024
MOST_EVENTS = 20_000
DEEPEST = 64
_CORE_TAG = "tag:yaml.org,2002:"

Locate = Callable[[int], SourceLocation]
"""From an index into the text to a place."""


def read(source: str | bytes, file: str, problems: Problems) -> Node | None:
    """Return the tree of a file, or `None` where it cannot be read at all; problems are noted."""
    text = _decode(source, SourceLocation(file), problems)
    return None if text is None else parse(text, line_locator(text, file), problems)


def line_locator(text: str, file: str) -> Locate:
    """Return what turns an index into a place by the lines of a text."""
    # Editors count these line ends; PyYAML's own count takes in U+2028 and the like.
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def locate(index: int) -> SourceLocation:
        line = bisect_right(starts, index)
        return SourceLocation(file, line, index - starts[line - 1] + 1)

    return locate


def parse(text: str, locate: Locate, problems: Problems) -> Node | None:
    """Return the tree of a YAML text, or `None` where it cannot be read at all; problems are noted."""
    builder = _Builder(locate, problems)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if not builder.take(event):
                return None
    except yaml.reader.ReaderError as error:
        place = locate(error.position)
        problems.error("Y010", place, f"the character U+{error.character:04X} is not allowed in YAML: remove it")
        return None
    except yaml.MarkedYAMLError as error:
        early = _begins_at_context(error.context, error.problem) and error.context_mark is not None
        mark = error.context_mark if early else error.problem_mark
        place = locate(mark.index) if mark is not None else locate(0)
        problems.error("Y003", place, f"not YAML: {_hint(error.context, error.problem)}")
        return None
    except Exception as error:  # noqa: BLE001 - PyYAML raises ValueError, OverflowError and more on hostile escapes
        problems.error("Y003", builder.last, f"not YAML: an impossible escape near here ({type(error).__name__})")
        return None
    return builder.root


def scalar(text: str, plain: bool, place: SourceLocation, problems: Problems) -> Node:
    """Return a scalar of a file as a node, unreadable where its value is refused."""
    text = _joined_surrogates(text)
    if any("\ud800" <= char <= "\udfff" for char in text):
        problems.error("Y010", place, "an escape makes half a character (a lone surrogate): write the character itself")
        return UnreadableNode(place)
    value: Value = text
    if plain:
        try:
            value = resolve(text)
        except ValueError as error:
            problems.error("Y008", place, str(error))
            return UnreadableNode(place)
    return ScalarNode(value=value, text=text, source=text, plain=plain, place=place)


def _joined_surrogates(text: str) -> str:
    r"""Join the halves of `"\ud83d\ude00"`, which JSON allows and PyYAML leaves apart."""
    if not any("\ud800" <= char <= "\udbff" for char in text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return text


def _decode(source: str | bytes, place: SourceLocation, problems: Problems) -> str | None:
    if isinstance(source, str):
        source = source.encode("utf-8", "surrogatepass")
    if len(source) > MOST_BYTES:
        problems.error("Y002", place, f"the file is larger than {MOST_BYTES // 1024} KiB: split the pipeline")
        return None
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = source[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        problems.error("Y001", SourceLocation(place.file, line, column), "the file is not UTF-8 text: save it as UTF-8")
        return None


@define(eq=False, repr=False)
class _Frame:
    """A mapping or list that is not closed yet."""

    place: SourceLocation
    flow: bool
    mapping: bool
    entries: list[MappingEntry] = field(factory=list)
    items: list[Node] = field(factory=list)
    key: Node | None = None
    """The key whose value comes next."""
    keys: dict[str, SourceLocation] = field(factory=dict)
    unreadable: bool = False


@define(eq=False, repr=False)
class _Builder:
    """Makes nodes of events, with a stack instead of recursion."""

    locate: Locate
    problems: Problems
    root: Node | None = None
    last: SourceLocation = field(init=False)
    stack: list[_Frame] = field(factory=list)
    events: int = 0
    documents: int = 0

    def __attrs_post_init__(self) -> None:
        self.last = self.locate(0)

    def take(self, event: Any) -> bool:
        """Add an event; False when reading must stop."""
        self.last = place = self.locate(event.start_mark.index)
        self.events += 1
        if self.events > MOST_EVENTS:
            self.problems.error("Y002", place, f"the file has more than {MOST_EVENTS} values: split it")
            return False
        if isinstance(event, yaml.DocumentStartEvent):
            return self._document(event, place)
        if isinstance(event, yaml.NodeEvent):
            return self._node(event, place)
        if isinstance(event, yaml.CollectionEndEvent):
            self._add(_closed(self.stack.pop()))
        return True

    def _document(self, event: Any, place: SourceLocation) -> bool:
        self.documents += 1
        if event.tags:
            self.problems.error("Y006", place, "%TAG directives are refused: remove the line")
        if self.documents > 1:
            self.problems.error("Y009", place, "a second document begins: a file holds one pipeline, remove the `---`")
        return self.documents == 1

    def _node(self, event: Any, place: SourceLocation) -> bool:
        if isinstance(event, yaml.AliasEvent):
            self.problems.error(
                "Y005", place, f"aliases are refused: write out what *{_cut(event.anchor)} means, or quote it"
            )
            self._add(UnreadableNode(place))
            return True
        if event.anchor is not None:
            self.problems.error("Y005", place, f"anchors are refused: remove &{_cut(event.anchor)}, or quote the value")
        if event.tag is not None:
            self.problems.error("Y006", place, f"tags are refused: remove {_tag(event.tag)}, or quote the value")
        if isinstance(event, yaml.ScalarEvent):
            self._add(scalar(event.value, event.style is None, place, self.problems))
            return True
        if len(self.stack) >= DEEPEST:
            self.problems.error("Y002", place, f"more than {DEEPEST} levels of nesting")
            return False
        mapping = isinstance(event, yaml.MappingStartEvent)
        self.stack.append(_Frame(place, bool(event.flow_style), mapping))
        return True

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node if self.root is None else self.root
            return
        frame = self.stack[-1]
        if not frame.mapping:
            frame.items.append(node)
        elif frame.key is None:
            frame.key = node
        else:
            key, frame.key = frame.key, None
            for sound in self._sound_keys(frame, key):
                frame.entries.append(MappingEntry(sound, node))

    def _sound_keys(self, frame: _Frame, key: Node) -> Iterator[ScalarNode]:
        """Yield the key if it is a text and new."""
        if not isinstance(key, ScalarNode):
            if not isinstance(key, UnreadableNode):
                hint = 'a key must be text; an expression must be in quotes, as in "{{ query }}"'
                self.problems.error("Y007", key.place, hint)
            frame.unreadable = frame.unreadable or frame.flow
        elif key.plain and key.text == "<<":
            self.problems.error("Y005", key.place, "merge keys are refused: write out the keys that << stands for")
        elif not isinstance(key.value, str):
            self.problems.error("Y007", key.place, f"a key must be text: put it in quotes, as in '{_cut(key.text)}'")
        elif key.text in frame.keys:
            first = frame.keys[key.text]
            where = f"line {first.line}, column {first.column}"
            self.problems.error("Y004", key.place, f"{quoted(key.text)} stands twice, first in {where}: remove one")
        else:
            frame.keys[key.text] = key.place
            yield key


def _closed(frame: _Frame) -> Node:
    if frame.unreadable:
        return UnreadableNode(frame.place)
    if frame.mapping:
        return MappingNode(tuple(frame.entries), frame.place)
    return SequenceNode(tuple(frame.items), frame.place)


def _tag(tag: str) -> str:
    """Return a tag as the file has it: the parser has spelled `!!` out."""
    return _cut("!!" + tag.removeprefix(_CORE_TAG) if tag.startswith(_CORE_TAG) else tag)


def _cut(text: str | None) -> str:
    return quoted(text or "")[1:-1]


# What PyYAML's syntax errors mean, in the words of somebody who writes a pipeline:
# (part of PyYAML's context, part of its problem, hint); the first that fits is taken.
_HINTS = (
    ("", "found character '\\t'", "a tab stands here: indent with spaces"),
    ("next token", "that cannot start any token", "a value cannot begin with this character: put the value in quotes"),
    ("scanning an alias", "", "a value that begins with * must be in quotes, as in '*.md'"),
    ("scanning an anchor", "", "a value that begins with & must be in quotes"),
    ("tag", "", "a value that begins with ! must be in quotes"),
    ("directive", "", "a line that begins with % must be in quotes or indented"),
    ("quoted scalar", "unexpected end of stream", "the quote that opens here is never closed"),
    ("quoted scalar", "document separator", "the quote that opens here is never closed"),
    ("double-quoted", "escape", "inside double quotes \\ begins an escape: write \\\\, or use single quotes"),
    ("simple key", "could not find expected ':'", "a key needs ': ' after it, with the space, as in `rank: bm25`"),
    ("", "mapping values are not allowed", "this ':' is not expected: put a value that holds ': ' in quotes, begin the "
     "keys of one mapping in the same column, and see that the key above has a space after its ':'"),
    ("", "mapping keys are not allowed", "'? ' cannot stand here: put the value in quotes"),
    ("", "sequence entries are not allowed", "'- ' cannot begin a list here: begin it on a line of its own"),
    ("flow", "but got '?'", "inside { } and [ ] put values that hold ? in quotes, as in {query: \"How many?\"}"),
    ("flow mapping", "", "a { is not closed, or a comma is missing: inside { } put values that hold { } [ ] , or "
     "${NAME} in quotes"),
    ("flow sequence", "", "a [ is not closed, or a comma is missing: inside [ ] put values that hold { } [ ] , or "
     "${NAME} in quotes"),
    ("block mapping", "", "the indentation does not fit: begin the keys of one mapping in the same column"),
    ("block collection", "", "the indentation does not fit: begin the '- ' of one list in the same column"),
    ("block scalar", "", "after | or > only +, - or a digit may follow, and the text begins on the next line"),
    ("", "expected the node content", "a value is missing here, or one that begins with this character needs quotes"),
    ("", "document start", "the document has ended before this: is the line indented like its neighbours?"),
)  # fmt: skip

# Where the error is better shown where the thing begins than where the parser gave up.
_SHOWN_AT_START = ("quoted scalar", "simple key", "scanning an alias", "scanning an anchor")
_UNCLOSED = "<stream end>"


def _hint(context: str | None, problem: str | None) -> str:
    """Return what is likely wrong, in plain words, or PyYAML's own where none are known."""
    for where, what, words in _HINTS:
        if where in (context or "") and what in (problem or ""):
            return words
    return ", ".join(part for part in (context, problem) if part) or "the text cannot be read"


def _begins_at_context(context: str | None, problem: str | None) -> bool:
    """Tell whether the beginning of the construct is the place to show."""
    return _UNCLOSED in (problem or "") or any(part in (context or "") for part in _SHOWN_AT_START)
