"""Holds the text of an answer to a JSON Schema: the value that it is, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from nexus_core.structured.json_answers import NotJsonError, read_json_answer
from nexus_core.structured.schema_validator import SchemaMismatch, validator_of

_INSTRUCTIONS = (
    "Answer with JSON alone, without a code fence and without any text before or after it. The JSON must match this "
    "JSON Schema:"
)


@frozen(kw_only=True, eq=False)
class StructuredAnswer:
    """An answer that matches its schema."""

    value: Any
    """Of JSON."""
    text: str
    """Its JSON: what the model wrote, or what was repaired of it."""
    repaired: bool


def read_answer(text: str, schema: Mapping[str, Any], *, is_whole: bool = True) -> StructuredAnswer | SchemaMismatch:
    """Return the value of an answer, or where and how it is not what its schema asks for.

    One that is not whole, since its tokens were used up, is never repaired. Raises InvalidSchemaError.
    """
    validator = validator_of(schema)
    try:
        answer = read_json_answer(text, may_repair=is_whole)
    except NotJsonError as error:
        cut = "" if is_whole else ", and was cut where its tokens were used up: raise `max_tokens`"
        return SchemaMismatch(pointer="", expected=f"JSON ({error}){cut}")
    mismatch = validator.find_mismatch(answer.value)
    if mismatch is not None:
        return mismatch
    return StructuredAnswer(value=answer.value, text=answer.text, repaired=answer.repaired)


def describe_schema(schema: Mapping[str, Any]) -> str:
    """Return what a model is told of a schema whose service cannot hold to one."""
    return f"{_INSTRUCTIONS}\n{json.dumps(schema, ensure_ascii=False, separators=(',', ':'))}"
