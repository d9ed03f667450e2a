"""Keys that slipped out of their mapping: each is reported once, and read where it was meant.

Only of a file with errors. A key that is unknown where it stands belongs to a neighbour, or to something below one,
that takes it and does not have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from nexus_core.config.components import PluginCatalog
from nexus_core.config.keys import (
    VERBS,
    BranchKeys,
    CallKeys,
    CallStepKeys,
    ExpandKeys,
    GatherKeys,
    GenerateKeys,
    ModelKeys,
    PipelineKeys,
    PromptKeys,
    StepKeys,
    TemplateTextKeys,
    keys_of,
)
from nexus_core.config.option_types import alternatives, element, is_mapping, is_record, kind_of, mapped
from nexus_core.config.policy_keys import BreakerKeys, CacheKeys, CallsKeys, LimitKeys, RetryKeys
from nexus_core.config.yaml.problems import MOST_SHOWN, Problems, SourceLocation
from nexus_core.config.yaml.tree import MappingEntry, MappingNode, Node, ScalarNode, SequenceNode, is_text
from nexus_core.contract.components import Kind, options_of
from nexus_core.contract.protocols import Source, Template
from nexus_core.toolkit.suggest import did_you_mean

_DEEPEST = 3
"""So many mappings below a neighbour are looked into."""
_NEAREST = 16
"""So many neighbours, or steps or models below one, are looked at: a file may have thousands."""
_FIRST = {PromptKeys: "template", GenerateKeys: "model", ExpandKeys: "by", CallStepKeys: "pipeline"}
"""The key that a text alone stands for; elsewhere it is `use`."""
INNER_TYPES: Mapping[tuple[type, str], Any] = {
    (PipelineKeys, "models"): Mapping[str, ModelKeys],
    (PipelineKeys, "steps"): tuple[StepKeys, ...],
    (PipelineKeys, "calls"): CallsKeys,
    (ModelKeys, "retry"): RetryKeys,
    (ModelKeys, "breaker"): BreakerKeys,
    (ModelKeys, "limits"): LimitKeys,
    (ModelKeys, "cache"): CacheKeys,
    (StepKeys, "gather"): Source | GatherKeys,
    (StepKeys, "choose"): tuple[BranchKeys, ...],
    (StepKeys, "together"): tuple[StepKeys, ...],
    (BranchKeys, "steps"): tuple[StepKeys, ...],
    (PromptKeys, "template"): Template | TemplateTextKeys,
}
"""The types of what the declarations leave open."""
_ADDED = (CallKeys, CallsKeys, RetryKeys, BreakerKeys, LimitKeys, CacheKeys)
"""Mappings that a key may belong to though they are not there yet."""

_Found = tuple[Node, tuple[str, ...], str]
"""A node with the key in it, the names that lead there, and how it is written where it cannot just be indented."""


@define(eq=False, repr=False)
class MisplacedKeys:
    """Moves keys to where they belong, and notes each."""

    catalogue: PluginCatalog
    problems: Problems
    _left: int = field(default=MOST_SHOWN, init=False)
    """How many keys are looked at still: more problems would not be shown."""

    def settle(self, node: Node, annotation: Any = PipelineKeys) -> Node:
        """Return a node of a type with the keys of its mappings where they belong."""
        inner = element(annotation)
        if isinstance(node, SequenceNode) and inner is not None:
            return evolve(node, items=tuple([self.settle(item, inner) for item in node.items]))
        if not isinstance(node, MappingNode):
            return node
        known = self._keys(node, annotation)
        if known:
            entries = self._sorted(node, known, annotation)
        elif is_mapping(annotation) and mapped(annotation) is ModelKeys:
            entries, known = self._models(node), dict.fromkeys(node.names(), ModelKeys)
        else:
            return node
        types = ((entry, known.get(entry.key.text)) for entry in entries)
        settled = [evolve(entry, value=self.settle(entry.value, inner)) for entry, inner in types]
        return evolve(node, entries=tuple(settled))

    def _sorted(self, node: MappingNode, known: Mapping[str, Any], annotation: Any) -> Sequence[MappingEntry]:
        """Return the entries of a mapping with fixed keys, those that nobody knows in others if they belong there."""
        entries = {entry.key.text: entry for entry in node.entries}
        names = list(entries)
        for place, name in enumerate(names):
            if name in known or not self._left:
                continue
            self._left -= 1
            near = [other for other in (*names[:place][::-1], *names[place + 1 :]) if other in known][:_NEAREST]
            absent = [other for other in known if other not in entries and _may_be_added(known[other])]
            for other, found in self._places(entries[name], entries, [*near, *absent], known):
                self._report(entries[name], other, found, annotation)
                entries[other] = MappingEntry(_key(other, node.place), found[0])
                del entries[name]
                break
        return tuple(entries.values())

    def _places(
        self, stray: MappingEntry, entries: Mapping[str, MappingEntry], others: Sequence[str], known: Mapping[str, Any]
    ) -> Iterator[tuple[str, _Found]]:
        """Yield where a key may belong, the nearest first: less deep, then closer before it."""
        for depth in range(1, _DEEPEST + 1):
            for other in others:
                value = entries[other].value if other in entries else None
                found = self._within(stray, value, known[other], depth)
                if found is not None:
                    yield other, found
        # A mapping with names of the user's choice takes any, if it is empty and right before.
        before = entries.get(others[0]) if others else None
        empty = before is not None and isinstance(before.value, ScalarNode) and before.value.value is None
        if empty and any(map(is_mapping, alternatives(known[others[0]]))) and not did_you_mean(stray.key.text, known):
            yield others[0], (MappingNode((stray,), stray.key.place), (), "")

    def _within(self, stray: MappingEntry, node: Node | None, annotation: Any, depth: int) -> _Found | None:
        """Return a node with a key put `depth` mappings below it, or `None` where nothing there takes it."""
        if isinstance(node, SequenceNode):
            return self._in_last(stray, node, element(annotation), depth)
        known, mapping = self._keys(node, annotation), _as_mapping(node, annotation, stray.key.place)
        if mapping is None:
            return None
        taken = annotation is StepKeys and stray.key.text in VERBS and any(verb in mapping for verb in VERBS)
        if depth == 1 and stray.key.text in known and stray.key.text not in mapping and not taken:
            return evolve(mapping, entries=(*mapping.entries, stray)), (), _written(stray.key.text, node, mapping)
        if not known and is_mapping(annotation):
            known = dict.fromkeys(mapping.names()[-_NEAREST:], mapped(annotation))
            depth += 1
        names = [
            *mapping.names()[: -_NEAREST - 1 : -1],
            *(name for name in known if _may_be_added(known[name]) and name not in mapping),
        ]
        for name in names if depth > 1 else ():
            found = self._within(stray, mapping.get(name), known[name], depth - 1) if name in known else None
            if found is not None:
                value, path, written = found
                kept = [entry for entry in mapping.entries if entry.key.text != name]
                entry = MappingEntry(_key(name, mapping.place), value)
                return evolve(mapping, entries=(*kept, entry)), (name, *path), _grown(name, path, written)
        return None

    def _in_last(self, stray: MappingEntry, node: SequenceNode, inner: Any, depth: int) -> _Found | None:
        for place in reversed(range(len(node.items))[-_NEAREST:]):
            found = self._within(stray, node.items[place], inner, depth)
            if found is not None:
                items = (*node.items[:place], found[0], *node.items[place + 1 :])
                return evolve(node, items=items), found[1], found[2]
        return None

    def _models(self, node: MappingNode) -> Sequence[MappingEntry]:
        """Return the models; any name may be one's, so what is no model and fits into the one before belongs there."""
        models: list[MappingEntry] = []
        for entry in node.entries:
            found = None
            if models and self._left and (entry.key.text == "use" or not self._is_model(entry.value)):
                self._left -= 1
                tries = (self._within(entry, models[-1].value, ModelKeys, depth) for depth in (1, 2))
                found = next((one for one in tries if one is not None), None)
            if found is None:
                models.append(entry)
            else:
                self._report(entry, models[-1].key.text, found, None)
                models[-1] = evolve(models[-1], value=found[0])
        return models

    def _is_model(self, node: Node) -> bool:
        if isinstance(node, MappingNode):
            return "use" in node
        return isinstance(node, ScalarNode) and node.text.partition(".")[0] in self.catalogue.names(Kind.CONNECTOR)

    def _keys(self, node: Node | None, annotation: Any) -> dict[str, Any]:
        """Return the types of the keys that a mapping of a type has, its component's options included."""
        known: dict[str, Any] = {}
        for part in alternatives(annotation):
            kind = Kind.CONNECTOR if part is ModelKeys else kind_of(part)
            if kind is not None:
                known |= {"use": str, **self._options(kind, node)}
            if is_record(part):
                known |= _declared(part)
        return known

    def _options(self, kind: Kind, node: Node | None) -> dict[str, Any]:
        use = node.get("use") if isinstance(node, MappingNode) else node
        if not isinstance(use, ScalarNode) or not is_text(use):
            return {}
        try:
            return {spec.name: spec.annotation for spec in options_of(self.catalogue.component(kind, use.text))}
        except Exception:  # noqa: BLE001 - whatever is wrong with the plugin, its code included, is told of elsewhere
            return {}

    def _report(self, stray: MappingEntry, other: str, found: _Found, annotation: Any) -> None:
        path, written, key = (other, *found[1]), _grown(other, found[1], found[2]), stray.key.text
        owner = "to the step" if annotation is StepKeys else "here"
        example = f", as in `{written}`" if written else ""
        message = f"`{key}` belongs to `{'.'.join(path)}`, not {owner}: indent it under `{path[-1]}`{example}"
        self.problems.error("S002", stray.key.place, message)


