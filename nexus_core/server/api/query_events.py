"""Events of the query API: `start`, `tool`, `approval` and its `decision`, `chunk`, `restart`, and at last `end`.

`error` or `interrupted` may come in its place. Where progress is asked for, also `searched` and `asking`, before the
first `chunk`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web
from attrs import evolve, frozen

from nexus_core.contract.answers import Answer, Event, ToolFinished
from nexus_core.contract.errors import RunError
from nexus_core.contract.events import (
    Delta,
    PromptPacked,
    RunFailed,
    RunFinished,
    StepFinished,
    StreamRestarted,
    ToolRoundFinished,
)
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.run_context import ApprovalRequest
from nexus_core.engine.json_shapes import answer_json, attempt_json, packing_json, passages_json, tool_json
from nexus_core.server.errors import Failure, failure_of
from nexus_core.server.files.question_documents import QuestionDocument, documents_json
from nexus_core.server.http.sse import error_event, event
from nexus_core.server.runs.event_numbers import data_of
from nexus_core.server.runs.live_run import TOO_LARGE, answer_not_kept, interrupted
from nexus_core.store.runs import StoredRun

API = "queries"
_TRY_AGAIN = frozenset({429, 503})
_IN_TRACE = ("arguments", "result", "trace")
"""Of the calls of tools."""
_OF_FAILURES = ("error", "statusCode", "code", "requestId", "attempts")


@frozen
class Included:
    """What an answer tells beside its text."""

    metadata: bool
    trace: bool
    """Also the passages that were sent, what became of the others, the attempts, arguments and results of tools."""
    digits: int | None
    """Of scores; `None` is all."""
    errors: bool
    """Also what services said in attempts that failed: for operators."""
    progress: bool = False
    """Also what goes on before the answer: how many items were found, which model is asked, and with what."""
    documents: tuple[QuestionDocument, ...] = ()
    """Those that were read for the question."""

    @classmethod
    def by(cls, options: dict[str, Any], *, digits: int | None, errors: bool) -> Included:
        """Return what a request's options ask for; the trace comes with the metadata."""
        trace = bool(options.get("includeTrace"))
        metadata = trace or bool(options.get("includeMetadata"))
        return cls(metadata, trace, digits, errors, bool(options.get("includeProgress")))

    def attempt(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the ledger; what a service said of its failure is for operators."""
        return dict(row) if self.errors else {**row, "error": None, "code": None}

    def tool(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a call of a tool; what was asked and found stands in the trace."""
        return dict(row) if self.trace else {name: row[name] for name in row if name not in _IN_TRACE}


class QueryEvents:
    """Writes the events of one run."""

    def __init__(self, request: web.Request, run_id: str, model_id: str, include: Included) -> None:
        self._request = request
        self._run_id = run_id
        self._model_id = model_id
        self._include = include
        self._has_begun = False
        self._calls: list[dict[str, Any]] = []
        """Of tools, in the round that goes on."""
        self.whole: Mapping[str, Any] = {}
        """The answer as it is told at once, when there is one."""

    def delta(self, delta: Delta) -> Sequence[bytes]:
        """Return the events with more of the answer."""
        if not delta.text:
            return ()
        chunk = event({"type": "chunk", "content": delta.text})
        return (chunk,) if self._has_begun else (*self._start(), chunk)

    def other(self, event_of_run: Event) -> Sequence[bytes]:
        """Return the event that says that what came so far is void, which tools were called, or what goes on."""
        match event_of_run:
            case StepFinished(verb="gather", skipped=False) if self._include.progress:
                return (*self._start(), event({"type": "searched", "items": event_of_run.items}))
            case PromptPacked(prompt=Prompt() as prompt) if self._include.progress:
                passages = [_without_text(each) for each in passages_json(prompt, self._include.digits)]
                return (
                    *self._start(),
                    event({"type": "asking", "model": event_of_run.model, "contextItems": passages}),
                )
            case StreamRestarted() if self._has_begun:
                return (event({"type": "restart"}),)
            case ToolFinished():
                self._calls.append(self._include.tool(tool_json(event_of_run, self._include.digits)))
            case ToolRoundFinished():
                told = {"round": event_of_run.round, "content": event_of_run.content or "", "calls": self._calls}
                self._calls = []
                return (*self._start(), event({"type": "tool", **told}))
        return ()

    def approval(self, asked: ApprovalRequest, expires: float) -> Sequence[bytes]:
        """Return the event that asks whether a tool may be called."""
        told = {"callId": asked.id, "name": asked.name, "description": asked.description, "arguments": asked.arguments}
        return (*self._start(), event({"type": "approval", **told, "expires": expires}))

    def decision(self, call_id: str, *, approved: bool, expired: bool) -> Sequence[bytes]:
        """Return the event that says what was decided on a call, or that nobody has answered in time."""
        return (event({"type": "decision", "callId": call_id, "approved": approved, "expired": expired}),)

    async def finished(self, event_of_run: RunFinished) -> Sequence[bytes]:
        """Return the end of an answer; raises Failure where there is none."""
        if not isinstance(event_of_run.answer, Answer):
            raise Failure(400, "invalid_request", "no step of the pipeline gave an answer")
        whole = query_answer_json(event_of_run.answer, self._include)
        self.whole = whole
        told = {name: value for name, value in whole.items() if name not in ("response", "query")}
        return (*self._start(), event({"type": "end", **told}))

    def failure(self, event_of_run: RunFailed) -> Failure:
        """Return what clients are told of a run that failed."""
        error = event_of_run.error or RuntimeError(event_of_run.kind)
        failure = failure_with_attempts(error, self._include)
        failure.__cause__ = error
        return failure

    def failed(self, failure: Failure) -> Sequence[bytes]:
        """Return the last event of a run that has failed."""
        return (error_event(self._request, failure),)

    @property
    def answer(self) -> bytes | None:
        """What the end does not say of the answer."""
        if not self.whole:
            return None
        return orjson.dumps({name: self.whole[name] for name in ("query", "response")})

    def _start(self) -> Sequence[bytes]:
        if self._has_begun:
            return ()
        self._has_begun = True
        return (event({"type": "start", "id": self._run_id, "modelId": self._model_id}),)


def _without_text(passage: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in passage.items() if name != "text"}


def interrupted_query(run: StoredRun) -> tuple[bytes, bytes | None]:
    """Return the last event of a run whose server was killed, with the tokens as far as they are known."""
    failure = interrupted()
    told = {
        "type": "interrupted",
        "id": run.id,
        "error": failure.message,
        "statusCode": failure.status,
        "code": failure.code,
        "requestId": run.id,
        "usage": usage_of(run),
    }
    return event(told), None


def usage_of(run: StoredRun) -> dict[str, Any]:
    """Return the tokens of a run, as far as they are known."""
    return {
        "promptTokens": run.prompt_tokens,
        "completionTokens": run.completion_tokens,
        "usageSource": run.usage_source,
    }


def outcome_of(run: StoredRun, last: bytes) -> tuple[int, dict[str, Any]]:
    """Return status and body of what came of a run that has ended, by its last event."""
    told = data_of(last) if last else {}
    if run.state == "completed" and run.answer == TOO_LARGE:
        gone = answer_not_kept()
        return gone.status, {"error": gone.message, "statusCode": gone.status, "code": gone.code, "requestId": run.id}
    if run.state == "completed":
        kept = {} if run.answer is None else orjson.loads(run.answer)
        return 200, {**kept, **{name: value for name, value in told.items() if name != "type"}}
    body = {name: told[name] for name in _OF_FAILURES if name in told}
    status = body.get("statusCode")
    return status if isinstance(status, int) else 503, body


def refusal_of(run: StoredRun, last: bytes) -> Failure:
    """Return why a run was refused before it began, by its last event; the same request may be tried again."""
    status, told = outcome_of(run, last)
    headers = {"Retry-After": "1"} if status in _TRY_AGAIN else {}
    return Failure(status, str(told.get("code", "")), str(told.get("error", "")), headers)


def failure_with_attempts(error: BaseException, include: Included) -> Failure:
    """Return what a client is told of a run that failed, with its attempts where they are wanted."""
    failure = failure_of(error)
    if include.trace and isinstance(error, RunError):
        return evolve(failure, details={"attempts": [include.attempt(attempt_json(row)) for row in error.attempts]})
    return failure


def query_answer_json(answer: Answer, include: Included, *, response: bool = True) -> dict[str, Any]:
    """Return an answer as the query API tells it; without its text and the query where they were told before."""
    told = answer_json(answer, include.digits)
    if include.trace:
        told["metadata"]["contextItems"] = passages_json(answer.prompt, include.digits)
        told["packing"] = packing_json(answer.prompt, include.digits)
        told["attempts"] = [include.attempt(row) for row in told["attempts"]]
    else:
        del told["attempts"]
    if include.documents:
        told["documents"] = documents_json(include.documents, answer.prompt)
    if "tools" in told:
        told["tools"] = [include.tool(row) for row in told["tools"]]
    if not include.metadata:
        del told["metadata"]
    if not response:
        del told["response"], told["query"]
    return told
