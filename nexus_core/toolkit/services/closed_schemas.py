"""JSON Schemas for services whose grammars know closed objects only: Anthropic, and Amazon Bedrock. Pure.

Both document the same subset ("Structured outputs", section "JSON Schema limitations"; the function `transform_schema`
of the package `anthropic` makes it). Every object has just its properties, so what is sent may be narrower than what
was asked, and an answer to it is one to the whole as far as the keywords that are left out allow: the engine validates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus_core.toolkit.services.schema_subsets import schema_for_service

_KEYWORDS = frozenset({
    "$ref", "$defs", "definitions", "type", "enum", "const", "anyOf", "allOf", "title", "description", "properties",
    "required", "items", "minItems", "format",
})  # fmt: skip
_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_LEAST_ITEMS = (0, 1)
_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "allOf")
_BESIDE_REF = ("$ref", "$defs", "definitions")


def close_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema in the keywords of these services, with `additionalProperties: false` at every object."""
    closed: dict[str, Any] = _close(schema_for_service(schema, _KEYWORDS))
    return closed


def _close(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    kept = {keyword: value for keyword, value in part.items() if "$ref" not in part or keyword in _BESIDE_REF}
    if kept.get("format") not in _FORMATS:
        kept.pop("format", None)
    if kept.get("minItems") not in _LEAST_ITEMS:
        kept.pop("minItems", None)
    for keyword in _NAMED:
        if isinstance(kept.get(keyword), Mapping):
            kept[keyword] = {name: _close(inner) for name, inner in kept[keyword].items()}
    for keyword in _LISTED:
        if isinstance(kept.get(keyword), list | tuple):
            kept[keyword] = [_close(inner) for inner in kept[keyword]]
    if "items" in kept:
        kept["items"] = _close(kept["items"])
    kinds = kept.get("type", ())
    if "properties" in kept or "object" in ((kinds,) if isinstance(kinds, str) else kinds):
        kept["additionalProperties"] = False
    return kept
