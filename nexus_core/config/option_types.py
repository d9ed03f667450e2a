"""The types an option may have: how to take one apart, and how to say it in words."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from nexus_core.contract.components import Kind
from nexus_core.contract.protocols import Connector, Ranker, Sink, Source, Template, Tool
from nexus_core.contract.run_context import CallablePipeline
from nexus_core.toolkit.secrets import Secret

_KINDS: tuple[tuple[Any, Kind], ...] = (
    (Connector, Kind.CONNECTOR),
    (Ranker, Kind.RANKER),
    (Template, Kind.TEMPLATE),
    (Sink, Kind.SINK),
    (Source, Kind.SOURCE),
    (Tool, Kind.TOOL),
)
LEAVES = (str, int, float, bool, Secret)
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Secret: "a secret text"}
_PLURALS = {str: "texts", int: "whole numbers", float: "numbers", bool: "booleans", Secret: "secret texts"}


def kind_of(annotation: Any) -> Kind | None:
    """Return the kind of component that an annotation asks for, if it asks for one."""
    return next((kind for protocol, kind in _KINDS if protocol is annotation), None)


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union without `None`, or the annotation itself."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return (annotation,)
    return tuple(part for part in get_args(annotation) if part is not type(None))


def allows_none(annotation: Any) -> bool:
    """Tell whether a value may be left empty."""
    return annotation in (Any, None, type(None)) or type(None) in get_args(annotation)


def choices(annotation: Any) -> tuple[Any, ...] | None:
    """Return the values of a Literal."""
    return get_args(annotation) if get_origin(annotation) is Literal else None


def element(annotation: Any) -> Any | None:
    """Return the type of a list's entries, or `None` where the annotation is no list."""
    if (get_origin(annotation) or annotation) not in (tuple, list, Sequence):
        return None
    return next(iter(get_args(annotation)), Any)


def is_mapping(annotation: Any) -> bool:
    """Tell whether the annotation is a mapping with keys of the user's choice."""
    return (get_origin(annotation) or annotation) in (dict, Mapping)


def mapped(annotation: Any) -> Any:
    """Return the type of a mapping's values."""
    return next(iter(get_args(annotation)[1:]), Any)


def is_record(annotation: Any) -> bool:
    """Tell whether the annotation is an attrs class with options of its own."""
    return isinstance(annotation, type) and attrs.has(annotation) and annotation is not CallablePipeline


def words(annotation: Any) -> str:
    """Return a type as messages and tables name it: `a whole number`, `a list of texts`, `passage or item`."""
    parts = [_one(part) for part in alternatives(annotation)]
    return " or ".join(dict.fromkeys(parts)) if parts else "nothing"


def any_of(names: Sequence[str]) -> str:
    """Return names as a choice: `cut, skip or stop`; what is said with no text is said by leaving it out."""
    names = [name for name in names if name]
    return " or ".join([part for part in (", ".join(names[:-1]), names[-1]) if part]) if names else "nothing"


def _one(annotation: Any) -> str:
    if annotation in LEAVES:
        return _WORDS[annotation]
    kind, values, entry = kind_of(annotation), choices(annotation), element(annotation)
    if kind is not None:
        return f"a {kind.word}"
    if annotation is CallablePipeline:
        return "a pipeline's file"
    if values is not None:
        return any_of([str(value) for value in values])
    if entry is not None:
        return f"a list of {_many(entry)}"
    if is_mapping(annotation):
        return f"a mapping of {_many(mapped(annotation))}"
    return "a mapping" if is_record(annotation) else "any value"


def _many(annotation: Any) -> str:
    kind = kind_of(annotation)
    if kind is not None:
        return kind.value
    return _PLURALS.get(annotation, "mappings" if is_record(annotation) else "values")
