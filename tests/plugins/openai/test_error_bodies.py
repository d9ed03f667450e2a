"""Error bodies of all services: which class they become, what the message says, and what it never shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import (
    AuthError,
    ConflictError,
    ConnectorError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from nexus_core.testing.upstream import (
    HalfClose,
    completion,
    error_body,
    http_answer,
    http_head,
    json_answer,
)
from nexus_core.toolkit import classify_error, read_error_body


def openai_error(code: str | None, message: str = "no", kind: str = "invalid_request_error") -> dict[str, Any]:
    return error_body(message, code=code, type=kind)


AZURE_FILTER = {
    "error": {"code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}
}
REFUSALS: dict[str, tuple[int, Any, type[ConnectorError]]] = {
    "openai-key": (401, openai_error("invalid_api_key"), AuthError),
    "openai-no-key": (401, openai_error(None, "You didn't provide an API key."), AuthError),
    "openai-region": (403, openai_error("unsupported_country_region_territory", kind="request_forbidden"), AuthError),
    "openai-model": (404, openai_error("model_not_found"), ModelNotFoundError),
    "openai-param": (400, openai_error("unsupported_parameter"), InvalidRequestError),
    "openai-rate": (429, openai_error("rate_limit_exceeded", kind="tokens"), RateLimitError),
    "openai-server": (500, openai_error(None, kind="server_error"), ServerError),
    "openai-engine": (503, openai_error(None, kind="server_error"), OverloadedError),
    "openai-flagged": (400, openai_error("invalid_prompt"), ContentFilterError),
    "2-quota": (429, openai_error("insufficient_quota", kind="insufficient_quota"), QuotaError),
    "2-quota-by-type": (429, openai_error(None, kind="insufficient_quota"), QuotaError),
    "2-credit": (429, openai_error("credit_balance_exhausted"), QuotaError),
    "2-project": (429, openai_error("project_spend_limit_exceeded"), QuotaError),
    "2-organization": (429, openai_error("organization_usage_limit_exceeded"), QuotaError),
    "2-deepseek": (402, openai_error(None, "Insufficient Balance", kind="unknown_error"), QuotaError),
    "3-scaleway": (
        429,
        {"status": 429, "error": "INSUFFICIENT QUOTA", "message": "concurrent requests"},
        RateLimitError,
    ),
    "azure-key": (401, {"error": {"code": "401", "message": "Access denied"}}, AuthError),
    "azure-deployment": (404, {"error": {"code": "DeploymentNotFound", "message": "x"}}, ModelNotFoundError),
    "azure-rate": (429, {"error": {"code": "RateLimitReached", "message": "x"}}, RateLimitError),
    "azure-gateway": (429, {"statusCode": 429, "message": "Rate limit is exceeded."}, RateLimitError),
    "28-azure-filter": (400, AZURE_FILTER, ContentFilterError),
    "28-completion-body": (400, completion(None, finish_reason="content_filter"), ContentFilterError),
    "28-policy": (400, openai_error("content_policy_violation"), ContentFilterError),
    "vllm-model": (404, {"object": "error", "message": "x", "type": "NotFoundError", "code": 404}, ModelNotFoundError),
    "vllm-request": (400, {"error": {"message": "x", "type": "BadRequestError", "code": 400}}, InvalidRequestError),
    "vllm-key": (401, {"error": "Unauthorized"}, AuthError),
    "fastapi-text": (422, {"detail": "no such field"}, InvalidRequestError),
    "fastapi-list": (422, {"detail": [{"loc": ["body"], "msg": "missing", "input": {"a": 1}}]}, InvalidRequestError),
    "ollama-model": (404, openai_error(None, 'model "x" not found, try pulling it', "api_error"), ModelNotFoundError),
    "llama-loading": (503, openai_error(None, "Loading model", "unavailable_error"), OverloadedError),
    "openrouter": (502, {"error": {"code": 502, "message": "Provider returned error"}}, ServerError),
    "overloaded": (529, openai_error(None, kind="overloaded_error"), OverloadedError),
    "slow-down": (503, openai_error("slow_down"), OverloadedError),
    "30-408": (408, {}, NotReadyError),
    "30-425": (425, {}, NotReadyError),
    "30-409": (409, {}, ConflictError),
    "30-501": (501, {}, ModelNotFoundError),
    "30-505": (505, {}, ModelNotFoundError),
    "30-522": (522, {}, ServerError),
    "413": (413, {}, InvalidRequestError),
    "empty": (500, None, ServerError),
    "list": (400, [{"error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}}], InvalidRequestError),
    "text": (500, "upstream connect error", ServerError),
}


@pytest.mark.parametrize(("status", "payload", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_refusals_are_classified(status: int, payload: Any, expected: type[ConnectorError]) -> None:
    """By code, then type, then status: as the services write them."""
    found = classify_error(read_error_body(payload), status)
    assert issubclass(found, expected)
    assert found is not ConnectorError


SCALEWAY = {"status": 429, "error": "INSUFFICIENT QUOTA", "message": "concurrent requests"}


@pytest.mark.parametrize(
    ("own", "status", "payload", "expected"),
    [
        ({"INSUFFICIENT QUOTA": "rate_limit"}, 402, SCALEWAY, RateLimitError),
        ({"insufficient quota ": "quota"}, 429, SCALEWAY, QuotaError),
        ({"insufficient_quota": "rate_limit"}, 429, openai_error("insufficient_quota"), RateLimitError),
        ({"tokens": "quota"}, 429, openai_error("rate_limit_exceeded", kind="tokens"), QuotaError),
        ({"1305": "overloaded"}, 400, error_body("busy", code=1305), OverloadedError),
        ({"insufficient": "quota"}, 429, openai_error("insufficient_quota_x"), RateLimitError),
        ({"Incident42": "content_filter"}, 200, error_body("x", code="incident42"), ContentFilterError),
    ],
    ids=["error-itself", "any-case", "the-reverse", "type", "number", "whole-words-only", "inside-a-stream"],
)
async def test_own_classes_go_before_all_others(
    service: Any, own: dict[str, str], status: int, payload: Any, expected: type[ConnectorError]
) -> None:
    """Fault 3: a service that uses a code for something else is set right by its pipeline."""
    assert type(await service.fails(json_answer(payload, status=status), error_classes=own)) is expected


TOO_LONG = {
    "openai": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "openai-gpt-5": "Input tokens exceed the configured limit of 272000 tokens. Your messages are longer.",
    "azure": "This model's maximum context length is 4096 tokens, however you requested 5000 tokens.",
    "vllm": "This model's maximum context length is 4096 tokens. However, you requested 5096 tokens.",
    "vllm-decoder": "The decoder prompt (length 8825) is longer than the maximum model length of 8192.",
    "vllm-only": "You passed 5000 input tokens. However, the model's context length is only 4096 tokens.",
    "sglang": "The input (131123 tokens) is longer than the model's context length (131072 tokens).",
    "sglang-sum": "Requested token count exceeds the model's maximum context length of 4096 tokens.",
    "llama.cpp": "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it",
    "llama.cpp-old": "the request exceeds the available context size. try increasing the context size",
    "ollama": "the input length exceeds the context length",
    "ollama-maximum": "input length exceeds maximum context length",
    "lm-studio": "Trying to keep 5000 tokens when the model is loaded with context length of only 4096 tokens.",
}


@pytest.mark.parametrize("message", TOO_LONG.values(), ids=TOO_LONG)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_context_length_is_known_by_its_wording(message: str, status: int) -> None:
    """Fault 27: the wordings of the servers that give it no code of its own."""
    body = read_error_body(error_body(message, code=400, type="BadRequestError"))
    assert classify_error(body, status) is ContextLengthError


@pytest.mark.parametrize(
    ("status", "message"),
    [(429, "Request too large: maximum context length"), (400, "max_tokens must be positive")],
    ids=["rate-limit", "other"],
)
def test_context_length_is_not_guessed(status: int, message: str) -> None:
    """Wordings count only with the statuses they come with."""
    assert classify_error(read_error_body(error_body(message)), status) is not ContextLengthError


@pytest.mark.parametrize(
    ("kind", "code"),
    [("exceed_context_size_error", None), (None, "context_length_exceeded"), (None, "CONTEXT_LENGTH_EXCEEDED")],
)
def test_context_length_by_code(kind: str | None, code: str | None) -> None:
    """Where there is a code it is enough, in any case."""
    assert classify_error(read_error_body(error_body("too long", code=code, type=kind)), 400) is ContextLengthError


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 700) | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "code",
                    "type",
                    "message",
                    "detail",
                    "object",
                    "choices",
                    "finish_reason",
                    "innererror",
                    "msg",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(json_values, st.sampled_from([200, 400, 401, 404, 418, 422, 429, 500, 503, 599]))
@settings(max_examples=300, deadline=None)
def test_any_body_is_classified(payload: Any, status: int) -> None:
    """Fault 26: no body makes the reader of bodies fail."""
    assert issubclass(classify_error(read_error_body(payload), status), ConnectorError)


async def test_failure_tells_all_it_knows(service: Any) -> None:
    """Class, status, code, the wait that is asked for, who said it and what."""
    body = openai_error("rate_limit_exceeded", "Limit 3 per minute.", "requests")
    error = await service.fails(json_answer(body, status=429, headers={"Retry-After-Ms": "1500"}))
    assert type(error) is RateLimitError
    assert (error.status, error.code, error.retry_after_s) == (429, "rate_limit_exceeded", 1.5)
    assert (error.provider, error.model, error.request_sent) == ("openai", "test-model", True)
    assert str(error) == "the service refused with status 429 (rate_limit_exceeded): Limit 3 per minute."
    assert len(service.upstream.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"), [({}, 34.2), ({"Retry-After": "5"}, 5.0)], ids=["body", "header-first"]
)
async def test_a_wait_in_the_body_counts_where_no_header_tells_one(
    service: Any, headers: dict[str, str], seconds: float
) -> None:
    """As Google's services tell it."""
    body = [{"error": {"code": 429, "message": "Please retry in 34.2s.", "details": [{"retryDelay": "34.2s"}]}}]
    error = await service.fails(json_answer(body, status=429, headers=headers))
    assert (type(error), error.retry_after_s) == (RateLimitError, seconds)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, b'{"error": {"code": "invalid_api_key"}}', "check api_key"),
        (404, b"404 page not found", "404 page not found; check model and base_url (or OPENAI_BASE_URL)"),
        (502, b"<html><h1>Bad Gateway</h1>", "the service refused with status 502"),
        (500, b"", "the service refused with status 500"),
        (500, b"\xff\xfe" + b"x" * 2_000_000, "status 500: \ufffd\ufffdxxx"),
    ],
    ids=["auth", "text", "html", "empty", "huge"],
)
async def test_messages_say_what_to_do(service: Any, status: int, body: bytes, says: str) -> None:
    """Fault 26: also where the body is none that was promised, and never at length."""
    error = await service.fails(http_answer(body, status=status, content_type="text/plain"))
    assert says in str(error)
    assert len(str(error)) < 700
    assert error.status == status


