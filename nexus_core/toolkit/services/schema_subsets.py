"""JSON Schemas as services take them: without the keywords that one does not know, and never narrower than they were.

What is left out is validated all the same, by the engine. So a part may only be left out where the rest allows all that
the whole allows: under `not`, or of what `additionalProperties` goes by, less of a schema would be a narrower one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from attrs import define

_ANNOTATIONS = frozenset(
    {
        "$comment", "$id", "$schema", "contentEncoding", "contentMediaType", "contentSchema", "default", "deprecated",
        "description", "examples", "format", "readOnly", "title", "writeOnly",
    }
)  # fmt: skip
"""They allow and forbid nothing."""
_DEFINITIONS = frozenset({"$defs", "definitions"})
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"}) | _DEFINITIONS
_LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"})
_UNEVALUATED = ("unevaluatedItems", "unevaluatedProperties")
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "additionalProperties": ("properties", "patternProperties"),
    "items": ("prefixItems",),
    "contains": ("minContains",),
    "minContains": ("contains",),
    "maxContains": ("contains",),
    "then": ("if",),
    "else": ("if",),
}
"""What would mean something else without the others, where those are left out."""


def schema_for_service(schema: Mapping[str, Any], keywords: Collection[str]) -> dict[str, Any]:
    """Return what of a schema a service is given that knows `keywords` alone: it allows all that the schema allows."""
    found, is_exact = _Subset(keywords, True).of(schema)
    if not is_exact:  # what a `$ref` leads to may be less than it was, too
        found, _ = _Subset(keywords, False).of(schema)
    return dict(found)


@define
class _Subset:
    keywords: Collection[str]
    references_are_exact: bool

    def of(self, schema: Any) -> tuple[Any, bool]:
        """Return what is left of a schema, and whether it allows exactly the same."""
        if not isinstance(schema, Mapping):
            return schema, True
        found: dict[str, Any] = {}
        inexact = set[str]()
        for keyword, value in schema.items():
            name, kept, is_exact = self._keyword(keyword, value, schema)
            if name:
                found[name] = kept
            if not is_exact:
                inexact.add(keyword)
        silent = _ANNOTATIONS | _DEFINITIONS
        missing = {keyword for keyword in schema if keyword not in found and keyword not in silent}
        self._drop_dependent(found, missing, inexact)
        gone = {keyword for keyword in missing if not (keyword == "const" and "enum" in found)}
        return found, not gone and not inexact and (self.references_are_exact or "$ref" not in schema)

    def _keyword(self, keyword: str, value: Any, schema: Mapping[str, Any]) -> tuple[str, Any, bool]:
        """Return a keyword as it is sent (`""` is left out), its value, and whether it means the same."""
        if keyword == "const" and "const" not in self.keywords and "enum" in self.keywords and "enum" not in schema:
            return "enum", [value], True
        if keyword == "oneOf":
            return self._one_of(value, schema)
        if keyword not in self.keywords and not (keyword in _DEFINITIONS and "$ref" in self.keywords):
            return "", None, keyword in _ANNOTATIONS or keyword in _DEFINITIONS
        if keyword in _NAMED and isinstance(value, Mapping):
            parts = {name: self.of(part) for name, part in value.items()}
            return keyword, {name: part for name, (part, _) in parts.items()}, all(same for _, same in parts.values())
        if keyword in _LISTED and isinstance(value, list | tuple):
            listed = [self.of(part) for part in value]
            return keyword, [part for part, _ in listed], all(same for _, same in listed)
        if keyword in _SINGLE:
            part, is_exact = self.of(value)
            if keyword in ("not", "if") and not is_exact:
                return "", None, False
            return keyword, part, is_exact
        return keyword, value, keyword != "$dynamicRef" or self.references_are_exact

    def _one_of(self, value: Any, schema: Mapping[str, Any]) -> tuple[str, Any, bool]:
        parts = [self.of(part) for part in value]
        is_exact = all(same for _, same in parts)
        if is_exact and "oneOf" in self.keywords:
            return "oneOf", [part for part, _ in parts], True
        # Two parts that allow more may both allow what one of them did.
        if "anyOf" in self.keywords and "anyOf" not in schema:
            return "anyOf", [part for part, _ in parts], False
        return "", None, False

    def _drop_dependent(self, found: dict[str, Any], missing: set[str], inexact: set[str]) -> None:
        for keyword, others in _NEEDS.items():
            if keyword in found and missing.intersection(others):
                del found[keyword]
                missing.add(keyword)
        if "contains" in inexact and "maxContains" in found:
            del found["maxContains"]
            missing.add("maxContains")
        for keyword in _UNEVALUATED:
            if keyword in found and (missing or inexact or not self.references_are_exact):
                del found[keyword]
                missing.add(keyword)
