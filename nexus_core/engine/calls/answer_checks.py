"""Answer checks: it says something, its tool calls are whole, it is known why it ended, and it matches its schema."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nexus_core import structured
from nexus_core.contract.errors import ConnectorError, ContentFilterError, EmptyAnswerError, SchemaMismatchError
from nexus_core.contract.values import CallOptions, Completion, Usage
from nexus_core.engine.calls.attempt import Attempt
from nexus_core.engine.calls.stream_accumulator import check_tool_calls
from nexus_core.engine.models import Model
from nexus_core.toolkit.text.segmentation import is_blank

_log = logging.getLogger(__name__)

_UNREADABLE_USAGE = "usage without counts"


def check_answer(completion: Completion, attempt: Attempt) -> None:
    """Raise the ConnectorError that an answer is in truth."""
    target = attempt.target
    if completion.tool_calls:
        check_tool_calls(completion, target.model)
    if completion.native_finish_reason and target.is_news(completion.native_finish_reason):
        _log.warning(
            "model %r ended an answer with %r, a finish reason that nobody knows: the answer may not be whole",
            target.model.name,
            completion.native_finish_reason,
        )
    if _is_unreadable(completion.usage) and target.is_news(_UNREADABLE_USAGE):
        _log.warning(
            "the service of model %r tells a usage that holds no counts: its tokens are estimated", target.model.name
        )
    parent = attempt.parent
    # What another target has begun needs no more text.
    if is_blank(completion.text) and not completion.tool_calls and not parent.written:
        why = _emptiness(completion, attempt.options)
        allowed = target.model.allow_empty or parent.call.allow_empty
        if why and (completion.native_finish_reason or not allowed):
            raise _empty(why, completion, target.model)
    schema = parent.call.options.response_schema
    if schema is not None and not completion.tool_calls:
        attempt.structured = _held_to(schema, completion, attempt)


def _held_to(schema: Mapping[str, Any], completion: Completion, attempt: Attempt) -> structured.StructuredAnswer:
    model, reason = attempt.target.model, completion.finish_reason
    about: dict[str, Any] = {"provider": model.info.provider, "model": model.info.id, "transfer": completion.transfer}
    if reason == "content_filter":
        message = f"the model {model.name!r} refused to answer, or its service filtered a part of the answer"
        raise ContentFilterError(message, code=completion.native_finish_reason or reason, **about)
    is_whole = reason != "length"
    found = structured.read_answer(attempt.parent.written + completion.text, schema, is_whole=is_whole)
    if isinstance(found, structured.StructuredAnswer):
        return found
    message = f"the answer of {model.name!r} does not match its JSON Schema: {found}"
    # With the same most of tokens it would be cut again.
    error = SchemaMismatchError(message, should_retry=None if is_whole else False, **about)
    error.pointer, error.expected = found.pointer, found.expected
    raise error


def _is_unreadable(usage: Usage) -> bool:
    """Tell whether a connector could make nothing of the usage, see `nexus_core.toolkit.read_usage`."""
    return usage.source == "estimated" and usage.prompt_tokens is None and usage.completion_tokens is None


def _emptiness(completion: Completion, options: CallOptions) -> str:
    """Return why an answer without text is none, empty where it is one."""
    thought = completion.reasoning or completion.usage.reasoning_tokens
    match completion.finish_reason:
        case "stop" if completion.native_finish_reason:
            return f"it has no text and ended with the unknown finish reason {completion.native_finish_reason!r}"
        case "stop" if options.stop:
            return ""  # a text of the caller's may have ended it at once
        case "stop":
            return "it thought and said nothing" if thought else "it has no text"
        case "length" if thought:
            return "all of its tokens went into thinking: raise max_tokens"
        case "length":
            return ""  # the finish reason says it
        case "content_filter":
            return "the service filtered all of it"
    return "it announces tool calls and has none"


def _empty(why: str, completion: Completion, model: Model) -> ConnectorError:
    reason = completion.finish_reason
    kind = ContentFilterError if reason == "content_filter" else EmptyAnswerError
    return kind(
        f"the answer of {model.name!r} is empty: {why}",
        provider=model.info.provider,
        model=model.info.id,
        code=completion.native_finish_reason or reason,
        # The same prompt would be thought about as long again.
        should_retry=False if reason == "length" else None,
        transfer=completion.transfer,
    )
