"""Gather steps: the source and its options, filters, and what is searched for besides the question."""

from __future__ import annotations

from typing import Any

from attrs import evolve, field, frozen

from nexus_core.config.components import Components
from nexus_core.config.keys import ExpandKeys, GatherKeys, keys_of
from nexus_core.config.models import ModelSpecs
from nexus_core.config.options import place_of, with_defaults
from nexus_core.config.spec import ExpandSpec
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, UnreadableNode, shown, under
from nexus_core.contract.components import Kind
from nexus_core.toolkit.filters import EVERYTHING, Filter, parse_filter

_GATHER = {spec.name: spec for spec in keys_of(GatherKeys)}
_EXPAND = {spec.name: spec for spec in keys_of(ExpandKeys)}
_OF_FEEDBACK, _OF_MODELS = ("items", "words"), ("model", "max_tokens", "timeout")
_OF_OTHERS = {
    "phrasings": _OF_FEEDBACK,
    "hypothetical": ("phrasings", *_OF_FEEDBACK),
    "feedback": ("phrasings", *_OF_MODELS),
}
"""The keys of `expand` that have no effect, by what it says."""


@frozen(kw_only=True, eq=False, repr=False)
class GatherReader:
    """Reads the bodies of gather steps."""

    components: Components
    models: ModelSpecs
    default_model: str | None = None
    used_models: set[str] = field(factory=set)

    def read(self, node: Node, label: str) -> dict[str, Any]:
        """Return the fields of a GatherSpec; what is wrong is noted."""
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
        before = self.components.problems.errors
        told = self.components.options.value(node, _GATHER["where"], _GATHER["where"].annotation, "where")
        if self.components.problems.errors == before:
            try:
                return parse_filter(told)
            except ValueError as error:
                self.components.problems.error("T004", node.place, str(error))
        return EVERYTHING

    def _expand(self, node: Node, label: str) -> ExpandSpec | None:
        if isinstance(node, ScalarNode) and node.value is None:
            return None
        node = under("by", node) if isinstance(node, ScalarNode) else node
        if not isinstance(node, MappingNode):
            if not isinstance(node, UnreadableNode):
                message = f"`expand` must be a mapping, as in {{by: feedback}}, found {shown(node)}"
                self.components.problems.error("T001", node.place, message)
            return None
        before, specs = self.components.problems.errors, keys_of(ExpandKeys)
        given = with_defaults(self.components.options.mapping(node, specs, f"`expand` of {label}"), specs)
        if self.components.problems.errors != before:
            return None
        for key in (key for key in node.names() if key in _OF_OTHERS[given["by"]]):
            message = f"`{key}` has no effect with `by: {given['by']}`: remove one of the two"
            self.components.problems.error("S006", place_of(node, key), message)
        timeout_s = given.pop("timeout")
        if isinstance(timeout_s, str):
            timeout_s = self.components.options.duration(node.get("timeout"), _EXPAND["timeout"])
        model = None if given["by"] == "feedback" else self._expanding_model(node, label)
        if self.components.problems.errors != before or timeout_s is None:
            return None
        return ExpandSpec(**{**given, "model": model}, timeout_s=timeout_s)

    def _expanding_model(self, node: MappingNode, label: str) -> str | None:
        """Return the name of the model that writes what is searched for, `None` for the default model."""
        model = node.get("model")
        if not self.models.names and self.models.complete:
            message = f"{label} expands by a model: declare one under `models`, or say `by: feedback`, which needs none"
            self.components.problems.error("N006", node.place, message)
        elif isinstance(model, ScalarNode) and model.value is not None:
            name = self.models.find(model, self.components.problems)
            self.used_models.update([name] if name is not None else [])
            return name
        self.used_models.update([self.default_model] if self.default_model is not None else [])
        return None
