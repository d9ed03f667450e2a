"""Reads the query string of a request by the schemas that its route declares: each name once, none but those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from nexus_core.server.errors import Failure
from nexus_core.server.schemas import checker
from nexus_core.toolkit.suggest import did_you_mean


class Parameters:
    """What the query string of a route may hold."""

    def __init__(self, properties: Mapping[str, Mapping[str, Any]]) -> None:
        self.properties = properties
        self._checks = {name: checker(schema) for name, schema in properties.items()}

    def read(self, request: web.Request) -> dict[str, Any]:
        """Return what a query string says, by name; raises Failure for what it must not say."""
        found: dict[str, Any] = {}
        for name in request.query:
            schema = self.properties.get(name)
            if schema is None:
                known = did_you_mean(name, self.properties)
                raise Failure(400, "invalid_request", f"there is no parameter {name[:80]!r} here{known}")
            values = request.query.getall(name)
            if schema["type"] != "array" and len(values) > 1:
                raise Failure(400, "invalid_request", f"the parameter {name!r} stands twice in the address")
            value = values if schema["type"] == "array" else _value(name, values[0], schema)
            try:
                found[name] = self._checks[name](value)
            except Failure as error:
                said = error.message.replace("the body", "it").replace("data", "it")
                raise Failure(400, "invalid_request", f"the parameter {name!r}: {said}") from error
        return found


def _value(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    if schema["type"] != "integer":
        return text
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Failure(400, "invalid_request", f"the parameter {name!r} is no whole number")
    return int(text)
