"""Values are checked as fastjsonschema checks them, by all schemas that bodies are checked by."""

from __future__ import annotations

import json
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given, settings, strategies as st

from nexus_core.server.api import contexts, conversations, items, keys, models, runs
from nexus_core.server.http.json_schema import QUERY
from nexus_core.server.http.schema_check import ValueMismatch, schema_check
from nexus_core.server.mcp import mcp_api
from nexus_core.server.openai import chat_schema, embeddings
from nexus_core.server.openai.response_schema import REQUEST

SCHEMAS = {
    "query": QUERY,
    "chat": chat_schema.CHAT,
    "response": REQUEST,
    "embeddings": embeddings.REQUEST,
    "approval": runs.APPROVAL,
    "change": conversations.CHANGE,
    "rating": conversations.RATING,
    "default": models.DEFAULT,
    "context": contexts.NEW,
    "grant": contexts.GRANT,
    "items": items.ADD,
    "search": items.SEARCH,
    "tag": items.TAG,
    "key": keys.NEW_KEY,
    "limits": keys.NEW_LIMITS,
    "rotation": keys.ROTATION,
    "view": keys.VIEW,
    "mcp": mcp_api.MESSAGE,
    "rules": {"anyOf": [{"const": True}, {"enum": [0, "a", None]}, {"type": ["boolean", "integer"], "minimum": 2}]},
}
ODD = st.sampled_from([None, True, False, 0, 1, 2, -1, 3.0, 0.5, 1e300, "", "a", "user", [], [1], {}, {"a": 1}])


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Return values that often match a schema, and often do not in one place."""
    kind = schema.get("type")
    kinds = [kind] if isinstance(kind, str) else kind or []
    found = [values(each) for each in schema.get("anyOf", ())]
    found += [st.sampled_from(schema["enum"])] if "enum" in schema else []
    found += [st.just(schema["const"])] if "const" in schema else []
    if "array" in kinds or "items" in schema:
        found.append(st.lists(values(schema.get("items", {})), max_size=3))
    if "object" in kinds or "properties" in schema:
        inner = {name: values(each) for name, each in schema.get("properties", {}).items()} | {"unknown": st.just(1)}
        needed = {name: inner[name] for name in schema.get("required", ())}
        whole = st.fixed_dictionaries(needed, optional={name: inner[name] for name in inner.keys() - needed.keys()})
        found += [whole, st.fixed_dictionaries({}, optional=inner)]
    if "string" in kinds:
        found.append(st.text("ab", max_size=schema.get("maxLength", 5) + 1 if schema.get("maxLength", 9) < 9 else 5))
    if {"integer", "number"} & {*kinds}:
        found.append(st.sampled_from([1, 5, 2.0, 0.5, schema.get("minimum", 0), schema.get("maximum", 9)]))
    return st.one_of(*found, ODD) if found else ODD


def theirs(check: Any, value: Any) -> tuple[str, str] | None:
    """Return where and by which rule fastjsonschema finds a value wrong."""
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException as error:
        name = error.name or ""
        return name.removeprefix("data"), f"{error.rule}: {error.message.removeprefix(name).strip()}"
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_the_same_values_match_and_the_same_is_wrong_with_others(name: str) -> None:
    """Place, rule and words are the same, but within alternatives, where the one that was meant tells what is wrong."""
    schema = SCHEMAS[name]
    ours, other = schema_check(schema), fastjsonschema.compile(json.loads(json.dumps(schema)), use_default=False)

    @settings(max_examples=60, deadline=None)
    @given(values(schema))
    def compare(value: Any) -> None:
        expected = theirs(other, value)
        try:
            ours(value)
        except ValueMismatch as error:
            assert expected is not None
            where, said = expected
            if said.startswith("anyOf"):
                assert error.where.startswith(where)
            else:
                assert error.where == where
                assert error.rule == said.partition(":")[0]
                if error.message and not error.rule.endswith(("Items", "Properties")):  # 1 item is no items
                    assert f"{error.rule}: {error.message}" == said
        else:
            assert expected is None

    compare()


def test_a_schema_with_a_rule_that_is_not_known_is_refused() -> None:
    """It would be checked by less than it says otherwise."""
    with pytest.raises(ValueError, match="no check is known for pattern"):
        schema_check({"type": "object", "properties": {"a": {"type": "string", "pattern": "a"}}})
    with pytest.raises(ValueError, match="additionalProperties"):
        schema_check({"additionalProperties": {"type": "string"}})


async def test_every_body_and_parameter_of_a_route_can_be_checked(start: Any) -> None:
    """No schema has a rule that is not known, which only its first value would show."""
    routes = (await start()).server.routes()
    schemas = [each for route in routes for each in (route.body, *route.query.values()) if each is not None]
    assert len(schemas) > 40
    for schema in schemas:
        schema_check(schema)
