"""What PyYAML's syntax errors mean, in the words of somebody who writes a pipeline."""

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


# (part of PyYAML's context, part of its problem, hint); the first that fits is taken.
_HINTS = (
    ("", "found character '\\t'", "a tab stands here: indent with spaces"),
    ("next token", "that cannot start any token", "a value cannot begin with this character: put the value in quotes"),
    ("scanning an alias", "", "a value that begins with * must be in quotes, as in '*.md'"),
    ("scanning an anchor", "", "a value that begins with & must be in quotes"),
    ("tag", "", "a value that begins with ! must be in quotes"),
    ("directive", "", "a line that begins with % must be in quotes or indented"),
    ("quoted scalar", "unexpected end of stream", "the quote that opens here is never closed"),
    ("quoted scalar", "document separator", "the quote that opens here is never closed"),
    ("double-quoted", "escape", "inside double quotes \\ begins an escape: write \\\\, or use single quotes"),
    ("simple key", "could not find expected ':'", "a key needs ': ' after it, with the space, as in `rank: bm25`"),
    ("", "mapping values are not allowed", "this ':' is not expected: put a value that holds ': ' in quotes, begin the "
     "keys of one mapping in the same column, and see that the key above has a space after its ':'"),
    ("", "mapping keys are not allowed", "'? ' cannot stand here: put the value in quotes"),
    ("", "sequence entries are not allowed", "'- ' cannot begin a list here: begin it on a line of its own"),
    ("flow mapping", "", "a { is not closed, or a comma is missing: inside { } put values that hold { } [ ] , or "
     "${NAME} in quotes"),
    ("flow sequence", "", "a [ is not closed, or a comma is missing: inside [ ] put values that hold { } [ ] , or "
     "${NAME} in quotes"),
    ("block mapping", "", "the indentation does not fit: begin the keys of one mapping in the same column"),
    ("block collection", "", "the indentation does not fit: begin the '- ' of one list in the same column"),
    ("block scalar", "", "after | or > only +, - or a digit may follow, and the text begins on the next line"),
    ("", "expected the node content", "a value is missing here, or one that begins with this character needs quotes"),
    ("", "document start", "the document has ended before this: is the line indented like its neighbours?"),
)  # fmt: skip

# Where the error is better shown where the thing begins than where the parser gave up.
_SHOWN_AT_START = ("quoted scalar", "simple key", "scanning an alias", "scanning an anchor")
_UNCLOSED = "<stream end>"


def hint(context: str | None, problem: str | None) -> str:
    """Return what is likely wrong, in plain words, or PyYAML's own where none are known."""
    for where, what, words in _HINTS:
        if where in (context or "") and what in (problem or ""):
            return words
    return ", ".join(part for part in (context, problem) if part) or "the text cannot be read"


def begins_at_context(context: str | None, problem: str | None) -> bool:
    """Tell whether the beginning of the construct is the place to show."""
    return _UNCLOSED in (problem or "") or any(part in (context or "") for part in _SHOWN_AT_START)
