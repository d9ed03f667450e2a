"""Checks a JSON Schema before anything is held to it: draft 2020-12, of bounded size, and nothing to fetch.

Whoever writes a schema may be a stranger, the client of a server. So what could take long is refused or bounded: its
size, depth and patterns here, by a regular expression engine that knows no catastrophes, and its work where values are
validated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any
from urllib.parse import unquote

from attrs import define, field

from nexus_core.contract.errors import UsageError
from nexus_core.structured.patterns import PatternError, compile_pattern, find_invalid

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MOST_BYTES = 256 * 1024
MOST_DEPTH = 64
MOST_NODES = 10_000
"""Values in it, at any depth."""
MOST_PATTERNS = 200
LONGEST_PATTERN = 1_000

_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_OF_THE_SAME_VALUE = frozenset((*_IN_PLACE_LISTS, *_IN_PLACE, "dependentSchemas"))
_OF_PARTS = ("additionalProperties", "propertyNames", "unevaluatedProperties", "items", "contains", "unevaluatedItems")
_OF_NAMES = ("properties", "patternProperties", "$defs", "definitions")
_REFERENCES = ("$ref", "$dynamicRef")

Path = tuple[str | int, ...]


class InvalidSchemaError(UsageError):
    """A JSON Schema is none, or none that is taken; `path` leads to the place in it."""

    def __init__(self, why: str, path: Path = ()) -> None:
        self.path = path
        at = f" at `{pointer(path)}`" if path else ""
        super().__init__(f"the JSON Schema cannot be used{at}: {why}")
        self.why = why


def pointer(path: Path) -> str:
    """Return a path as JSON Pointer (RFC 6901), of the whole value `""`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def check_schema(value: object) -> None:
    """Raise InvalidSchemaError where a value is no JSON Schema that answers can be held to."""
    if not isinstance(value, Mapping):
        raise InvalidSchemaError("it must be an object, as in {type: object, properties: ...}")
    _check_size(value)
    known = _Walk()
    known.add(value, ())
    known.check_references()
    known.check_circles()
    if (found := find_invalid(value)) is not None:
        raise InvalidSchemaError(*found)


