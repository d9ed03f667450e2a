"""Options that slipped out: they stand beside the verb of a step and belong under it, for want of two spaces."""

from __future__ import annotations

from collections.abc import Collection

from nexus_core.config.components import PluginCatalog
from nexus_core.config.keys import VERBS, GenerateKeys, PromptKeys, keys_of
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode
from nexus_core.contract.components import Kind, options_of

_KINDS = {"gather": Kind.SOURCE, "rank": Kind.RANKER}
_KEYS = {"prompt": PromptKeys, "generate": GenerateKeys}


def belongs_under(key: str, step: MappingNode, catalogue: PluginCatalog) -> str:
    """Return the verb of a step whose mapping takes this key, or `""` where none does."""
    return next((verb for verb in step.names() if verb in VERBS and key in _keys(verb, step, catalogue)), "")


def where_it_goes(key: str, verb: str, step: MappingNode) -> str:
    """Return what to do with a key that belongs under a verb; under a name alone there is nothing to indent to."""
    node = step.get(verb)
    if isinstance(node, ScalarNode) and isinstance(node.value, str) and not node.interpolated:
        first = {"prompt": "template", "generate": "model"}.get(verb, "use")
        return f"indent it under `{verb}`, as in `{verb}: {{{first}: {node.text}, {key}: ...}}`"
    return f"indent it under `{verb}`"


def _keys(verb: str, step: MappingNode, catalogue: PluginCatalog) -> Collection[str]:
    """Return the keys that may stand under a verb: its own, or those of the component that it names."""
    if verb in _KEYS:
        return [spec.name for spec in keys_of(_KEYS[verb])]
    name = _name(step.get(verb)) or _name(step.get("use"))
    if not name:
        return ("use",)
    try:
        return ("use", *(spec.name for spec in options_of(catalogue.component(_KINDS[verb], name))))
    except Exception:  # noqa: BLE001 - whatever is wrong with the plugin, its code included, is told of elsewhere
        return ("use",)


def _name(node: Node | None) -> str:
    if isinstance(node, MappingNode):
        return _name(node.get("use"))
    return node.text if isinstance(node, ScalarNode) and isinstance(node.value, str) else ""
