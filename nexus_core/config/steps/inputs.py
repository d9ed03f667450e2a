"""The `inputs` of a pipeline: what a caller may give besides the query."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_core.config.keys import InputKeys, keys_of
from nexus_core.config.names import identifies
from nexus_core.config.options import Options
from nexus_core.config.spec import InputSpec
from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, UnreadableNode, shown
from nexus_core.toolkit.suggest import instead


def read_inputs(node: Node | None, options: Options) -> tuple[InputSpec, ...] | None:
    """Return the declared inputs, or `None` where the declaration cannot be read; every problem is noted."""
    if node is None:
        return ()
    if not isinstance(node, MappingNode):
        if not isinstance(node, UnreadableNode):
            message = f"`inputs` must be a mapping of names to defaults, as in {{tone: friendly}}, found {shown(node)}"
            options.problems.error("T001", node.place, message)
        return None
    return tuple(_input(key, value, options) for key, value in node.items())


def _input(key: ScalarNode, node: Node, options: Options) -> InputSpec:
    identifies(key, "an input", options.problems)
    if isinstance(node, ScalarNode):
        return InputSpec(name=key.text, default=node.value, required=node.value is None)
    if not isinstance(node, MappingNode):
        if not isinstance(node, UnreadableNode):
            message = f"the input {quoted(key.text)} must be a default or {{default: ...}}, found {shown(node)}"
            options.problems.error("T001", node.place, message)
        return InputSpec(name=key.text)
    given = options.mapping(node, keys_of(InputKeys), f"input {quoted(key.text)}")
    default = node.get("default")
    required = given.get("required", default is None)
    if required and default is not None:
        message = f"the input {quoted(key.text)} is required, so its default is never used: remove one of the two"
        options.problems.error("S006", default.place, message)
    return InputSpec(
        name=key.text,
        default=given.get("default"),
        required=required,
        description=given.get("description", ""),
    )


def check_inputs(
    node: Node | None, declared: Sequence[InputSpec], owner: str, place: SourceLocation, problems: Problems
) -> None:
    """Note the inputs that are given in a mapping and not declared, and those that are needed and not given."""
    known = [spec.name for spec in declared]
    given = [entry.key for entry in node.entries] if isinstance(node, MappingNode) else []
    for key in given:
        if key.text not in known:
            rest = instead(key.text, known, "declared under `inputs`")
            problems.error("X003", key.place, f"no input is named {quoted(key.text)}{rest}")
    for spec in declared:
        if spec.required and spec.name not in [key.text for key in given]:
            message = f"{owner} needs the input {quoted(spec.name)}, which has no default"
            problems.error("S003", place, message)
