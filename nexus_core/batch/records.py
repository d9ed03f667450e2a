"""Batch records: one question each, out of one line or row of an input file, checked before anything runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from hashlib import sha256
from typing import Any

from attrs import field, frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Value
from nexus_core.toolkit.suggest import did_you_mean, listed

KEYS = ("id", "query", "inputs", "context", "conversation")
LONGEST_ID = 200
"""Characters of an id."""
_HASH_DIGITS = 20


@frozen(kw_only=True, eq=False)
class BatchRecord(Value):
    """One question of a batch."""

    id: str
    """Unique in the batch: given, or made of the content."""
    query: str
    inputs: Mapping[str, Any] = field(factory=dict)
    context: str | None = None
    """The context that is asked, where the pipeline names none."""
    conversation: str | None = None
    """Records of one conversation run in the order of the input, each with the ones before as its history."""
    has_own_id: bool = True

    def payload(self) -> str:
        """Return it as the JSON text that a journal keeps."""
        return _written({"query": self.query, "inputs": dict(self.inputs), "context": self.context})

    @classmethod
    def from_payload(cls, id: str, payload: str, conversation: str | None) -> BatchRecord:
        """Return the record that a journal has kept."""
        return cls(id=id, conversation=conversation, **json.loads(payload))


def parse_record(data: Mapping[str, Any]) -> BatchRecord:
    """Return the record that a line or row describes; raises UsageError that says what is wrong with it."""
    for key in data:
        if key not in KEYS:
            hint = did_you_mean(str(key), KEYS)
            if "query" not in data and "'query'" not in hint:
                hint = ", is it the `query`?"
            raise UsageError(f"unknown key {key!r}{hint}; a record has {listed(KEYS)}")
    query, inputs = data.get("query"), data.get("inputs")
    if not isinstance(query, str) or not query.strip():
        raise UsageError("`query` is missing: each record needs one, a text that is not blank")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise UsageError(f"`inputs` is {_shown(inputs)}: give a mapping from names to values")
    record = BatchRecord(
        id="",
        query=query,
        inputs=inputs or {},
        context=_text(data, "context"),
        conversation=_text(data, "conversation"),
    )
    try:
        _written([record.query, record.inputs, record.context, record.conversation, data.get("id")]).encode()
    except UnicodeEncodeError:
        raise UsageError("it holds half of a surrogate pair (\\ud800 to \\udfff alone), which is no text") from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"its `inputs` are no JSON: {error}") from None
    id = data.get("id")
    if id is None or id == "":
        return _with_id(record, _content_id(record), own=False)
    if isinstance(id, bool) or not isinstance(id, str | int):
        raise UsageError(f"`id` is {_shown(id)}: give a text or a whole number")
    if len(str(id)) > LONGEST_ID:
        raise UsageError(f"`id` has {len(str(id)):,} characters, at most {LONGEST_ID} are taken")
    return _with_id(record, str(id), own=True)


def _with_id(record: BatchRecord, id: str, *, own: bool) -> BatchRecord:
    return BatchRecord(
        id=id,
        query=record.query,
        inputs=record.inputs,
        context=record.context,
        conversation=record.conversation,
        has_own_id=own,
    )


def _content_id(record: BatchRecord) -> str:
    """Return an id that equal records share, whatever the order of their keys."""
    told = [record.query, record.inputs, record.context, record.conversation]
    return sha256(_written(told, in_order=True).encode()).hexdigest()[:_HASH_DIGITS]


def _written(data: Any, *, in_order: bool = False) -> str:
    return json.dumps(
        data, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=in_order, default=_plain
    )


def _plain(value: Any) -> str:
    """Return a value that Parquet has and JSON has not as text."""
    if isinstance(value, date | time | Decimal):  # a datetime is a date
        return value.isoformat() if not isinstance(value, Decimal) else str(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be handed to a pipeline")


def _text(data: Mapping[str, Any], key: str) -> str | None:
    value = data.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise UsageError(f"`{key}` is {_shown(value)}: give a text")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