def _check_size(schema: Mapping[str, Any]) -> None:
    nodes, level = 1, [((), schema)]
    for _ in range(MOST_DEPTH):
        if not level:
            break
        level = [child for path, node in level for child in _children(path, node)]
        nodes += len(level)
        if nodes > MOST_NODES:
            raise InvalidSchemaError(f"it has more than {MOST_NODES:,} values")
    if level:
        raise InvalidSchemaError(f"it is nested more than {MOST_DEPTH} levels deep")
    try:
        size = len(json.dumps(schema, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError):
        raise InvalidSchemaError("it holds something that is no JSON") from None
    if size > MOST_BYTES:
        raise InvalidSchemaError(f"it is larger than {MOST_BYTES // 1024} KiB")


def _children(path: Path, node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if not isinstance(key, str):
                raise InvalidSchemaError(f"a key must be a text, and not {key!r}", path)
            yield (*path, key), value
    elif isinstance(node, list | tuple):
        yield from (((*path, index), value) for index, value in enumerate(node))


@define(eq=False, repr=False)
class _Walk:
    """The schemas within a schema, by their paths; what is data in it (`const`, `enum`, `default`) is not looked at."""

    schemas: dict[Path, Any] = field(factory=dict)
    anchors: dict[str, Path] = field(factory=dict)
    by_pointer: dict[str, Path] = field(factory=dict)
    patterns: int = 0

    def add(self, schema: Any, path: Path) -> None:
        """Note a schema with all that are within it; what is wrong with its form is found elsewhere."""
        self.schemas[path] = schema
        self.by_pointer[pointer(path)] = path
        if not isinstance(schema, Mapping):
            return
        self._check_identity(schema, path)
        if isinstance(pattern := schema.get("pattern"), str):
            self._check_pattern(pattern, (*path, "pattern"))
        for pattern in _mapping(schema.get("patternProperties")):
            self._check_pattern(pattern, (*path, "patternProperties", pattern))
        for key, value in _subschemas(schema):
            self.add(value, path + key)

    def _check_identity(self, schema: Mapping[str, Any], path: Path) -> None:
        if path and ("$id" in schema or "$schema" in schema):
            raise InvalidSchemaError("`$id` and `$schema` stand at the top alone: use `$defs` and `$ref`", path)
        if (dialect := schema.get("$schema", DIALECT)) not in (DIALECT, DIALECT + "#"):
            said = str(dialect)[:100]
            raise InvalidSchemaError(f"it is read by draft 2020-12, and `$schema` says {said}: remove it", ("$schema",))
        if "unevaluatedProperties" in schema and "patternProperties" in schema:
            raise InvalidSchemaError(
                "`unevaluatedProperties` beside `patternProperties` is not taken: use `additionalProperties`", path
            )
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(name := schema.get(keyword), str):
                self.anchors[name] = path

    def _check_pattern(self, pattern: str, path: Path) -> None:
        self.patterns += 1
        if self.patterns > MOST_PATTERNS:
            raise InvalidSchemaError(f"it has more than {MOST_PATTERNS} patterns")
        if len(pattern) > LONGEST_PATTERN:
            raise InvalidSchemaError(f"a pattern has at most {LONGEST_PATTERN:,} characters", path)
        try:
            compile_pattern(pattern)
        except PatternError:
            raise InvalidSchemaError("it is no regular expression, or one too large to be compiled", path) from None

    def check_references(self) -> None:
        """Raise InvalidSchemaError for a reference to another document, or to nothing in this one."""
        for path, schema in self.schemas.items():
            for keyword in _REFERENCES:
                if isinstance(schema, Mapping) and isinstance(uri := schema.get(keyword), str):
                    if not uri.startswith("#"):
                        message = f"`{keyword}` leads to another document, and none is fetched: copy it into `$defs`"
                        raise InvalidSchemaError(message, (*path, keyword))
                    if self.target(uri) is None:
                        raise InvalidSchemaError(f"`{keyword}` leads to no schema in it", (*path, keyword))

    def target(self, uri: str) -> Path | None:
        """Return the path of the schema that a reference leads to."""
        place = unquote(uri[1:])
        return self.by_pointer.get(place) if place.startswith("/") or not place else self.anchors.get(place)

    def check_circles(self) -> None:
        """Raise InvalidSchemaError where a value must match a schema that is, on the way, itself a part of it."""
        parts = {path: self._in_place(path, schema) for path, schema in self.schemas.items()}
        try:
            order = [*TopologicalSorter(parts).static_order()]
        except CycleError as error:
            raise InvalidSchemaError("it refers to itself without end", min(error.args[1], key=len)) from None
        depth: dict[Path, int] = {}
        for path in order:
            depth[path] = 1 + max([depth[part] for part in parts[path]], default=0)
            if depth[path] > MOST_DEPTH:
                raise InvalidSchemaError(f"a reference leads through more than {MOST_DEPTH} others", path)

    def _in_place(self, path: Path, schema: Any) -> set[Path]:
        if not isinstance(schema, Mapping):
            return set()
        found = {path + key for key, _ in _subschemas(schema) if key[0] in _OF_THE_SAME_VALUE}
        uris = [uri for keyword in _REFERENCES if isinstance(uri := schema.get(keyword), str)]
        return found | {target for uri in uris if (target := self.target(uri)) is not None}


def _subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    for keyword in (*_IN_PLACE, *_OF_PARTS):
        if keyword in schema:
            yield (keyword,), schema[keyword]
    for keyword in (*_IN_PLACE_LISTS, "prefixItems"):
        parts = schema.get(keyword)
        for index, part in enumerate(parts if isinstance(parts, list | tuple) else ()):
            yield (keyword, index), part
    for keyword in (*_OF_NAMES, "dependentSchemas"):
        for name, part in _mapping(schema.get(keyword)).items():
            yield (keyword, name), part


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
