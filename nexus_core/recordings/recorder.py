"""Recorder: keeps each request with its response, or its error, in a folder as it passes.

The first time that a run asks something, its file is begun anew; the same request again in the run adds a response.
Files of requests that the run does not make stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from attrs import define, field

from nexus_core.contract.errors import ConnectorError, UsageError
from nexus_core.contract.values import Chunk, Completion
from nexus_core.engine.interceptors import ConnectorRequest, Interceptor
from nexus_core.engine.plugin_guard import is_own
from nexus_core.recordings.canonical_request import canonical_request, file_name, secrets_of
from nexus_core.recordings.recording_file import (
    Recording,
    RecordingError,
    read_recording,
    read_timing,
    sweep_folder,
    write_recording,
)
from nexus_core.recordings.responses import chunk_json, completion_json, error_json, results_json

T = TypeVar("T")

_log = logging.getLogger(__name__)
_PLACES = 4
"""Of the seconds in the files of times."""


@define(eq=False)
class _RequestLog:
    """The responses to one request in this run, in the order in which it was made; `None` has not ended yet."""

    path: Path
    request: dict[str, Any]
    responses: list[Any] = field(factory=list)
    timing: list[Any] = field(factory=list)
    under_way: int = 0
    is_written: bool = False
    """By this run."""


@define(eq=False)
class _Exchange:
    """One request on its way, and its place among those that are equal."""

    log: _RequestLog
    place: int
    request: ConnectorRequest
    started: float = field(factory=perf_counter)
    chunks: list[Any] = field(factory=list)
    seconds: list[float] = field(factory=list)

    def elapsed(self) -> float:
        return round(perf_counter() - self.started, _PLACES)


class Recorder(Interceptor):
    """Records into a folder, which is made where it is not there; only its owner may read what is written.

    Held in memory are the requests under way and, of those that have ended, their hashes.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder; raises UsageError where that cannot be."""
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot record into {folder}: {error.strerror or error}; name a folder") from error
        sweep_folder(folder)
        self._folder = folder
        self._logs: dict[str, _RequestLog] = {}
        self._written: set[str] = set()

    async def call(self, request: ConnectorRequest, send: Callable[[], Awaitable[T]]) -> T:
        """Return what `send` returns, once it is written."""
        exchange = self._begin(request)
        try:
            result = await send()
        except BaseException as error:
            self._end_failed(exchange, {}, error)
            raise
        self._end(exchange, _result_json(request.method, result))
        return result

    async def stream(
        self, request: ConnectorRequest, send: Callable[[], AsyncIterator[Chunk]]
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks that `send` yields; at the end, however it comes, they are written."""
        exchange = self._begin(request)
        try:
            async with aclosing(super().stream(request, send)) as chunks:
                async for chunk in chunks:
                    exchange.seconds.append(exchange.elapsed())
                    exchange.chunks.append(chunk)
                    yield chunk
        except BaseException as error:
            self._end_failed(exchange, _chunks_json(exchange.chunks), error)
            raise
        self._end(exchange, _chunks_json(exchange.chunks))

    def _begin(self, request: ConnectorRequest) -> _Exchange:
        canonical = canonical_request(request)
        name = file_name(canonical)
        log = self._logs.get(name)
        if log is None:
            log = self._logs[name] = self._log_of(name, canonical)
        log.under_way += 1
        log.responses.append(None)
        log.timing.append(None)
        return _Exchange(log, len(log.responses) - 1, request)

    def _log_of(self, name: str, canonical: dict[str, Any]) -> _RequestLog:
        path = self._folder / name
        log = _RequestLog(path, canonical, is_written=name in self._written)
        before = read_recording(path) if log.is_written else None
        if before is not None:
            log.responses = [*before.responses]
            log.timing = [*read_timing(path)][: len(log.responses)]
            log.timing += [None] * (len(log.responses) - len(log.timing))
        return log

    def _end_failed(self, exchange: _Exchange, said: dict[str, Any], error: BaseException) -> None:
        """Note a failure, which goes before one of writing it."""
        try:
            self._end(exchange, said | _failure_json(error, exchange.request))
        except RecordingError as unwritten:
            _log.warning("%s", unwritten)

    def _end(self, exchange: _Exchange, response: dict[str, Any]) -> None:
        log = exchange.log
        log.responses[exchange.place] = {"method": exchange.request.method, **response}
        log.timing[exchange.place] = {"seconds": exchange.elapsed()}
        if "chunks" in response:
            log.timing[exchange.place]["chunks"] = exchange.seconds
        log.under_way -= 1
        if not self._is_worse(log):
            self._write(log)
        if log.is_written and not log.under_way:
            del self._logs[log.path.name]

    def _is_worse(self, log: _RequestLog) -> bool:
        """Tell whether all there is are requests that were given up, where an earlier run has something."""
        ended = [response for response in log.responses if response is not None]
        return all("abandoned" in response for response in ended) and not log.is_written and log.path.exists()

    def _write(self, log: _RequestLog) -> None:
        places = [place for place, response in enumerate(log.responses) if response is not None]
        recording = Recording(request=log.request, responses=[log.responses[place] for place in places])
        write_recording(log.path, recording, [log.timing[place] for place in places])
        log.is_written = True
        self._written.add(log.path.name)


def _result_json(method: str, result: Any) -> dict[str, Any]:
    try:
        return completion_json(result) if isinstance(result, Completion) else results_json(method, result)
    except (AttributeError, TypeError, ValueError):
        return _foreign_json(f"it returned a {type(result).__name__}, which cannot be recorded")


def _chunks_json(chunks: list[Any]) -> dict[str, Any]:
    try:
        return {"chunks": [chunk_json(chunk) for chunk in chunks]}
    except (AttributeError, TypeError, ValueError):
        return {"chunks": []} | _foreign_json("it yielded something that cannot be recorded")


def _failure_json(error: BaseException, request: ConnectorRequest) -> dict[str, Any]:
    if isinstance(error, ConnectorError):
        return {"error": error_json(error, secrets_of(request))}
    if is_own(error):  # its words may hold anything
        return _foreign_json(f"it raised {type(error).__name__}")
    return {"abandoned": True}


def _foreign_json(did: str) -> dict[str, Any]:
    return {"error": error_json(ConnectorError(f"the connector broke its contract: {did}"))}
