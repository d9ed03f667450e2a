"""Bodies of errors: words, codes, status and limits, wherever they stand, and errors with a good status."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import ContextLengthError, OverloadedError, QuotaError, RateLimitError
from nexus_core.toolkit import classify_error, holds_error, is_only_error, parse_error_body, read_error_body

SAID = "The words of the service"
INNER = {"error": {"message": SAID}}
SHAPES: list[Any] = [
    {"error": {"message": SAID}},
    {"error": SAID},
    {"error": [SAID]},
    {"message": SAID},
    {"Message": SAID},
    {"msg": SAID, "code": 1},
    {"detail": SAID},
    {"detail": {"message": SAID}},
    {"detail": [{"loc": ["body"], "msg": SAID, "input": {"a": 1}}]},
    {"title": "Too Many", "detail": SAID, "status": 429},
    {"success": False, "errors": [{"message": SAID, "code": 5006}], "result": {}},
    {"errors": [SAID]},
    {"errors": {"message": SAID}},
    {"fault": {"faultstring": SAID, "detail": {"errorcode": "policies.x"}}},
    {"base_resp": {"status_code": 1, "status_msg": SAID}},
    {"error_msg": SAID, "error_code": 336},
    {"error": "invalid_token", "error_description": SAID},
    {"errorMessage": SAID, "errorType": "Runtime"},
    {"Error": {"Message": SAID, "Code": "X"}},
    {"Response": {"Error": {"Message": SAID, "Code": "X"}}},
    {"ResponseMetadata": {"Error": {"Message": SAID}}},
    {"header": {"code": 10907, "message": SAID}},
    {"error": {"error": {"message": SAID}}},
    {"error": {"message": {"message": SAID}}},
    {"error": {"errors": [{"reason": "x", "message": SAID}]}},
    {"error": {"innererror": {"message": SAID}}},
    {"error": {"details": SAID}},
    {"error": {"message": "Bad", "reason": SAID}},
    {"status": {"code": 3, "message": SAID}},
    {"choices": [{"error": {"message": SAID}}]},
    {"choices": [{"message": {"content": "", "error": {"message": SAID}}}]},
    {"response": {"error": {"message": SAID}}},
    {"data": {"error": {"message": SAID}}},
    {"exception": SAID},
    {"hint": SAID},
    {"a": {"b": [{"c": SAID}]}},
    {"error": {"message": "Provider returned error", "metadata": {"raw": SAID}}},
    {"error": {"message": "Provider returned error", "metadata": {"raw": json.dumps(INNER)}}},
    {"error": {"message": json.dumps(INNER)}},
    {"error": json.dumps({"message": SAID})},
    {"error": {"message": f"litellm.BadRequestError: OpenAIException - Error code: 400 - {INNER!r}"}},
    {"error": {"message": f"b'{json.dumps(INNER)}'"}},
    [INNER],
]
WRAPPINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "byte-order-mark": lambda text: "\ufeff" + text,
    "blank-lines": lambda text: "\n\n   " + text,
    "list": lambda text: f"[{text}]",
    "nan": lambda text: f'{{"x": NaN, "error": {text}}}',
    "comma": lambda text: text[:-1] + "," + text[-1],
    "event": lambda text: f"event: error\ndata: {text}\n\n",
    "events": lambda text: f": ping\n\ndata: {text}\n\ndata: [DONE]\n\n",
    "trailing": lambda text: text + "\n\nmore",
    "twice": lambda text: text + "\n" + text,
    "as-text": json.dumps,
    "in-a-sentence": lambda text: "Upstream failed: " + text,
    "python": lambda text: repr(json.loads(text)),
}


def read(data: str) -> Any:
    return read_error_body(parse_error_body(data.encode()))


def is_json_line(data: str) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return "\n" not in data


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape)[:40])
def test_words_are_found_in_every_shape(shape: Any) -> None:
    """Whatever the vendor calls it, and what a gateway wrapped it into."""
    assert SAID in read(json.dumps(shape)).message


@given(st.sampled_from(SHAPES), st.sampled_from(list(WRAPPINGS.values())), st.sampled_from(list(WRAPPINGS.values())))
@settings(max_examples=300, deadline=None)
def test_words_are_found_in_every_wrapping(
    shape: Any, first: Callable[[str], str], second: Callable[[str], str]
) -> None:
    """JSON that is not quite JSON, events, and lists: one within the other where that is JSON still."""
    data = first(json.dumps(shape))
    assert SAID in read(second(data) if is_json_line(data) else data).message


@pytest.mark.parametrize(
    ("page", "message", "codes"),
    [
        ("<html><head><title>524: A timeout", "", ()),
        ("<!DOCTYPE html><html><title>\n 502 Bad  Gateway\n</title>", "502 Bad Gateway", ()),
        ("<html><title>524: A timeout occurred</title></html>", "524: A timeout occurred", ()),
        ("<h1>Bad &amp; Gateway</h1>", "Bad & Gateway", ()),
        (
            "<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>",
            "Reduce your rate.",
            ("SlowDown",),
        ),
        ("<html>", "", ()),
    ],
)
def test_words_of_pages_and_xml_are_read(page: str, message: str, codes: tuple[str, ...]) -> None:
    """The title of a page, and the code and message of XML; no tags."""
    body = read(page)
    assert (body.message, body.codes) == (message, codes)


def test_input_that_is_quoted_back_is_no_word_of_the_service() -> None:
    """FastAPI repeats what was sent."""
    body = read_error_body({"detail": [{"msg": "too short", "input": "The secret plan"}]})
    assert body.message == "too short"


def test_codes_stand_from_the_innermost_to_the_outermost() -> None:
    """The vendor's own code is more precise than its gateway's."""
    raw = json.dumps({"error": {"code": "context_length_exceeded", "type": "invalid_request_error"}})
    body = read_error_body({"error": {"message": "no", "type": "gateway_error", "metadata": {"raw": raw}}})
    assert body.codes == ("context_length_exceeded", "invalid_request_error", "gateway_error")


@pytest.mark.parametrize(
    ("payload", "status", "expected"),
    [
        ({"error": {"code": 429, "message": "no"}}, 200, RateLimitError),
        ({"error": {"code": "429", "message": "no"}}, 502, RateLimitError),
        ({"error": {"message": "Error code: 429 - no"}}, 500, RateLimitError),
        ({"error": {"code": 503, "message": "no"}}, 400, OverloadedError),
        ({"status": "449", "msg": "no", "body": None}, 200, RateLimitError),
        ({"error": {"code": 400, "message": "no"}}, 503, OverloadedError),
    ],
)
def test_a_precise_status_in_the_body_counts(payload: Any, status: int, expected: type[Exception]) -> None:
    """Where the gateway's own says little, and not elsewhere."""
    assert classify_error(read_error_body(payload), status) is expected


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (["GenerateRequestsPerDayPerProjectPerModel-FreeTier"], QuotaError),
        (["GenerateRequestsPerMinutePerProjectPerModel-FreeTier"], RateLimitError),
        (["GenerateContentInputTokensPerModelPerMinute", "GenerateRequestsPerDayPerProject"], QuotaError),
    ],
)
def test_the_period_of_a_limit_tells_a_quota(limits: list[str], expected: type[Exception]) -> None:
    """Google says of both that the current quota is exceeded, and asks to come back in half a minute."""
    details = [{"violations": [{"quotaId": limit} for limit in limits]}, {"retryDelay": "34s"}]
    error = {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"}
    body = read_error_body([{"error": {**error, "details": details}}])
    assert (classify_error(body, 429), body.limits, body.retry_after_s) == (expected, tuple(limits), 34.0)


ANSWER = {"choices": [{"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    "error",
    [None, {}, [], "", False, "null", [{}], {"message": ""}, {"message": "", "type": "", "param": "", "code": None},
     {"code": 0}, {"code": "0", "message": "success"}, {"code": 200, "message": "OK"}],
    ids=str,
)  # fmt: skip
def test_an_error_without_content_is_none(error: Any) -> None:
    """Services fill in their whole schema beside a good answer."""
    assert not holds_error({**ANSWER, "error": error})
    assert not holds_error({**ANSWER, "errors": error})


@pytest.mark.parametrize(
    "payload",
    [
        {**ANSWER, "error": "no"},
        {**ANSWER, "error": {"code": 429}},
        {**ANSWER, "error": {"error": {"message": "no"}}},
        {**ANSWER, "errors": [{"message": "no"}]},
        {"choices": [{"message": {"content": ""}, "error": {"code": 429}}]},
        {"choices": [{"delta": {"error": {"message": "no"}}}]},
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
        {"object": "error", "message": "no"},
        {"type": "error", "error": {}},
        [{"error": {"code": 503}}],
    ],
    ids=str,
)
def test_an_error_with_content_is_one(payload: Any) -> None:
    """At the top, in a choice, or as a state beside it."""
    assert holds_error(payload)


@pytest.mark.parametrize(
    "payload",
    [
        {"message": "The service is under maintenance"},
        {"status": "449", "msg": "no more", "body": None},
        {"detail": "no"},
        {"code": 500, "msg": "no", "traceId": "1"},
        {"message": "Too many requests", "type": "rate_limit_error", "code": 429},
        {"data": {"error": {"message": "no"}}},
        {"choices": [], "code": "no", "message": "no"},
    ],
    ids=str,
)
def test_a_body_of_nothing_but_words_is_an_error(payload: Any) -> None:
    """Where there is no answer in it."""
    assert is_only_error(payload)


@pytest.mark.parametrize(
    "payload",
    [
        {"usage": {"total_tokens": 1}},
        {"type": "ping"},
        {"choices": []},
        {"status": "processing", "message": "waiting for a slot"},
        {"object": "info", "message": "queued"},
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
        {"object": "list", "data": [{"object": "embedding", "embedding": [1.0], "index": 0}], "model": "m"},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "no more requests"}},
        {"type": "response.created", "response": {"error": None, "status": "in_progress", "instructions": "be good"}},
        {"type": "message_start", "message": {"content": [{"type": "text", "text": "too many requests"}]}},
        {"annotations": [{"title": "Rate limit exceeded", "url": "x"}]},
    ],
    ids=str,
)
def test_other_events_are_no_errors(payload: Any) -> None:
    """Counts, pings, and parts of answers, whatever their words."""
    assert not holds_error(payload)
    assert not is_only_error(payload)


def test_a_nested_code_counts_in_a_stream() -> None:
    """An error in the middle of a good answer keeps its class."""
    payload = {"choices": [{"error": {"code": 400, "message": "maximum context length is 8192 tokens"}}]}
    assert classify_error(read_error_body(payload), 200) is ContextLengthError
