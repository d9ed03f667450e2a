"""Sentences made from the grammar of each kind of refusal: who says it does not matter, and numbers neither."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import (
    AuthError,
    ConflictError,
    ConnectorError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedRequestError,
)
from nexus_core.engine.calls.failure_policy import reaction
from nexus_core.toolkit import classify_error, describe_refusal, error_of_status, read_error_body

FILLERS = {
    "what": "The prompt|Your input|input|The request|Requested tokens|This conversation|Prompt length|the messages",
    "over": "exceeds|is longer than|is larger than|exceeded|is greater than|exceed",
    "whose": "the |the maximum |the model's maximum |model's |the available |this model's |your |the allowed ",
    "limit": "context length|context window|context size|input length|prompt length|token limit|context limit",
    "kind": "context|prompt|input|sequence|model",
    "who": "Your account|Your organization|The team|This project|The workspace|Your API key",
    "model": "gpt-9.1|`llama3-70b`|'acme/foo:free'|claude-x@1|\"m.1\"",
    "option": "temperature|top_p|'stream_options'|`tools`|response_format|reasoning_effort|logprobs",
    "unit": "requests|tokens",
}
GRAMMAR: dict[type[ConnectorError], tuple[tuple[int, ...], str]] = {
    ContextLengthError: (
        (200, 400, 413, 422, 500),
        """
        {what} {over} {whose}{limit}
        {what} (12000 tokens) {over} {whose}{limit} of 8192 tokens.
        This model's maximum {kind} length is 8192 tokens. However, you requested 12000 tokens.
        Maximum {kind} length (8192) exceeded
        Prompt is too long: 12000 tokens > 8192 maximum
        Your input has 12000 tokens, more than the maximum of 8192 tokens
        The prompt contains 12000 tokens but the model only supports up to 8192
        """,
    ),
    QuotaError: (
        (200, 400, 402, 403, 429, 500),
        """
        {who} has insufficient balance
        {who} has run out of credits
        {who} has used all available credits
        {who} has reached its monthly spending limit
        {who} has exceeded its current quota, please check your plan and billing details
        {who} has reached the usage limit
        {who} doesn't have enough credits
        {who}'s credit balance is too low
        {who} has used up its free quota
        {who} is over budget
        """,
    ),
    ModelNotFoundError: (
        (200, 400, 404, 422),
        """
        The model {model} does not exist
        model {model} not found
        Unknown model {model}
        Invalid model name: {model}
        The model {model} has been decommissioned
        The model {model} is no longer available
        {model} is not a valid model ID
        Model {model} isn't available
        The requested model {model} is not supported
        {model} does not support chat
        """,
    ),
    UnsupportedRequestError: (
        (200, 400, 422),
        """
        Unsupported parameter: {option}
        {option} is not supported with this model
        This model does not support {option}
        Unrecognized request argument supplied: {option}
        {option}: Extra inputs are not permitted
        Only the default value of {option} is supported
        {option} isn't supported
        {option} cannot be used with this model
        """,
    ),
    RateLimitError: (
        (200, 429),
        """
        Rate limit reached for {unit} per min. Limit: 60
        Too many {unit} per minute
        You exceeded your quota of 60 {unit} per minute
        {unit} per minute limit exceeded
        Usage limit of 60 {unit} per minute reached
        """,
    ),
}  # fmt: skip


@st.composite
def refusals(draw: Any) -> tuple[type[ConnectorError], int, str]:
    error = draw(st.sampled_from(list(GRAMMAR)))
    statuses, sentences = GRAMMAR[error]
    sentence = draw(st.sampled_from(sentences.strip().split("\n"))).strip()
    said = re.sub(r"\{(\w+)\}", lambda found: draw(st.sampled_from(FILLERS[found[1]].split("|"))), sentence)
    return error, draw(st.sampled_from(statuses)), said


@given(refusals())
@settings(max_examples=600, deadline=None)
def test_sentences_of_a_grammar_mean_its_class(refusal: tuple[type[ConnectorError], int, str]) -> None:
    """Also in a body that gives a vague type, as most do."""
    error, status, said = refusal
    body = read_error_body({"error": {"message": said, "type": "invalid_request_error", "code": None}})
    assert classify_error(body, status) is error


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([413, 429]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_one_request_over_a_minute_is_told_from_a_busy_minute(limit: int, size: int, status: int, commas: bool) -> None:
    """By its numbers: what alone exceeds the limit is never sent again, whatever its code and wait."""
    form = "{:,}" if commas else "{}"
    told = f"Limit {form.format(limit)}, Used 0, Requested {form.format(size)}. Please try again in 2s."
    message = f"Rate limit reached for m-4 on tokens per min (TPM): {told}"
    found = classify_error(read_error_body({"error": {"message": message, "code": "rate_limit_exceeded"}}), status)
    assert found is (UnsupportedRequestError if size > limit else RateLimitError)
    assert bool(reaction(found).retries) is (size <= limit)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("Request too large for gpt-4o on tokens per min (TPM): the tokens must be reduced.", 429),
        ("Requested 43000 tokens, but the limit is 30000 tokens per minute", 429),
        ("This request has 9,205 tokens; your allowance is 6,000 tokens per minute", 429),
        ("9000 tokens requested, allowed 8000 per minute", 429),
        ("Request is too large: the tokens per minute of this tier are fewer", 413),
    ],
)
def test_one_request_over_a_minute_by_its_words(said: str, status: int) -> None:
    """In whatever order the numbers stand."""
    assert classify_error(read_error_body({"error": said}), status) is UnsupportedRequestError


MEANT: dict[int, type[ConnectorError]] = {
    400: InvalidRequestError, 401: AuthError, 402: QuotaError, 403: AuthError, 404: ModelNotFoundError,
    405: ModelNotFoundError, 408: NotReadyError, 409: ConflictError, 410: ModelNotFoundError, 420: RateLimitError,
    422: InvalidRequestError, 424: ServerError, 425: NotReadyError, 429: RateLimitError, 430: RateLimitError,
    449: RateLimitError, 456: QuotaError, 498: OverloadedError, 501: ModelNotFoundError, 503: OverloadedError,
    505: ModelNotFoundError, 529: OverloadedError,
}  # fmt: skip


@pytest.mark.parametrize("status", [status for status in range(400, 600) if status != 407])
def test_every_status_lets_the_fallback_answer_but_a_bad_request(status: int) -> None:
    """Rare ones of the 400s are never retried, those of the 500s are."""
    error = error_of_status(status)
    assert error is MEANT.get(status, ServerError if status >= 500 else UnsupportedRequestError)
    assert (reaction(error).onward == "no") is (status in (400, 422))
    if status >= 500 and status not in (501, 505):
        assert reaction(error).retries


@pytest.mark.parametrize(
    ("said", "endpoint"),
    [
        ("This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use "
         "v1/completions?", "v1/completions"),
        ("This model is only supported in v1/responses and not in v1/chat/completions.", "v1/responses"),
        ("Please use v1/embeddings with this model", "v1/embeddings"),
        ("This model is not supported in the v1/chat/completions endpoint", ""),
    ],
)  # fmt: skip
def test_the_hint_names_the_endpoint_that_a_model_needs(said: str, endpoint: str) -> None:
    """And not the one that was called."""
    error = classify_error(read_error_body({"error": said}), 404)
    assert error is ModelNotFoundError
    message = describe_refusal(error, 404, "", said)
    assert message.endswith(f"needs the endpoint {endpoint}" if endpoint else "check model and base_url")


@pytest.mark.parametrize(
    "name", ["RateLimitError", "rate_limit_error", "RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "rate-limit-exceeded"]
)
def test_codes_are_known_in_every_spelling(name: str) -> None:
    """Gateways spell codes anew, as names of exceptions above all."""
    assert classify_error(read_error_body({"error": {"code": name, "message": "no"}}), 400) is RateLimitError


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("litellm.RateLimitError: AcmeException - no", RateLimitError),
        ("litellm.BadRequestError: ContextWindowExceededError: AcmeException - no", ContextLengthError),
        ("com.acme.ThrottlingException: no", RateLimitError),
        ("Acme: the RateLimitError in your code is not caught", InvalidRequestError),
    ],
)
def test_names_of_exceptions_count_at_the_beginning(said: str, expected: type[ConnectorError]) -> None:
    """Where gateways chain them; in the middle of a message they may be somebody's words."""
    assert classify_error(read_error_body({"error": said}), 400) is expected
