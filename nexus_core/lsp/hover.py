"""Hover: what a key, a component, a model, an input or a variable means, and which part of the text that is about."""

from __future__ import annotations

import inspect

from attrs import frozen

from nexus_core.config.keys import EXPRESSION_NAMES
from nexus_core.lsp.completion import NAMES, names_model
from nexus_core.lsp.grammar import Expected, describe_component
from nexus_core.lsp.outline import OutlineBlock, OutlinePair, OutlinePlace, OutlineScalar
from nexus_core.lsp.pipeline_view import PipelineView, dotted_word_at, expression_word


@frozen(eq=False, repr=False)
class HoverText:
    """What is told of a part of a text."""

    markdown: str
    start: int
    end: int


def explain(view: PipelineView, index: int) -> HoverText | None:
    """Return what stands at an index of a pipeline, `None` where nothing is known of it."""
    found = view.at(index)
    if found is None:
        return None
    place, along = found
    if not place.is_key and expression_word(view.text, place.scalar.start, index) is not None:
        return explain_word(view, view.text, index)
    told = _key(view, place, along) if place.is_key else _value(view, place, along)
    return HoverText(told, place.scalar.start, place.scalar.end) if told else None


def explain_word(view: PipelineView | None, text: str, index: int) -> HoverText | None:
    """Return what a name of an expression or template means; `view` is of the pipeline that it is read in."""
    found = dotted_word_at(text, index)
    if found is None:
        return None
    word, start = found
    first, _, rest = word.partition(".")
    told = NAMES.get(word, "") if word in EXPRESSION_NAMES else ""
    if view is not None and first == "inputs" and rest in view.inputs():
        told = _input(rest, view.inputs()[rest])
    elif view is not None and first == "vars" and rest in view.kept_names():
        told = f"**{rest}** (variable)\n\nKept by a step with `as: {rest}`."
    return HoverText(told, start, start + len(word)) if told else None


def _key(view: PipelineView, place: OutlinePlace, along: list[Expected]) -> str:
    block, _ = place.chain[-1]
    known = view.grammar.keys(along[-2], block).get(place.scalar.text)
    if known is not None:
        return f"**{known.spec.name}**\n\n{known.documentation()}"
    entries = {"models": view.models, "inputs": view.inputs}.get(along[-2].key)
    entry = entries().get(place.scalar.text) if entries is not None and len(place.chain) == 2 else None
    if entry is None:
        return ""
    return _model(place.scalar.text, entry) if along[-2].key == "models" else _input(place.scalar.text, entry)


def _value(view: PipelineView, place: OutlinePlace, along: list[Expected]) -> str:
    text, kind = place.scalar.text, view.grammar.used_kind(place.chain, along)
    if names_model(along[-1], kind) and text in view.models():
        return _model(text, view.models()[text])
    cls = None if kind is None else view.grammar.component(kind, text)
    if kind is not None and cls is not None:
        rest = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
        return describe_component(text, kind, cls) + (f"\n\n{rest}" if rest else "")
    if along[-1].key:
        parent = view.grammar.keys(along[-2], place.chain[-1][0]).get(along[-1].key)
        return "" if parent is None else f"**{parent.spec.name}**\n\n{parent.documentation()}"
    return ""


def _model(name: str, entry: OutlinePair) -> str:
    """Return what a file says of a model."""
    value = entry.value
    if isinstance(value, OutlineScalar):
        return f"**{name}** (model)\n\nConnector `{value.text}`."
    lines = [f"**{name}** (model)", ""]
    if isinstance(value, OutlineBlock):
        told = [(key, value.scalar(key)) for key in ("use", "model", "window")]
        lines += [f"- `{key}: {text}`" for key, text in told if text]
        fallback = value.entry("fallback")
        names = _listed(fallback)
        lines += [f"- falls back to {names}"] if names else []
    return "\n".join(lines)


def _listed(entry: OutlinePair | None) -> str:
    if entry is None:
        return ""
    parts = entry.value.entries if isinstance(entry.value, OutlineBlock) else [entry]
    return ", ".join(f"`{part.value.text}`" for part in parts if isinstance(part.value, OutlineScalar))


def _input(name: str, entry: OutlinePair) -> str:
    """Return what a file says of an input."""
    value = entry.value
    block = value if isinstance(value, OutlineBlock) else None
    default = value.text if isinstance(value, OutlineScalar) else None if block is None else block.scalar("default")
    description = "" if block is None else block.scalar("description") or ""
    end = "The caller must give it." if default is None else f"Default: `{default}`."
    return "\n\n".join([part for part in (f"**{name}** (input)", description, end) if part])
