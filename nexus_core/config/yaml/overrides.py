"""`--set path=value`: values that replace those of the file.

    steps[2].prompt.budget=500      models.main.model=gpt-4o      steps[0].gather.paths=[a.md, b.md]

Steps count from 0. A key that holds `.`, `=` or a bracket stands in double quotes. The value is a plain YAML scalar, a
flow list, a flow mapping or a quoted text; mappings on the way are made where they are missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve, frozen

from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.reader import parse, scalar
from nexus_core.config.yaml.tree import MappingEntry, MappingNode, Node, ScalarNode, SequenceNode, UnreadableNode, shown
from nexus_core.toolkit.suggest import counted

FILE = "--set"
MOST_SEGMENTS = 32
_SEGMENT = re.compile(r'(?:(?P<dot>^|\.)(?:"(?P<quoted>[^"]+)"|(?P<name>[^.\[\]="]+)))|\[(?P<index>[0-9]{1,6})\]')
_FLOW = ("[", "{", '"', "'")
# What a short form stands for, so that `steps[1].rank.top=5` works on `rank: bm25`.
_SHORT = {"prompt": "template", "generate": "model", "call": "pipeline"}

Segment = str | int


class _RefusedError(Exception):
    """An override that cannot be applied: the code and the message."""


def apply(tree: Node, overrides: Sequence[str], problems: Problems) -> Node:
    """Return the tree with each override applied, in order; one that cannot be is noted and left out."""
    for number, text in enumerate(overrides, 1):
        try:
            path, offset = _path(text)
            value = _value(text[offset:], number, offset, problems)
            tree = _Override(path, value, SourceLocation(FILE, number)).set(tree, 0)
        except _RefusedError as error:
            code, message = error.args
            problems.error(code, SourceLocation(FILE, number), f"--set {quoted(text.partition('=')[0])}: {message}")
    return tree


def _path(text: str) -> tuple[list[Segment], int]:
    """Return the segments of the path and where the value begins."""
    path: list[Segment] = []
    at = 0
    while match := _SEGMENT.match(text, at):
        index = match["index"]
        path.append(int(index) if index is not None else match["quoted"] or match["name"].strip())
        at = match.end()
    if not path or isinstance(path[0], int) or text[at : at + 1] != "=":
        raise _RefusedError("V001", "an override must be path=value, as in steps[2].prompt.budget=500")
    if len(path) > MOST_SEGMENTS:
        raise _RefusedError("V001", f"the path has more than {MOST_SEGMENTS} parts")
    return path, at + 1


def _value(text: str, number: int, offset: int, problems: Problems) -> Node:
    def locate(index: int) -> SourceLocation:
        return SourceLocation(FILE, number, offset + index + 1)

    if not text.strip().startswith(_FLOW) or text.strip().startswith("{{"):
        return scalar(text.strip(), True, locate(0), problems)
    return parse(text, locate, problems) or UnreadableNode(locate(0))


@frozen(eq=False, repr=False)
class _Override:
    path: Sequence[Segment]
    value: Node
    place: SourceLocation

    def set(self, node: Node | None, depth: int) -> Node:
        """Return the node with the value put where the rest of the path leads."""
        if depth == len(self.path):
            return self.value
        if isinstance(node, UnreadableNode):
            return node
        segment = self.path[depth]
        if isinstance(segment, int):
            return self._set_index(node, segment, depth)
        return self._set_key(self._widened(node, depth), segment, depth)

    def _set_index(self, node: Node | None, index: int, depth: int) -> Node:
        where = self._written(depth)
        if not isinstance(node, SequenceNode):
            found = "nothing" if node is None else shown(node)
            raise _RefusedError("V002", f"{where} is no list but {found}, so it has no entry [{index}]")
        count = len(node.items)
        if index >= count:
            entries = f"has {counted(count, 'entry', 'entries')}, [0] to [{count - 1}]" if count else "has no entries"
            raise _RefusedError("V002", f"{where} {entries}; an override cannot add one")
        items = (*node.items[:index], self.set(node.items[index], depth + 1), *node.items[index + 1 :])
        return evolve(node, items=items)

    def _set_key(self, node: Node | None, key: str, depth: int) -> Node:
        if isinstance(node, SequenceNode):
            where = self._written(depth)
            raise _RefusedError("V002", f"{where} is a list: say which entry, as in {where}[0].{key}")
        if node is None or (isinstance(node, ScalarNode) and node.value is None and not node.interpolated):
            node = MappingNode((), self.place)
        if not isinstance(node, MappingNode):
            raise _RefusedError("V002", f"{self._written(depth)} is {shown(node)} and has no keys")
        if key not in node:
            added = MappingEntry(_key(key, self.place), self.set(None, depth + 1))
            return evolve(node, entries=(*node.entries, added))
        entries = [
            MappingEntry(entry.key, self.set(entry.value, depth + 1)) if entry.key.text == key else entry
            for entry in node.entries
        ]
        return evolve(node, entries=tuple(entries))

    def _widened(self, node: Node | None, depth: int) -> Node | None:
        """Return the long form of a component, prompt, model or input that stands as a single word."""
        if not isinstance(node, ScalarNode) or node.value is None or depth == 0:
            return node
        if isinstance(node.value, bool) and self.path[0] == "models":  # `breaker: false`
            return MappingNode((), node.place)
        name = self.path[depth - 1]
        short = "default" if self.path[0] == "inputs" else _SHORT.get(str(name), "use")
        return MappingNode((MappingEntry(_key(short, node.place), node),), node.place)

    def _written(self, depth: int) -> str:
        """Return the path up to here as the user writes it."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path[:depth])
        return "".join(parts).lstrip(".") or "the pipeline"


def _key(text: str, place: SourceLocation) -> ScalarNode:
    return ScalarNode(value=text, text=text, source=text, plain=False, place=place)
