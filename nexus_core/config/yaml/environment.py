"""`${NAME}` and `${NAME:-default}` in the values of a file, read from a mapping that is passed in.

Values of the environment may be secrets: no message shows one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import evolve, frozen

from nexus_core.config.yaml.problems import Problems, quoted
from nexus_core.config.yaml.scalars import resolve
from nexus_core.config.yaml.tree import MappingEntry, MappingNode, Node, ScalarNode, SequenceNode, UnreadableNode
from nexus_core.toolkit.suggest import did_you_mean

_VARIABLE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}"
_PIECES = re.compile(rf"\$\$\{{|{_VARIABLE}|\$\{{")
_WHOLE = re.compile(_VARIABLE)


class CompletedEnvironment(dict[str, str]):
    """An environment with a value for each variable that must be set and is not: for who sends nothing anywhere."""

    def __init__(self, variables: Mapping[str, str], substitute: str) -> None:
        super().__init__(variables)
        self.substitute = substitute


def interpolate(node: Node, environment: Mapping[str, str], problems: Problems) -> Node:
    """Return a tree with every `${NAME}` replaced; a value that cannot be is unreadable and its problem is noted."""
    return _Interpolation(environment, problems).node(node)


@frozen(eq=False, repr=False)
class _Interpolation:
    environment: Mapping[str, str]
    problems: Problems

    def node(self, node: Node) -> Node:
        if isinstance(node, MappingNode):
            return MappingNode(tuple(self._entry(entry) for entry in node.entries), node.place)
        if isinstance(node, SequenceNode):
            return SequenceNode(tuple(self.node(item) for item in node.items), node.place)
        if isinstance(node, ScalarNode) and "${" in node.source:
            return self._scalar(node)
        return node

    def _entry(self, entry: MappingEntry) -> MappingEntry:
        if "${" in entry.key.text:
            self.problems.error("E003", entry.key.place, "${NAME} is not read in keys: write the key out")
        return MappingEntry(entry.key, self.node(entry.value))

    def _scalar(self, node: ScalarNode) -> Node:
        parts: list[str] = []
        end = 0
        for piece in _PIECES.finditer(node.source):
            replaced = self._replaced(piece, node)
            if replaced is None:
                return UnreadableNode(node.place)
            parts += [node.source[end : piece.start()], replaced]
            end = piece.end()
        text = "".join([*parts, node.source[end:]])
        if not _WHOLE.fullmatch(node.source):
            escaped_only = text == node.source.replace("$${", "${")
            return evolve(node, value=text, text=text, interpolated=not escaped_only)
        if not node.plain:
            return evolve(node, value=text, text=text, interpolated=True)
        try:
            return evolve(node, value=resolve(text), text=text, interpolated=True)
        except ValueError as error:
            self.problems.error("E004", node.place, f"the value of {quoted(node.source)} cannot be used: {error}")
            return UnreadableNode(node.place)

    def _replaced(self, piece: re.Match[str], node: ScalarNode) -> str | None:
        """Return what a piece stands for, or `None` after noting why it stands for nothing."""
        if piece[0] == "$${":
            return "${"
        name, default = piece[1], piece[2]
        if name is None:
            found = quoted(node.source[piece.start() :])
            message = f"${{ must be followed by NAME}}, found {found}; write $${{ for the two characters themselves"
            self.problems.error("E002", node.place, message)
            return None
        value = self.environment.get(name)
        if value or (value is not None and default is None):
            return self._usable(value, name, node)
        if default is None and isinstance(self.environment, CompletedEnvironment):
            return self.environment.substitute
        if default is None:
            hint = did_you_mean(name, self.environment)
            message = f"the environment variable {name} is not set{hint}; set it, or give a default: ${{{name}:-...}}"
            self.problems.error("E001", node.place, message)
        return default

    def _usable(self, value: str, name: str, node: ScalarNode) -> str | None:
        if any("\ud800" <= char <= "\udfff" for char in value):
            message = f"the value of the environment variable {name} is not UTF-8 text and cannot be used"
            self.problems.error("E004", node.place, message)
            return None
        return value
