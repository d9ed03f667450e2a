"""Generate steps: the model, its options, the tools that it may call, and the schema of its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from nexus_core import structured
from nexus_core.config.components import Components
from nexus_core.config.keys import GenerateKeys, keys_of
from nexus_core.config.models import ModelSpecs, call_options, report_tools
from nexus_core.config.options import place_of, with_defaults
from nexus_core.config.sibling_files import FileRefusedError, SiblingFiles
from nexus_core.config.spec import ComponentSpec, ToolsSpec
from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.reader import read
from nexus_core.config.yaml.tree import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    UnreadableNode,
    plain,
    shown,
    under,
)
from nexus_core.contract.values import CallOptions
from nexus_core.toolkit.suggest import instead

_GENERATE = {spec.name: spec for spec in keys_of(GenerateKeys)}
_TIMEOUTS = ("tool_timeout", "approval_timeout")
_OF_TOOLS = ("allow", "rounds", "tool_calls", *_TIMEOUTS, "tool_share")


@frozen(kw_only=True, eq=False, repr=False)
class GenerateReader:
    """Reads the bodies of generate steps."""

    components: Components
    models: ModelSpecs
    folder: SiblingFiles
    default_model: str | None = None
    used_models: set[str] = field(factory=set)
    with_tools: list[str] = field(factory=list)
    """The steps that have tools."""

    def read(self, node: Node, label: str) -> dict[str, Any] | None:
        """Return the fields of a GenerateSpec, or `None` after noting what is wrong."""
        node = under("model", node) if isinstance(node, ScalarNode) else node
        if not isinstance(node, MappingNode):
            if not isinstance(node, UnreadableNode):
                message = f"`generate` must be a model's name, or {{model: ..., options: ...}}, found {shown(node)}"
                self.components.problems.error("T001", node.place, message)
            return None
        specs = keys_of(GenerateKeys)
        given = with_defaults(self.components.options.mapping(node, specs, label), specs)
        model = node.get("model")
        name: str | None = None
        if not self.models.names and self.models.complete:
            self.components.problems.error("N006", node.place, f"{label} needs a model: declare one under `models`")
        elif given["model"] is not None and isinstance(model, ScalarNode):
            name = self.models.find(model, self.components.problems)
        used = name or (self.default_model if given["model"] is None else None)
        self.used_models.update([used] if used is not None else [])
        options, path = call_options(given["options"]), None
        report_tools(node, options, self.components.problems)
        if given["schema"] is not None:
            schema, path = self._schema(given["schema"], node.get("schema") or node)
            options = evolve(options, response_schema=schema)
        tools = self._tools(node, given, options)
        self.with_tools.extend([label] if tools is not None else [])
        return {
            "model": name,
            "options": options,
            "schema_file": path,
            "client_tools": given["client_tools"],
            "tools": tools,
        }

    def _tools(self, node: MappingNode, given: Mapping[str, Any], options: CallOptions) -> ToolsSpec | None:
        """Return what the model may call; what is wrong with it, or has no effect, is noted."""
        components = given["tools"]
        if not components or not all(isinstance(part, ComponentSpec) for part in components):
            for key in (key for key in _OF_TOOLS if key in node and "tools" not in node):
                self.components.problems.error(
                    "S006", place_of(node, key), f"`{key}` has no effect without `tools`: remove it"
                )
            return None
        known = self.components.tool_names(components)
        names = [name for found in known for name in found or ()]
        for name in sorted({name for name in names if names.count(name) > 1}):
            message = f"two tools are called {quoted(name)}: each needs a name of its own"
            self.components.problems.error("N002", place_of(node, "tools"), message)
        for name in sorted({tool.name for tool in options.tools or ()} & {*names}):
            message = f"{quoted(name)} is a tool of `tools` and of `options.tools`: remove one of the two"
            self.components.problems.error("N002", place_of(node, "options"), message)
        for name in given["allow"]:
            if name not in names and all(found is not None for found in known):
                rest = instead(name, dict.fromkeys(names), "known here")
                message = f"`allow` names no tool: {quoted(name)}{rest}"
                self.components.problems.error("N001", place_of(node, "allow"), message)
        for name in self.components.changing_tools(components):
            if name not in given["allow"]:
                message = f"the tool {quoted(name)} changes something, so it is not offered: add `allow: [{name}]`"
                self.components.problems.warn("S007", place_of(node, "tools"), message)
        for spec in components:
            for name in self.components.undescribed_tools(spec):
                message = (
                    f"the tool {quoted(name)} has no description, which is what a model chooses it by: "
                    "begin its function with a docstring"
                )
                self.components.problems.warn("P005", spec.place, message)
        timeout_s, approval_timeout_s = [self._seconds(key, given, node) for key in _TIMEOUTS]
        if timeout_s is None or approval_timeout_s is None:
            return None
        return ToolsSpec(
            components=tuple(components),
            allow=tuple(given["allow"]),
            rounds=given["rounds"],
            calls=given["tool_calls"],
            timeout_s=timeout_s,
            approval_timeout_s=approval_timeout_s,
            share=given["tool_share"],
        )

    def _seconds(self, key: str, given: Mapping[str, Any], node: MappingNode) -> float | None:
        """Return a time limit; `None` after noting what is wrong."""
        said: float | str = given[key]
        return self.components.options.duration(node.get(key), _GENERATE[key]) if isinstance(said, str) else said

    def _schema(self, said: Mapping[str, Any] | str, node: Node) -> tuple[Any, str | None]:
        """Return a JSON Schema and the file it stands in, if it has one; what is wrong with it is noted."""
        schema: Any = said
        path, where = None, ""
        try:
            if isinstance(said, str):
                found, text = self.folder.schema(said)
                path, where = str(found), f" {quoted(said)}"
                schema = _parsed(text, path)
            structured.check_schema(schema)
        except FileRefusedError as error:
            self.components.problems.error("J001", node.place, f"the JSON Schema {shown(node)} cannot be used: {error}")
        except structured.InvalidSchemaError as error:
            at = f" at `{structured.pointer(error.path)}`" if error.path else ""
            message = f"the JSON Schema{where} cannot be used{at}: {error.why}"
            self.components.problems.error("J001", node.place if where else _place_in(node, error.path), message)
        return schema, path


def _parsed(text: str, path: str) -> Any:
    """Return the data of a file in JSON or YAML; raises FileRefusedError."""
    if path.endswith(".json"):
        try:
            return json.loads(text)
        except RecursionError:
            raise FileRefusedError("it is nested too deeply") from None
        except ValueError as error:
            raise FileRefusedError(f"it is no JSON: {error}") from error
    problems = Problems(path)
    tree = read(text, path, problems)
    if problems.errors:
        raise FileRefusedError(str(problems.listed()[0]))
    return None if tree is None else plain(tree)


def _place_in(node: Node, path: Sequence[str | int]) -> SourceLocation:
    """Return where a part of a schema stands, or what is nearest around it."""
    for part in path:
        inner: Node | None = None
        if isinstance(node, MappingNode):
            inner = node.get(str(part))
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.items):
            inner = node.items[part]
        if inner is None:
            break
        node = inner
    return node.place
