"""Responses in the background: their events, and what is kept of a response until it can be fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from nexus_core.contract.answers import Answer, Event
from nexus_core.contract.events import Delta, PromptPacked, RunFailed, RunFinished, StreamRestarted
from nexus_core.server.api.run_query import QueryRequest
from nexus_core.server.errors import Failure, failure_of
from nexus_core.server.openai.response_events import ResponseEvents, response_event
from nexus_core.server.openai.response_schema import ResponseJson
from nexus_core.server.openai.runs import OpenAIRuns
from nexus_core.server.runs.event_numbers import data_of, split_events
from nexus_core.server.runs.live_run import CANCELLED, interrupted
from nexus_core.store.runs import StoredRun

API = "responses"


class BackgroundResponse:
    """Writes the events of one response, and the response as it is kept."""

    def __init__(
        self,
        request: web.Request,
        runs: OpenAIRuns,
        asked: QueryRequest,
        run_id: str,
        response: ResponseJson,
        *,
        with_reasoning: bool,
    ) -> None:
        self._request = request
        self._runs = runs
        self._asked = asked
        self._run_id = run_id
        self._model = asked.begins_with
        self._write = ResponseEvents(response, with_reasoning=with_reasoning)
        self._has_begun = False
        self._has_delta = False
        self.response: Mapping[str, Any] = response.of(run_id, self._model, "in_progress")
        """As it is now."""

    def delta(self, delta: Delta) -> Sequence[bytes]:
        """Return the events with more of the answer."""
        if not self._write.is_told(delta):
            return ()
        self._has_delta = True
        return split_events(self._begin() + self._write.delta(delta))

    def other(self, event: Event) -> Sequence[bytes]:
        """Note who answers; raises Failure where what was sent is void."""
        if isinstance(event, PromptPacked) and not self._has_begun:
            self._model = self._asked.pipeline.models.get(event.model).info.id
            return split_events(self._begin())
        if isinstance(event, StreamRestarted) and self._has_delta:  # there is no way to take back what was sent
            raise Failure(502, "upstream_truncated", "the answer broke off: ask again")
        return ()

    async def finished(self, event: RunFinished) -> Sequence[bytes]:
        """Return the last events of an answer that is complete; raises Failure where there is none."""
        if not isinstance(event.answer, Answer):
            raise Failure(400, "invalid_request", "no step of the pipeline gave an answer")
        told = await self._runs.cite(self._request, self._asked, event.answer)
        return self._end(self._begin() + self._write.end(told))

    def failure(self, event: RunFailed) -> Failure:
        """Return what clients are told of a run that failed."""
        return failure_of(event.error or RuntimeError(event.kind))

    def failed(self, failure: Failure) -> Sequence[bytes]:
        """Return the last events of a response that has failed, or was cancelled."""
        start = self._begin()
        if failure.code == CANCELLED:
            return self._end(start + self._write.cancelled())
        return self._end(start + self._write.failed(self._request, failure))

    @property
    def answer(self) -> bytes | None:
        """The response as it is now, as JSON."""
        return json.dumps(self.response).encode()

    def _begin(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        return self._write.begin(self._run_id, self._model)

    def _end(self, data: bytes) -> Sequence[bytes]:
        frames = split_events(data)
        told: Any = data_of(frames[-1])
        self.response = told["response"]
        return frames


def interrupted_response(run: StoredRun) -> tuple[bytes, bytes | None]:
    """Return the last event of a response whose server was killed, and the response from then on."""
    failure = interrupted()
    response = json.loads(run.answer or b"{}")
    response |= {"status": "failed", "error": {"code": failure.code, "message": failure.message}}
    if run.prompt_tokens is not None and run.completion_tokens is not None:
        response["usage"] = {
            "input_tokens": run.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": run.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": run.prompt_tokens + run.completion_tokens,
        }
    return response_event("response.failed", run.events, {"response": response}), json.dumps(response).encode()
