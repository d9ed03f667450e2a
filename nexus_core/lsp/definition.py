"""Definition: where a component, template, called pipeline, model, input or variable that a place names is written."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from attrs import frozen

from nexus_core.lsp.completion import names_model
from nexus_core.lsp.grammar import Expected
from nexus_core.lsp.outline import OutlinePlace
from nexus_core.lsp.pipeline_view import PipelineView, dotted_word_at, expression_word


@frozen(kw_only=True, eq=False, repr=False)
class DefinitionPlace:
    """Where something is written: in the same document, or in a file."""

    path: Path | None = None
    """`None` for the document itself."""
    start: int = 0
    """In the document itself: the index where it begins."""
    end: int = 0
    line: int = 1
    """In a file: the line, from 1."""


def find_definition(view: PipelineView, index: int) -> DefinitionPlace | None:
    """Return where what stands at an index is written, `None` where it names nothing that is."""
    found = view.at(index)
    if found is None or found[0].is_key:
        return None
    place, along = found
    if expression_word(view.text, place.scalar.start, index) is not None:
        return find_name(view, view.text, index)
    return _component(view, place, along) if (named := _named(view, place, along)) is None else named


def find_name(view: PipelineView, text: str, index: int) -> DefinitionPlace | None:
    """Return where a pipeline declares the input or variable that a name of a text at an index means."""
    found = dotted_word_at(text, index)
    first, _, rest = ("", "", "") if found is None else found[0].partition(".")
    if first == "inputs" and rest in view.inputs():
        key = view.inputs()[rest].key
        return None if key is None else DefinitionPlace(start=key.start, end=key.end)
    if first == "vars" and rest in view.kept_names():
        kept = view.kept_names()[rest]
        return DefinitionPlace(start=kept.start, end=kept.end)
    return None


def _named(view: PipelineView, place: OutlinePlace, along: list[Expected]) -> DefinitionPlace | None:
    """Return the model or the file that a text names: what the file itself declares goes before what plugins offer."""
    text = place.scalar.text
    model = view.models().get(text) if names_model(along[-1], view.grammar.used_kind(place.chain, along)) else None
    if model is not None and model.key is not None:
        return DefinitionPlace(start=model.key.start, end=model.key.end)
    path = view.beside(text)
    return None if path is None else DefinitionPlace(path=path)


def _component(view: PipelineView, place: OutlinePlace, along: list[Expected]) -> DefinitionPlace | None:
    kind = view.grammar.used_kind(place.chain, along)
    cls = None if kind is None else view.grammar.component(kind, place.scalar.text)
    return None if cls is None else source_of(cls)


def source_of(cls: type) -> DefinitionPlace | None:
    """Return the file and the line of a component's class, or of the function that it was made of."""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    try:
        text = Path(file).read_text("utf-8", errors="replace")
    except OSError:
        return None
    name = re.escape(cls.__name__)
    written = re.search(rf"^(?:class|def|async def) {name}\b", text, re.MULTILINE)
    return DefinitionPlace(path=Path(file), line=1 if written is None else text.count("\n", 0, written.start()) + 1)
