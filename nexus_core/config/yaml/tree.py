"""A YAML document as a tree of nodes that know where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import field, frozen

from nexus_core.config.yaml.problems import SourceLocation, quoted
from nexus_core.config.yaml.scalars import Value


@frozen(kw_only=True, eq=False, repr=False)
class ScalarNode:
    """A single value."""

    value: Value = field(repr=False)
    text: str = field(repr=False)
    """The value as text, after `${NAME}` was replaced."""
    source: str
    """As it stands in the file; what messages show, since values from the environment may be secrets."""
    plain: bool
    """Not quoted, so that it may be a number, a boolean or nothing."""
    interpolated: bool = False
    """Holds something from the environment."""
    place: SourceLocation


@frozen(eq=False, repr=False)
class MappingEntry:
    """A key and its value."""

    key: ScalarNode
    value: Node


@frozen(eq=False, repr=False)
class MappingNode:
    """Keys and values; each key is a text and stands once."""

    entries: tuple[MappingEntry, ...]
    place: SourceLocation

    def get(self, key: str) -> Node | None:
        """Return the value of a key, if there is one."""
        return next((entry.value for entry in self.entries if entry.key.text == key), None)

    def __contains__(self, key: str) -> bool:
        """Tell whether there is a key."""
        return any(entry.key.text == key for entry in self.entries)

    def names(self) -> tuple[str, ...]:
        """Return the keys in the order of the file."""
        return tuple(entry.key.text for entry in self.entries)

    def items(self) -> Iterator[tuple[ScalarNode, Node]]:
        """Yield keys and values in the order of the file."""
        return ((entry.key, entry.value) for entry in self.entries)


@frozen(eq=False, repr=False)
class SequenceNode:
    """A list."""

    items: tuple[Node, ...]
    place: SourceLocation


@frozen(eq=False, repr=False)
class UnreadableNode:
    """Something whose problem is already known, so that nobody reports it again."""

    place: SourceLocation


Node = ScalarNode | MappingNode | SequenceNode | UnreadableNode


def plain(node: Node) -> Any:
    """Return a node as plain JSON data."""
    if isinstance(node, MappingNode):
        return {key.text: plain(value) for key, value in node.items()}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.items]
    return node.value if isinstance(node, ScalarNode) else None


def is_readable(node: Node) -> bool:
    """Tell whether nothing of a node is unreadable."""
    if isinstance(node, MappingNode):
        return all(is_readable(value) for _, value in node.items())
    if isinstance(node, SequenceNode):
        return all(is_readable(item) for item in node.items)
    return not isinstance(node, UnreadableNode)


def is_text(node: Node | None) -> bool:
    """Tell whether a node is a text."""
    return isinstance(node, ScalarNode) and isinstance(node.value, str)


def shown(node: Node) -> str:
    """Return a node as messages name what they found."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    if isinstance(node, UnreadableNode):
        return "something unreadable"
    if node.interpolated:
        return f"the value of {quoted(node.source)}"
    if node.value is None:
        return "nothing"
    return quoted(node.text) if isinstance(node.value, str) else node.source


def texts(node: Node | None) -> tuple[ScalarNode, ...]:
    """Return the texts of a node that is a text or a list of them; what is no text is left out."""
    nodes = node.items if isinstance(node, SequenceNode) else (node,)
    return tuple(item for item in nodes if isinstance(item, ScalarNode) and isinstance(item.value, str))


def under(name: str, node: ScalarNode) -> MappingNode:
    """Return the mapping that a text alone stands for."""
    key = ScalarNode(value=name, text=name, source=name, plain=True, place=node.place)
    return MappingNode((MappingEntry(key, node),), node.place)
