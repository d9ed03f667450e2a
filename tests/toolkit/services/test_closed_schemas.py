"""Schemas for services that know closed objects only."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core.toolkit import close_schema

CLOSED = {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"type": "object", "additionalProperties": True}, CLOSED),
        ({"type": "string", "minLength": 1, "pattern": "^a", "format": "iri"}, {"type": "string"}),
        ({"type": "string", "format": "uuid"}, {"type": "string", "format": "uuid"}),
        (
            {"type": "array", "minItems": 1, "items": {"type": "object"}},
            {"type": "array", "minItems": 1, "items": CLOSED},
        ),
        ({"type": "array", "minItems": 2, "maxItems": 3}, {"type": "array"}),
        (
            {"anyOf": [{"type": ["object", "null"]}]},
            {"anyOf": [{"type": ["object", "null"], "additionalProperties": False}]},
        ),
        (
            {"$ref": "#/$defs/a", "description": "x", "$defs": {"a": {"properties": {}}}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {}, "additionalProperties": False}}},
        ),
    ],
    ids=["open", "text", "format", "one-item", "items", "union", "reference"],
)
def test_what_the_services_refuse_is_left_out(schema: dict[str, Any], sent: dict[str, Any]) -> None:
    """And every object is closed, however deep."""
    assert close_schema(schema) == sent
