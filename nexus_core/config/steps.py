"""The `steps` of a pipeline: one verb each, and modifiers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from nexus_core import structured
from nexus_core.config.components import Components
from nexus_core.config.expressions import Expressions, KnownNames
from nexus_core.config.keys import VERBS, ExpandKeys, GatherKeys, GenerateKeys, InputKeys, StepKeys, keys_of
from nexus_core.config.models import ModelSpecs, call_options, report_tools
from nexus_core.config.names import identifies, instead
from nexus_core.config.options import BAD, Options, place_of, with_defaults
from nexus_core.config.prompts import Prompts
from nexus_core.config.sibling_files import FileRefusedError
from nexus_core.config.spec import (
    ComponentSpec,
    ExpandSpec,
    GatherSpec,
    GenerateSpec,
    InputSpec,
    PromptSpec,
    RankSpec,
    StepSpec,
    ToolsSpec,
)
from nexus_core.config.step_order import StepOrder
from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.reader import read
from nexus_core.config.yaml.scalars import DURATIONS, seconds
from nexus_core.config.yaml.tree import (
    MappingEntry,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    UnreadableNode,
    plain,
    shown,
)
from nexus_core.contract.components import Kind, OptionSpec
from nexus_core.contract.values import CallOptions
from nexus_core.toolkit.filters import EVERYTHING, Filter, parse_filter
from nexus_core.toolkit.suggest import listed


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


_SPECS = {spec.name: spec for spec in keys_of(StepKeys)}
_GATHER = {spec.name: spec for spec in keys_of(GatherKeys)}
_EXPAND = {spec.name: spec for spec in keys_of(ExpandKeys)}
_GENERATE = {spec.name: spec for spec in keys_of(GenerateKeys)}
_OF_TOOLS = ("allow", "rounds", "tool_calls", "tool_timeout", "tool_share")
_OF_FEEDBACK, _OF_MODELS = ("items", "words"), ("model", "max_tokens", "timeout")
_OF_OTHERS = {
    "phrasings": _OF_FEEDBACK,
    "hypothetical": ("phrasings", *_OF_FEEDBACK),
    "feedback": ("phrasings", *_OF_MODELS),
}
"""The keys of `expand` that have no effect, by what it says."""


@define(eq=False, repr=False)
class Steps:
    """Reads steps, one after the other; what earlier ones keep is known to later ones."""

    components: Components
    expressions: Expressions
    prompts: Prompts
    models: ModelSpecs
    inputs: frozenset[str] | None
    default_model: str | None = None
    vars: list[str] = field(factory=list)
    used_models: set[str] = field(factory=set)
    outlines: list[StepOrder] = field(factory=list)
    complete: bool = True
    """Every step has its one verb, so that their order means something."""

    @property
    def _problems(self) -> Problems:
        return self.components.problems

    def read(self, node: Node | None) -> tuple[StepSpec, ...]:
        """Return the sound steps of the `steps` node; every problem is noted."""
        if node is None or isinstance(node, UnreadableNode):
            return ()
        if not isinstance(node, SequenceNode):
            message = f"`steps` must be a list: begin each step with '- ', as in `- rank: name`; found {shown(node)}"
            self._problems.error("T001", node.place, message)
            return ()
        if not node.items:
            self._problems.error("O001", node.place, "`steps` is empty: add at least `- generate:`")
        specs = [self._step(item, index) for index, item in enumerate(node.items)]
        return tuple(spec for spec in specs if spec is not None)

    def _step(self, node: Node, index: int) -> StepSpec | None:
        if not isinstance(node, MappingNode):
            if not isinstance(node, UnreadableNode):
                message = f"a step is a mapping with a verb, as in `- rank: name`, found {shown(node)}"
                self._problems.error("T001", node.place, message)
            self.complete = False
            return None
        verb = self._verb(node, index)
        if verb is None:
            return None
        before = self._problems.errors
        names = KnownNames(inputs=self.inputs, vars=tuple(self.vars))
        common = self._modifiers(node, verb, names)
        self.outlines.append(
            StepOrder(
                index=index,
                verb=verb,
                place=node.place,
                conditional=node.get("when") is not None,
                kept=node.get("as") is not None,
                into_query=verb == "generate" and node.get("into") is not None,
            )
        )
        fields = self._body(verb, node.get(verb) or UnreadableNode(node.place), names, f"steps[{index}] ({verb})")
        if common.get("as_name"):
            self.vars.append(common["as_name"])
        into_query = common.pop("into_query")
        if fields is None or self._problems.errors != before:
            return None
        common.update(index=index, place=node.place)
        if verb == "generate":
            return GenerateSpec(**common, **fields, into_query=into_query)
        if verb == "prompt":
            return PromptSpec(**common, **fields)
        return GatherSpec(**common, **fields) if verb == "gather" else RankSpec(**common, **fields)

    def _verb(self, node: MappingNode, index: int) -> str | None:
        """Return the verb of a step, the first one where there are several; unknown keys are noted."""
        for entry in node.entries:
            if entry.key.text not in _SPECS:
                self.components.options.unknown(entry.key, f"steps[{index}]", list(_SPECS))
        found = [key for key in node.names() if key in VERBS]
        if len(found) > 1:
            message = f"a step has one verb, this one has {listed(found)}: begin each with a '- ' of its own"
            self._problems.error("S004", node.place, message)
        elif not found and all(key in _SPECS for key in node.names()):  # an unknown key was likely meant as the verb
            self._problems.error("S004", node.place, f"a step needs a verb: {', '.join(VERBS[:-1])} or {VERBS[-1]}")
        self.complete = self.complete and len(found) == 1
        return found[0] if found else None

    def _modifiers(self, node: MappingNode, verb: str, names: KnownNames) -> dict[str, Any]:
        return {
            "as_name": self._as(node.get("as"), verb),
            "when": self._when(node.get("when"), names),
            "timeout_s": self._timeout(node.get("timeout"), _SPECS["timeout"]),
            "into_query": self._into(node.get("into"), verb),
        }

    def _as(self, node: Node | None, verb: str) -> str | None:
        if node is None:
            return None
        if verb == "prompt":
            message = "a prompt step takes no `as`: its result is a draft; put `as` on the generate step after it"
            self._problems.error("S005", node.place, message)
            return None
        name = self.components.options.value(node, _SPECS["as"], str | None, "as")
        if not isinstance(name, str) or not isinstance(node, ScalarNode):
            return None
        return name if identifies(node, "a variable", self._problems) else None

    def _when(self, node: Node | None, names: KnownNames) -> str | None:
        if node is None:
            return None
        value = self.components.options.value(node, _SPECS["when"], _SPECS["when"].annotation, "when")
        if value is BAD or not isinstance(node, ScalarNode) or value in (None, True):
            return None
        if value is False:
            return "{{ false }}"
        return node.text if self.expressions.check(node, names, alone=True) else None

    def _timeout(self, node: Node | None, spec: OptionSpec) -> float | None:
        if node is None:
            return None
        value = self.components.options.value(node, spec, spec.annotation, spec.name)
        if not isinstance(value, str):
            return None if value is BAD else value
        duration = seconds(value)
        if not duration:
            message = f"`{spec.name}` must be seconds, or {DURATIONS}, found {shown(node)}"
            self._problems.error("T004", node.place, message)
        return duration

    def _into(self, node: Node | None, verb: str) -> bool:
        if node is None:
            return False
        if verb != "generate":
            self._problems.error("S005", node.place, f"{verb} takes no `into`: only an answer can become the query")
            return False
        value = self.components.options.value(node, _SPECS["into"], _SPECS["into"].annotation, "into")
        return bool(value == "query")

    def _body(self, verb: str, node: Node, names: KnownNames, label: str) -> dict[str, Any] | None:
        if verb == "prompt":
            return self.prompts.read(node, names, label)
        if verb == "generate":
            return self._generate(node, label)
        if verb == "gather":
            return self._gather(node, label)
        return {"ranker": self.components.reference(node, Kind.RANKER)}

    def _gather(self, node: Node, label: str) -> dict[str, Any]:
        if not isinstance(node, MappingNode):
            return {"source": self.components.reference(node, Kind.SOURCE)}
        use = node.get("use")
        filters_itself = isinstance(use, ScalarNode) and self.components.has_option(use, Kind.SOURCE, "where")
        keys = {"expand"} if filters_itself else {"expand", "where"}
        said = {key: found for key in keys if (found := node.get(key)) is not None}
        # The rest is the source's own, and its options are checked as everywhere.
        rest = evolve(node, entries=tuple(entry for entry in node.entries if entry.key.text not in said))
        body: dict[str, Any] = {"source": self.components.reference(rest, Kind.SOURCE)}
        if "expand" in said:
            body["expand"] = self._expand(said["expand"], label)
        if "where" in said:
            body["where"] = self._where(said["where"])
        return body

    def _where(self, node: Node) -> Filter:
        before = self._problems.errors
        told = self.components.options.value(node, _GATHER["where"], _GATHER["where"].annotation, "where")
        if self._problems.errors == before:
            try:
                return parse_filter(told)
            except ValueError as error:
                self._problems.error("T004", node.place, str(error))
        return EVERYTHING

    def _expand(self, node: Node, label: str) -> ExpandSpec | None:
        if isinstance(node, ScalarNode) and node.value is None:
            return None
        node = _under("by", node) if isinstance(node, ScalarNode) else node
        if not isinstance(node, MappingNode):
            if not isinstance(node, UnreadableNode):
                message = f"`expand` must be a mapping, as in {{by: feedback}}, found {shown(node)}"
                self._problems.error("T001", node.place, message)
            return None
        before, specs = self._problems.errors, keys_of(ExpandKeys)
        given = with_defaults(self.components.options.mapping(node, specs, f"`expand` of {label}"), specs)
        if self._problems.errors != before:
            return None
        for key in (key for key in node.names() if key in _OF_OTHERS[given["by"]]):
            message = f"`{key}` has no effect with `by: {given['by']}`: remove one of the two"
            self._problems.error("S006", place_of(node, key), message)
        timeout_s = given.pop("timeout")
        if isinstance(timeout_s, str):
            timeout_s = self._timeout(node.get("timeout"), _EXPAND["timeout"])
        model = None if given["by"] == "feedback" else self._expanding_model(node, label)
        if self._problems.errors != before or timeout_s is None:
            return None
        return ExpandSpec(**{**given, "model": model}, timeout_s=timeout_s)

    def _expanding_model(self, node: MappingNode, label: str) -> str | None:
        """Return the name of the model that writes what is searched for, `None` for the default model."""
        model = node.get("model")
        if not self.models.names and self.models.complete:
            message = f"{label} expands by a model: declare one under `models`, or say `by: feedback`, which needs none"
            self._problems.error("N006", node.place, message)
        elif isinstance(model, ScalarNode) and model.value is not None:
            name = self.models.find(model, self._problems)
            self.used_models.update([name] if name is not None else [])
            return name
        self.used_models.update([self.default_model] if self.default_model is not None else [])
        return None

    def _generate(self, node: Node, label: str) -> dict[str, Any] | None:
        node = _under("model", node) if isinstance(node, ScalarNode) else node
        if not isinstance(node, MappingNode):
            if not isinstance(node, UnreadableNode):
                message = f"`generate` must be a model's name, or {{model: ..., options: ...}}, found {shown(node)}"
                self._problems.error("T001", node.place, message)
            return None
        specs = keys_of(GenerateKeys)
        given = with_defaults(self.components.options.mapping(node, specs, label), specs)
        model = node.get("model")
        name: str | None = None
        if not self.models.names and self.models.complete:
            self._problems.error("N006", node.place, f"{label} needs a model: declare one under `models`")
        elif given["model"] is not None and isinstance(model, ScalarNode):
            name = self.models.find(model, self._problems)
        used = name or (self.default_model if given["model"] is None else None)
        self.used_models.update([used] if used is not None else [])
        options, path = call_options(given["options"]), None
        report_tools(node, options, self._problems)
        if given["schema"] is not None:
            schema, path = self._schema(given["schema"], node.get("schema") or node)
            options = evolve(options, response_schema=schema)
        return {
            "model": name,
            "options": options,
            "schema_file": path,
            "client_tools": given["client_tools"],
            "tools": self._tools(node, given, options),
        }

    def _tools(self, node: MappingNode, given: Mapping[str, Any], options: CallOptions) -> ToolsSpec | None:
        """Return what the model may call; what is wrong with it, or has no effect, is noted."""
        components = given["tools"]
        if not components or not all(isinstance(part, ComponentSpec) for part in components):
            for key in (key for key in _OF_TOOLS if key in node and "tools" not in node):
                self._problems.error("S006", place_of(node, key), f"`{key}` has no effect without `tools`: remove it")
            return None
        timeout_s = given["tool_timeout"]
        if isinstance(timeout_s, str):
            timeout_s = self._timeout(node.get("tool_timeout"), _GENERATE["tool_timeout"])
        known = self.components.tool_names(components)
        names = [name for found in known for name in found or ()]
        for name in sorted({name for name in names if names.count(name) > 1}):
            message = f"two tools are called {quoted(name)}: each needs a name of its own"
            self._problems.error("N002", place_of(node, "tools"), message)
        for name in sorted({tool.name for tool in options.tools or ()} & {*names}):
            message = f"{quoted(name)} is a tool of `tools` and of `options.tools`: remove one of the two"
            self._problems.error("N002", place_of(node, "options"), message)
        for name in given["allow"]:
            if name not in names and all(found is not None for found in known):
                self._problems.error("N001", place_of(node, "allow"), f"`allow` names no tool: {quoted(name)}"
                                     f"{instead(name, names, 'known here')}")  # fmt: skip
        if timeout_s is None:
            return None
        return ToolsSpec(
            components=tuple(components),
            allow=tuple(given["allow"]),
            rounds=given["rounds"],
            calls=given["tool_calls"],
            timeout_s=timeout_s,
            share=given["tool_share"],
        )

    def _schema(self, said: Mapping[str, Any] | str, node: Node) -> tuple[Any, str | None]:
        """Return a JSON Schema and the file it stands in, if it has one; what is wrong with it is noted."""
        schema: Any = said
        path, where = None, ""
        try:
            if isinstance(said, str):
                found, text = self.prompts.folder.schema(said)
                path, where = str(found), f" {quoted(said)}"
                schema = _parsed(text, path)
            structured.check_schema(schema)
        except FileRefusedError as error:
            self._problems.error("J001", node.place, f"the JSON Schema {shown(node)} cannot be used: {error}")
        except structured.InvalidSchemaError as error:
            at = f" at `{structured.pointer(error.path)}`" if error.path else ""
            message = f"the JSON Schema{where} cannot be used{at}: {error.why}"
            self._problems.error("J001", node.place if where else _place_in(node, error.path), message)
        return schema, path


def _under(name: str, node: ScalarNode) -> MappingNode:
    """Return the mapping that a text alone stands for."""
    key = ScalarNode(value=name, text=name, source=name, plain=True, place=node.place)
    return MappingNode((MappingEntry(key, node),), node.place)


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
