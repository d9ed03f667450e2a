"""Components of the OpenAPI document: what stands in it once, under a name, and is referred to wherever it is used.

A schema has its name in `title`, where `named` and `closed` of `json_schema` put it; parameters and failures are named
by the maker of the document. So generated clients have one type for each idea, with the same name in every version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCHEMA = frozenset({"items", "additionalProperties", "not", "contains", "propertyNames"})
"""Keywords of JSON Schema whose value is a schema, or a boolean."""
_LISTS = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})


class OpenAPIComponents:
    """Collects the components of one document."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Any]] = {"schemas": {}, "responses": {}, "parameters": {}}

    def schema(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return a schema with references in place of all that has a name; raises ValueError for two of one name."""
        found = {key: self._value(key, value) for key, value in schema.items() if key != "title"}
        return self.put("schemas", schema["title"], found) if "title" in schema else found

    def put(self, kind: str, name: str, component: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a component and return a reference to it; raises ValueError where its name is that of another one."""
        if self._kinds[kind].setdefault(name, component) != component:
            raise ValueError(f"the OpenAPI document has two different {kind} named {name!r}: give one another name")
        return {"$ref": f"#/components/{kind}/{name}"}

    def all(self) -> dict[str, dict[str, Any]]:
        """Return the components by kind and name, in the order of their names."""
        return {kind: dict(sorted(found.items())) for kind, found in self._kinds.items() if found}

    def _value(self, key: str, value: Any) -> Any:
        if key in _MAPS:
            return {name: self.schema(each) for name, each in value.items()}
        if key in _LISTS:
            return [self.schema(each) for each in value]
        return self.schema(value) if key in _SCHEMA and isinstance(value, Mapping) else value