def _declared(cls: type) -> dict[str, Any]:
    """Return the types of the keys of a class, also where their declaration leaves them open."""
    try:
        return {spec.name: INNER_TYPES.get((cls, spec.name), spec.annotation) for spec in keys_of(cls)}
    except Exception:  # noqa: BLE001 - the options of a plugin's own class, which are its code
        return {}


def _may_be_added(annotation: Any) -> bool:
    return any(part in _ADDED for part in alternatives(annotation))


def _as_mapping(node: Node | None, annotation: Any, at: SourceLocation) -> MappingNode | None:
    """Return a node as the mapping it stands for, `None` where it stands for none."""
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return MappingNode((), at if node is None else node.place)
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        parts = alternatives(annotation)
        first = next((_FIRST[part] for part in parts if part in _FIRST), "use")
        return MappingNode((MappingEntry(_key(first, node.place), node),), node.place)
    return node if isinstance(node, MappingNode) else None


def _key(name: str, place: SourceLocation) -> ScalarNode:
    return ScalarNode(value=name, text=name, source=name, plain=True, place=place)


def _written(key: str, node: Node | None, mapping: MappingNode) -> str:
    """Return how a mapping is written that is a text so far, or not there; else its key is only indented."""
    if node is None:
        return f"{{{key}: ...}}"
    if not isinstance(node, ScalarNode) or node.value is None or node.interpolated:
        return ""
    return f"{{{mapping.entries[0].key.text}: {node.text}, {key}: ...}}"


def _grown(name: str, path: Sequence[str], written: str) -> str:
    """Return how a key is written that has been put below `name`: the innermost mapping with its name."""
    return f"{name}: {written}" if written and not path else written
