"""The `models` of a pipeline: connectors with names, figures and fallbacks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from attrs import define, evolve, field, frozen

from nexus_core.config.components import Components
from nexus_core.config.keys import MODEL_NAME, ModelKeys, keys_of
from nexus_core.config.names import listing_of, written_out
from nexus_core.config.options import place_of
from nexus_core.config.policy_keys import model_policies
from nexus_core.config.spec import ComponentSpec, ModelSpec, RecordSpec
from nexus_core.config.yaml.problems import MOST_SHOWN, Problems, quoted
from nexus_core.config.yaml.tree import MappingEntry, MappingNode, Node, ScalarNode, UnreadableNode, shown, texts
from nexus_core.contract.components import Kind, OptionSpec
from nexus_core.contract.models import ModelPrices
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, ToolDefinition
from nexus_core.toolkit.suggest import instead

_FIGURES = ("window", "max_input", "max_output", "encoding")
_TOOL_MODES = ("auto", "none", "required")
_POLICIES = ("retry", "breaker", "limits", "cache")


@frozen(kw_only=True, eq=False, repr=False)
class ModelSpecs:
    """The models of a file, as far as they can be read."""

    specs: tuple[ModelSpec, ...] = ()
    names: Mapping[str, str] = field(factory=dict)
    """From a name or alias to the name."""
    places: Mapping[str, Node] = field(factory=dict)
    """From a name to the model's node."""
    fallbacks: Mapping[str, tuple[str, ...]] = field(factory=dict)
    complete: bool = True
    """False where `models` itself cannot be read, so that an unknown name proves nothing."""

    def find(self, name: ScalarNode, problems: Problems) -> str | None:
        """Return the name that a name or alias stands for, or `None` after noting that there is none."""
        if name.text in self.names:
            return self.names[name.text]
        if self.complete:
            rest = instead(None if name.interpolated else name.text, self.names, "declared under `models`")
            problems.error("N001", name.place, f"no model is named {shown(name)}{rest}")
        return None

    def report_unused(self, used: set[str], problems: Problems) -> None:
        """Warn of the models that neither a step nor a fallback of one names."""
        reached, waiting = set(used), list(used)
        while waiting:
            for other in self.fallbacks.get(waiting.pop(), ()):
                if other not in reached:
                    reached.add(other)
                    waiting.append(other)
        for name, node in self.places.items():
            if name not in reached:
                problems.warn("N004", node.place, f"no step uses the model {quoted(name)}: name it, or remove it")


def read_models(node: Node | None, components: Components) -> ModelSpecs:
    """Return the models of a file; every problem is noted."""
    if node is None:
        return ModelSpecs()
    if not isinstance(node, MappingNode):
        if not isinstance(node, UnreadableNode):
            message = f"`models` must be a mapping of names to models, as in {{main: {{use: x}}}}, found {shown(node)}"
            components.problems.error("T001", node.place, message)
        return ModelSpecs(complete=False)
    return _Reading(components, node).models()


def call_options(record: RecordSpec | None) -> CallOptions:
    """Return checked call options as the value that travels."""
    fields = dict(record.fields) if record is not None else {}
    if isinstance(fields.get("stop"), str):
        fields["stop"] = (fields["stop"],)
    if fields.get("tools"):
        fields["tools"] = tuple([ToolDefinition(**tool.fields) for tool in fields["tools"]])
    return CallOptions(**fields) if fields else NOTHING_ASKED


def report_tools(node: MappingNode, options: CallOptions, problems: Problems) -> None:
    """Note tools of one name, and a `tool_choice` that names none of those beside it."""
    names = [tool.name for tool in options.tools or ()]
    place = place_of(node, "options")
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.error("N002", place, f"two tools are called {quoted(name)}: each needs a name of its own")
    chosen = options.tool_choice
    if names and chosen is not None and chosen not in (*_TOOL_MODES, *names):
        rest = instead(chosen, [*_TOOL_MODES, *names], "known here")
        problems.error("N001", place, f"`tool_choice` names no tool: {quoted(chosen)}{rest}")


def _prices(record: RecordSpec | None) -> ModelPrices | None:
    found = {} if record is None else {name: price for name, price in record.fields.items() if price is not None}
    # One that is required is missing only where its value cannot be read, which has been noted.
    return ModelPrices(**found) if found.keys() >= {"input", "output"} else None