async def test_broken_error_body_still_has_its_status(service: Any) -> None:
    """Half a body of an error is enough."""
    head = http_head({"Content-Type": "application/json", "Content-Length": "500"}, status=429)
    error = await service.fails([head, b'{"error": {"mess', HalfClose()])
    assert type(error) is RateLimitError


async def test_messages_do_not_repeat_the_prompt(service: Any, prompt: Any) -> None:
    """A validation error that quotes its input does not get it into our message."""
    said = f"1 error: input_value='{prompt.messages[1].content}' is not allowed"
    error = await service.fails(json_answer(error_body(said), status=422))
    assert str(error) == "the service refused with status 422: 1 error: input_value='[hidden]' is not allowed"


def test_refusal_of_a_gateway_that_wraps_it() -> None:
    """A body within a body is read: its words are shown, and its code counts."""
    inner = json.dumps(error_body("x"))
    assert read_error_body({"detail": inner}).message == "x"
    assert classify_error(read_error_body({"detail": inner}), 400) is InvalidRequestError
    assert classify_error(read_error_body({}), 302) is ProtocolError


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_the_parameters_of_the_url_are_in_no_error(service: Any, streamed: bool) -> None:
    """A service may repeat the address, with a key in it."""
    secret = "canary-4711-in-the-url"
    refused = json_answer(error_body(f"bad address /v1?token={secret}", code=secret), status=400)
    query = {"token": f" {secret} "}
    error = (await service.streamed(refused, query=query))[1] if streamed else await service.fails(refused, query=query)
    assert isinstance(error, ConnectorError)
    assert secret in service.upstream.requests[0].target
    assert secret not in f"{error!r} {vars(error)}"
