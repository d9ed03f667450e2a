"""Refusals through a whole pipeline: what is sent again, what the fallback answers, and who is left alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from nexus_core import Answer, ConnectorError, Delta, Pipeline, RunFailed, RunFinished
from nexus_core.testing.answers import completion, delta, event, http_answer, http_head, json_answer, stream_answer
from nexus_core.testing.upstream import Script, ScriptedUpstream

PIPELINE = """
name: refused
calls: {{patience: 0.1s}}
models:
  main:
    {{use: openai, model: m, base_url: "{main}", window: 8192, fallback: [spare],
    retry: {{first_wait: 0s, attempts: 2}}}}
  spare: {{use: openai, model: s, base_url: "{spare}", window: 100000}}
steps: [{{generate: main}}]
"""
SPARE = json_answer(completion("The spare answers."))


@frozen
class Played:
    """What a refusal led to."""

    requests: int
    """At the model that refused."""
    text: str
    kinds: Sequence[str]
    """Of the attempts on it."""
    said: str
    """By its last error."""
    state: str
    """Of it, afterwards."""


async def play(folder: Path, script: Script, question: str = "Is the harbour open?") -> Played:
    """Ask a model that answers with these bytes and has a fallback."""
    async with ScriptedUpstream(script) as main, ScriptedUpstream(SPARE) as spare:
        (folder / "p.yaml").write_text(PIPELINE.format(main=main.url, spare=spare.url))
        async with Pipeline.load(folder / "p.yaml") as pipeline:
            answer: Answer | None = None
            try:
                answer = await pipeline.run(question)
                rows, text = answer.attempts, answer.text
            except ConnectorError as error:
                rows, text = error.attempts, ""
            state = pipeline.targets()["main"]
        mine = [row for row in rows if row.model == "main"]
        return Played(len(main.requests), text, [row.outcome for row in mine], mine[-1].error or "", str(state))


def refused(status: int, body: Any) -> Script:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http_answer(data, status=status, content_type="application/json")


def openai(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


ANSWERED_BY_THE_FALLBACK: dict[str, tuple[int, Any, int, str]] = {
    "context-words": (400, openai("prompt is too long: 20931 tokens > 8000 maximum"), 1, "context_length"),
    "context-tgi": (422, {"error": "`inputs` must have less than 8192 tokens. Given: 12000"}, 1, "context_length"),
    "context-code": (413, openai("no", code="tokens_limit_reached"), 1, "context_length"),
    "context-wrapped": (
        400,
        openai("Provider returned error", metadata={"raw": json.dumps(openai("maximum context length is 8192"))}),
        1,
        "context_length",
    ),
    "minute-413": (413, openai("on tokens per minute (TPM): Limit 6000, Requested 9205"), 1, "unsupported"),
    "minute-429": (
        429,
        openai("Request too large on tokens per min (TPM): Limit 30000, Requested 43000.", code="rate_limit_exceeded"),
        1,
        "unsupported",
    ),
    "option": (
        400, openai("'temperature' is not supported with this model.", code="unsupported_value"),
        1, "unsupported",
    ),
    "body-limit": (413, b"<html><head><title>413 Request Entity Too Large</title></head></html>", 1, "unsupported"),
    "status-412": (412, openai("try later"), 1, "unsupported"),
    "status-423": (423, openai("try later"), 1, "unsupported"),
    "status-460": (460, openai("try later"), 1, "unsupported"),
    "status-499": (499, openai("try later"), 1, "unsupported"),
    "status-424": (424, openai("try later"), 2, "server_error"),
    "status-498": (498, openai("try later"), 2, "overloaded"),
    "status-520": (520, openai("try later"), 2, "server_error"),
    "status-599": (599, openai("try later"), 2, "server_error"),
    "rate-in-200": (
        200, {"choices": [{"message": {"content": ""}, "error": {"code": 429, "message": "x"}}]},
        2, "rate_limit",
    ),
    "context-in-200": (
        200,
        {"choices": [{"finish_reason": "error", "error": {"code": 400, "message": "maximum context length is 8192"}}]},
        1,
        "context_length",
    ),
    "status-in-200": (200, {"status": "449", "msg": "no more", "body": None}, 2, "rate_limit"),
    "words-in-200": (200, {"message": "The service is under maintenance"}, 2, "overloaded"),
    "loading": (400, {"detail": {"message": "model is loading", "code": "loading"}}, 2, "overloaded"),
    "byte-order-mark": (429, b'\xef\xbb\xbf{"error": {"message": "no", "code": "insufficient_quota"}}', 1, "quota"),
    "gemini-wait": (
        429,
        [openai("Resource exhausted.", code=429, details=[{"retryDelay": "34.2s"}])],
        1,
        "rate_limit",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "requests", "kind"), ANSWERED_BY_THE_FALLBACK.values(), ids=ANSWERED_BY_THE_FALLBACK
)
async def test_a_refusal_about_the_target_lets_the_fallback_answer(
    tmp_path: Path, status: int, body: Any, requests: int, kind: str
) -> None:
    """Sent again only where that may help, and said with the class that it has."""
    played = await play(tmp_path, refused(status, body))
    assert (played.requests, played.kinds) == (requests, [kind] * requests)
    assert played.text == "The spare answers."


PARKED: dict[str, tuple[int, Any, str]] = {
    "credit": (400, openai("Your credit balance is too low to access the API."), "quota"),
    "suspended": (412, openai("Account x is suspended for past invoices.", code="PRECONDITION_FAILED"), "quota"),
    "balance-500": (500, openai("insufficient balance (1008)"), "quota"),
    "balance-200": (
        200, {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
        "quota",
    ),
    "type": (429, openai("no", type="exceeded_current_quota_error"), "quota"),
    "day": (429, openai("no", details=[{"violations": [{"quotaId": "RequestsPerDayPerProject"}]}]), "quota"),
    "model": (400, openai("openai/gpt-9 is not a valid model ID", code=400), "config"),
    "retired": (400, openai("The model `m` has been decommissioned."), "config"),
    "endpoint": (404, openai("This is not a chat model. Did you mean to use v1/completions?"), "config"),
    "key": (400, {"Message": "The security token included in the request is expired"}, "auth"),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), PARKED.values(), ids=PARKED)
async def test_an_account_or_model_that_is_refused_is_parked(tmp_path: Path, status: int, body: Any, kind: str) -> None:
    """Asked once, then left alone: nothing will change by asking again."""
    played = await play(tmp_path, refused(status, body))
    assert (played.requests, played.kinds, played.text) == (1, [kind], "The spare answers.")
    assert "parked" in played.state


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, openai("Invalid value for 'temperature': must be between 0 and 2")),
        (400, openai("The context of this request is not valid JSON")),
        (422, {"detail": [{"msg": "Input should be a valid string", "input": "x"}]}),
    ],
)
async def test_a_bad_request_is_no_matter_of_the_target(tmp_path: Path, status: int, body: Any) -> None:
    """Another target would refuse it as well: the caller is told."""
    played = await play(tmp_path, refused(status, body))
    assert (played.requests, played.kinds, played.text) == (1, ["invalid_request"], "")


async def test_what_a_service_quotes_from_the_prompt_is_no_wording(tmp_path: Path) -> None:
    """A prompt about errors may hold any of them."""
    question = "Why does it say: your credit balance is too low, or prompt is too long: 9000 tokens > 8000 maximum?"
    played = await play(tmp_path, refused(422, {"detail": f"value {question!r} has no type"}), question=question)
    assert (played.kinds, played.text) == (["invalid_request"], "")


@pytest.mark.parametrize("error", [{}, {"message": "", "type": "", "param": "", "code": None}], ids=["empty", "blank"])
@pytest.mark.parametrize("status", [200, 203, 207])
async def test_a_good_answer_is_read_whatever_is_beside_it(tmp_path: Path, status: int, error: Any) -> None:
    """An error object without content is none, and 203 and 207 are good statuses."""
    body = {**completion("Yes."), "error": error}
    assert (await play(tmp_path, refused(status, body))).text == "Yes."


@pytest.mark.parametrize("content", [b"", json.dumps(completion("Yes.")).encode()], ids=["empty", "with-a-body"])
async def test_a_status_without_content_is_named(tmp_path: Path, content: bytes) -> None:
    """Also where a body follows, which no client may read."""
    head = http_head({"Content-Type": "application/json", "Content-Length": str(len(content))}, status=204)
    played = await play(tmp_path, [head + content])
    assert "status 204, which has no content" in played.said
    assert played.text == "The spare answers."


async def test_the_hint_names_the_endpoint(tmp_path: Path) -> None:
    """In place of what is checked for an unknown model."""
    said = "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Try v1/completions?"
    played = await play(tmp_path, refused(404, openai(said)))
    assert played.said.endswith("; the model needs the endpoint v1/completions")


@pytest.mark.parametrize(
    ("events", "kind", "says"),
    [
        (
            [event({"choices": None, "base_resp": {"status_code": 1, "status_msg": "no more"}})],
            "server_error", "no more",
        ),
        ([event({"message": "Too many requests", "type": "rate_limit_error"})], "rate_limit", "Too many requests"),
        (
            [event({"error": {"code": "server_error", "message": "gone"}, "choices": [{"delta": {}}]})],
            "server_error", "gone",
        ),
        (
            [event({"choices": [{"delta": {"content": ""}, "error": {"code": 503, "message": "busy"}}]})],
            "overloaded", "busy",
        ),
        ([event({"error": {}, **delta("more")})], "truncated", "finish reason"),
        ([event({"status": "processing", "message": "please wait"})], "truncated", "finish reason"),
    ],
    ids=["base-resp", "bare", "beside-a-choice", "in-a-choice", "empty-object", "state"],
)  # fmt: skip
async def test_an_error_within_a_stream_keeps_its_class_and_words(
    tmp_path: Path, events: list[bytes], kind: str, says: str
) -> None:
    """And what is none does not become one."""
    script = stream_answer([event(delta("Yes, ")), *events])
    async with ScriptedUpstream(script) as main, ScriptedUpstream(SPARE) as spare:
        (tmp_path / "p.yaml").write_text(PIPELINE.format(main=main.url, spare=spare.url))
        async with Pipeline.load(tmp_path / "p.yaml") as pipeline:
            seen = [each async for each in pipeline.stream("Is it open?")]
    last = seen[-1]
    assert isinstance(last, RunFailed)
    assert not any(isinstance(each, RunFinished) for each in seen)
    assert any(isinstance(each, Delta) for each in seen)
    assert (last.kind, says in last.message) == (kind, True)
