"""Completion: the keys, components, options, models, inputs, variables and files that may stand at a place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from attrs import frozen

from nexus_core.config.cases.language import Case, Expectations
from nexus_core.config.keys import (
    ALWAYS_THERE,
    EXPRESSION_NAMES,
    VERBS,
    CallStepKeys,
    ExpandKeys,
    GenerateKeys,
    ModelKeys,
    PipelineKeys,
    PromptKeys,
    StepKeys,
    TemplateTextKeys,
)
from nexus_core.config.option_types import choices
from nexus_core.config.sibling_files import is_pipeline_file
from nexus_core.contract.components import Kind, component_summary
from nexus_core.contract.run_context import CallablePipeline
from nexus_core.lsp.grammar import Expected, describe_component
from nexus_core.lsp.outline import OutlineBlock, OutlinePlace
from nexus_core.lsp.pipeline_view import PipelineView, expression_word

Sort = Literal["key", "component", "model", "input", "variable", "value", "file"]

_CURSOR = "\u2038"
"""Put in where the cursor is, so that something stands there: a caret, which YAML gives no meaning."""
_OF_MODELS = frozenset({
    (PipelineKeys, "default"), (GenerateKeys, "model"), (ExpandKeys, "model"), (ModelKeys, "fallback"),
    (StepKeys, "generate"), (Case, "model"), (Expectations, "model"),
})  # fmt: skip
"""The keys whose values name models of the file."""
_FILES: Mapping[tuple[type, str], tuple[str, ...]] = {
    (PromptKeys, "template"): (".jinja", ".j2"),
    (StepKeys, "prompt"): (".jinja", ".j2"),
    (CallStepKeys, "pipeline"): (".yaml", ".yml"),
    (StepKeys, "call"): (".yaml", ".yml"),
    (PipelineKeys, "plugins"): (".py",),
    (GenerateKeys, "schema"): (".json",),
}
"""The endings of the files that values name."""
_MOST_FILES = 200
NAMES: Mapping[str, str] = {
    "query": "What the run is asked; after a step with `into: query`, its answer.",
    "items": "The items: each with `number`, `id`, `title`, `text`, `kind`, `tags`, `source`, `metadata`.",
    "history": "The conversation before: each message with `role` and `content`.",
    "inputs": "What the caller gives besides the query, by name.",
    "vars": "What earlier steps keep with `as`, by name.",
    "answer": "The last answer.",
}
"""What expressions and templates may read."""
_OF_ITEMS = ("number", "id", "title", "text", "kind", "tags", "source", "metadata")


@frozen(kw_only=True, eq=False, repr=False)
class Suggestion:
    """Something that may stand at a place, and what it replaces."""

    label: str
    insert: str
    sort: Sort
    start: int
    end: int
    detail: str = ""
    documentation: str = ""
    """In Markdown."""


def complete(view: PipelineView, index: int) -> list[Suggestion]:
    """Return what may stand at an index of a pipeline; the editor sorts out what does not begin as the word does."""
    patched = f"{view.text[:index]}{_CURSOR}{view.text[index:]}"
    marked = PipelineView.read(patched, view.path, view.plugins)
    found = marked.at(index)
    if found is None:
        return []
    place, along = found
    scalar = place.scalar
    word = None if place.is_key else expression_word(view.text, scalar.start, index)
    if word is not None:
        return [*_names(marked, place, along, *word, index)]
    if scalar.style == "block":
        return []
    start = scalar.start + (scalar.style == "quoted")
    end = scalar.end - 1 - (scalar.style == "quoted" and view.text[scalar.end - 2 : scalar.end - 1] in ("'", '"'))
    span = (start, max(end, index))
    return [*_keys(marked, place, along, span), *([] if place.is_key else _values(marked, place, along, span))]


def complete_template(text: str, index: int, views: Iterable[PipelineView], template: Path) -> list[Suggestion]:
    """Return what a template file may read at an index, by the pipelines that use it."""
    word = expression_word(text, 0, index)
    if word is None:
        return []
    found: dict[str, Suggestion] = {}
    for view in views:
        for named in view.templates():
            used = view.at(named.start) if view.beside(named.text) == template else None
            if used is not None:
                found |= {each.label: each for each in _names(view, *used, *word, index, in_template=True)}
    return [*found.values()]


def _keys(
    view: PipelineView, place: OutlinePlace, along: list[Expected], span: tuple[int, int]
) -> Iterator[Suggestion]:
    """Yield the keys that the mapping at a place may have and has not, or that a value may begin a mapping with."""
    block, entry = place.chain[-1]
    if place.is_key:
        expected, inside = along[-2], block
    elif _begins_line(view.text, place.scalar.start) and along[-1].is_mapping():
        expected, inside = along[-1], OutlineBlock(False, 0, 0)
    else:
        return
    present = {name for name, other in inside.items() if other is not entry}
    if StepKeys in expected.types and present & {*VERBS}:
        present |= {*VERBS}
    colon = "" if place.is_key and entry.colon else ": "
    for name, known in view.grammar.keys(expected, inside).items():
        if name not in present:
            detail = known.spec.help or f"An option of {known.owner.__name__}."
            yield _suggestion(name, "key", span, f"{name}{colon}", detail, known.documentation())


def _values(
    view: PipelineView, place: OutlinePlace, along: list[Expected], span: tuple[int, int]
) -> Iterator[Suggestion]:
    expected = along[-1]
    kind = view.grammar.used_kind(place.chain, along)
    for part in expected.types:
        for value in choices(part) or ((True, False) if part is bool else ()):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield _suggestion(text, "value", span)
    if kind is not None:
        for use, cls in view.grammar.plugins.components(kind).items():
            documentation = describe_component(use, kind, cls)
            yield _suggestion(use, "component", span, use, component_summary(cls), documentation)
    if names_model(expected, kind):
        for name in view.models():
            yield _suggestion(name, "model", span, name, "A model of this file.")
    if expected.key == "model":
        use = place.chain[-1][0].scalar("use") or ""
        for id in _known_models(view, use):
            yield _suggestion(id, "model", span, id, f"A model whose figures {use} knows.")
    endings = _FILES.get((expected.owner or object, expected.key), ())
    if CallablePipeline in expected.types:
        endings = (".yaml", ".yml")
    for file in _files(view, endings):
        yield _suggestion(f"./{file}", "file", span)


def _known_models(view: PipelineView, use: str) -> list[str]:
    """Return the ids of the models whose figures a connector knows; none for another component."""
    cls = view.grammar.plugins.components(Kind.CONNECTOR).get(use) if use else None
    try:
        return [str(id) for id in getattr(cls, "known_models", tuple)()]
    except Exception:  # noqa: BLE001 - of a plugin, whatever it raises: the other suggestions stand
        return []


def names_model(expected: Expected, kind: Kind | None) -> bool:
    """Tell whether a value may be the name of a model of the file."""
    slot = (expected.owner or object, expected.key)
    return slot in _OF_MODELS or (kind is Kind.CONNECTOR and expected.key != "use" and ModelKeys not in expected.types)


def _files(view: PipelineView, endings: tuple[str, ...]) -> list[str]:
    """Return the files beside a pipeline that end so, by name; of thousands the first."""
    if not endings:
        return []
    try:
        found = [path for path in sorted(view.folder.iterdir()) if path.suffix in endings and path != view.path]
    except OSError:
        return []
    wanted = [path for path in found if ".yaml" not in endings or is_pipeline_file(path)]
    return [path.name for path in wanted[:_MOST_FILES]]


def _names(
    view: PipelineView,
    place: OutlinePlace,
    along: list[Expected],
    word: str,
    start: int,
    index: int,
    *,
    in_template: bool = False,
) -> Iterator[Suggestion]:
    """Yield what an expression or a template may read where a dotted word is begun."""
    first, dot, _ = word.rpartition(".")
    span = (start + len(first) + len(dot), index)
    in_template = in_template or (TemplateTextKeys, "text") == (along[-1].owner, along[-1].key)
    if first == "inputs":
        for name, entry in view.inputs().items():
            inner = entry.value if isinstance(entry.value, OutlineBlock) else None
            detail = (inner.scalar("description") if inner is not None else None) or "An input."
            yield _suggestion(name, "input", span, name, detail)
    elif first == "vars":
        for name in view.kept_names():
            yield _suggestion(name, "variable", span, name, "Kept by an earlier step with `as`.")
    elif not first:
        given = _variables(place) if in_template else []
        for name in given:
            yield _suggestion(name, "variable", span, name, "Given by `variables` of the step.")
        for name in ALWAYS_THERE if in_template else EXPRESSION_NAMES:
            yield _suggestion(name, "variable", span, name, NAMES[name])
    elif first == "item" and in_template:
        for name in _OF_ITEMS:
            yield _suggestion(name, "variable", span, name, "Of an item.")


def _variables(place: OutlinePlace) -> list[str]:
    """Return the names that the prompt step around a place gives its template."""
    for block, _ in reversed(place.chain):
        variables = block.block("variables")
        if variables is not None:
            return [name for name, _ in variables.items()]
    return []


def _begins_line(text: str, start: int) -> bool:
    """Tell whether nothing but blanks and dashes stands before an index on its line: a mapping may begin there."""
    line = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1
    return not text[line:start].strip(" \t-")


def _suggestion(
    label: str, sort: Sort, span: tuple[int, int], insert: str = "", detail: str = "", documentation: str = ""
) -> Suggestion:
    return Suggestion(
        label=label,
        insert=insert or label,
        sort=sort,
        start=span[0],
        end=span[1],
        detail=detail,
        documentation=documentation,
    )