@define(eq=False, repr=False)
class _Reading:
    components: Components
    node: MappingNode
    names: dict[str, str] = field(factory=dict)
    fallbacks: dict[str, tuple[str, ...]] = field(factory=dict)

    @property
    def problems(self) -> Problems:
        return self.components.problems

    def models(self) -> ModelSpecs:
        for key, value in self.node.items():
            self._declare(key, key.text)
            if isinstance(value, MappingNode):
                for alias in texts(value.get("aliases")):
                    if written_out(alias, "an alias", self.problems):
                        self._declare(alias, key.text)
        specs = [self._model(key, value) for key, value in self.node.items()]
        known = ModelSpecs(names=self.names)
        for key, value in self.node.items():
            fallback = texts(value.get("fallback")) if isinstance(value, MappingNode) else ()
            found = (known.find(name, self.problems) for name in fallback)
            self.fallbacks[key.text] = tuple(dict.fromkeys(name for name in found if name is not None))
        self._report_circles()
        return ModelSpecs(
            specs=tuple(evolve(spec, fallback=self.fallbacks[spec.name]) for spec in specs if spec is not None),
            names=self.names,
            places={key.text: key for key, _ in self.node.items()},
            fallbacks=self.fallbacks,
        )

    def _declare(self, name: ScalarNode, stands_for: str) -> None:
        if not re.fullmatch(MODEL_NAME, name.text):
            message = f"{quoted(name.text)} cannot be the name of a model: use letters, digits and _ . : / -"
            self.problems.error("N005", name.place, message)
        if name.text in self.names:
            message = f"two models are called {quoted(name.text)}: a name or alias stands for one model only"
            self.problems.error("N002", name.place, message)
        else:
            self.names[name.text] = stands_for

    def _model(self, key: ScalarNode, value: Node) -> ModelSpec | None:
        if isinstance(value, ScalarNode) and isinstance(value.value, str):
            use = ScalarNode(value="use", text="use", source="use", plain=True, place=value.place)
            value = MappingNode((MappingEntry(use, value),), value.place)
        if not isinstance(value, MappingNode):
            if not isinstance(value, UnreadableNode):
                message = f"model {quoted(key.text)} must be a mapping {{use: name, ...}}, found {shown(value)}"
                self.problems.error("T001", value.place, message)
            return None
        before = self.problems.errors
        given, specs = self._values(value, key.text)
        self._check_figures(value, given)
        policies = self._policies(value, key.text)
        asked = call_options(given.get("options"))
        report_tools(value, asked, self.problems)
        use_node = value.get("use")
        if self.problems.errors != before or not isinstance(use_node, ScalarNode):
            return None
        own = {spec.name for spec in specs}
        options = {name: given[name] for name in given if name in own}
        return ModelSpec(
            name=key.text,
            component=ComponentSpec(kind=Kind.CONNECTOR, use=use_node.text, options=options, place=use_node.place),
            window=given.get("window"),
            max_input=given.get("max_input"),
            max_output=given.get("max_output"),
            encoding=given.get("encoding"),
            options=asked,
            aliases=tuple(alias.text for alias in texts(value.get("aliases"))),
            allow_empty=bool(given.get("allow_empty")),
            prices=_prices(given.get("prices")),
            place=key.place,
            **policies,
        )

    def _policies(self, node: MappingNode, name: str) -> dict[str, Any]:
        if not any(key in node for key in _POLICIES):
            return {}
        return model_policies(node, name, self.components.options)

    def _values(self, node: MappingNode, name: str) -> tuple[dict[str, Any], Sequence[OptionSpec]]:
        """Return the checked values of a model, and the options that its connector declares."""
        core = keys_of(ModelKeys)
        use = self.components.use(node, Kind.CONNECTOR)
        cls = None if use is None else self.components.find(use, Kind.CONNECTOR)
        own = None if cls is None or use is None else self.components.declared(cls, use.source, use)
        taken = {spec.name for spec in core}
        if own is None:  # what the other keys mean is not known then: only those of the language are checked
            node = evolve(node, entries=tuple(entry for entry in node.entries if entry.key.text in taken))
        specs = [*core, *(spec for spec in own or () if spec.name not in taken)]
        more = "" if use is None else f"{listing_of(use.source)} of its connector"
        # `use` has been read; it is required, and its absence has been noted.
        rest = [spec for spec in specs if spec.name != "use"]
        given = self.components.options.mapping(
            node, rest, f"model {quoted(name)}", skip=("use", *_POLICIES), more=more
        )
        # A figure that the connector declares too is given to both: it may need its window to be right.
        return given, [spec for spec in own or () if spec.name not in taken or spec.name in _FIGURES]

    def _check_figures(self, node: MappingNode, given: Mapping[str, Any]) -> None:
        window, record = given.get("window"), given.get("options")
        options = node.get("options")
        for name in ("max_input", "max_output"):
            if window is not None and (given.get(name) or 0) > window:
                message = f"`{name}` must be at most the `window` of {window}, found {given[name]}"
                self.problems.error("T002", place_of(node, name), message)
        wanted = record.fields.get("max_tokens") if isinstance(record, RecordSpec) else None
        if wanted is None or not isinstance(options, MappingNode):
            return
        place = place_of(options, "max_tokens")
        if window is not None and wanted >= window:
            self.problems.error("T002", place, f"`max_tokens` leaves nothing of the `window` of {window} for a prompt")
        elif given.get("max_output") is not None and wanted > given["max_output"]:
            self.problems.error("T002", place, f"`max_tokens` is more than the `max_output` of {given['max_output']}")

    def _report_circles(self) -> None:
        """Note the circles of fallbacks, each at the first of its models in the file."""
        graph = dict(self.fallbacks)
        for _ in range(MOST_SHOWN):
            try:
                TopologicalSorter(graph).prepare()
            except CycleError as error:
                circle: list[str] = error.args[1][::-1]
            else:
                return
            members = set(circle)
            first = next(key for key, _ in self.node.items() if key.text in members)
            around = [*circle[circle.index(first.text) : -1], *circle[: circle.index(first.text)], first.text]
            message = f"the fallbacks form a circle: {' > '.join(around)}; remove one of them"
            self.problems.error("N003", first.place, message)
            graph[first.text] = ()
