"""HTTP client of a model service: one request, whole or streamed; exactly one, and never a second one for any reason.

What differs from service to service, how requests are written and answers are read, is a `WireFormat`. Imports aiohttp,
so it is imported where a connector is opened.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from time import perf_counter
from typing import Any, Protocol, TypeVar

import aiohttp
import orjson
from attrs import evolve
from multidict import CIMultiDict
from yarl import URL

from nexus_core.contract.errors import (
    ConnectorError,
    NotReadyError,
    ProtocolError,
    ResponseTooLargeError,
    UpstreamTimeoutError,
)
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import CallOptions, Chunk, Completion, ToolCallDelta, Transfer, Usage
from nexus_core.toolkit.http.bodies import (
    BodyReader,
    connect_timeout,
    open_session,
    read_body,
    read_start,
    retry_after_s,
    should_retry,
)
from nexus_core.toolkit.http.errors import UpstreamErrors, foreign_text, no_content
from nexus_core.toolkit.http.line_decoder import ServerSentEvent
from nexus_core.toolkit.http.quota_headers import read_quota
from nexus_core.toolkit.http.service_settings import ServiceSettings
from nexus_core.toolkit.http.size_limits import JSON_CAP, LARGEST_SIZES, SizeLimits, sizes_for
from nexus_core.toolkit.http.sse import EventDecoder
from nexus_core.toolkit.services.error_bodies import read_error_body
from nexus_core.toolkit.services.error_classes import HINTS, classify_error, describe_refusal
from nexus_core.toolkit.services.error_texts import parse_error_body
from nexus_core.toolkit.services.stream_parts import InBandError, StreamReader
from nexus_core.toolkit.shared_resources import SharedResources
from nexus_core.toolkit.timers import TimeLimit

_Read = TypeVar("_Read")

_TAIL_S = 5.0
"""How long a stream may take from its last content and its finish reason to its usage and its end."""
_LONGEST_WORD = 80
"""Characters that are kept of a finish reason that nobody knows."""
_SETTLE_S = 0.25
"""How long after the last event the end of the body is waited for, so that the connection can serve again."""
_SETTLE_CAP = 64 * 2**10
_NO_CONTENT = frozenset({204, 205})
_LONGEST_READ = 1000
"""Characters of what a service said of an error that its class may follow from."""
_STARTS = (b"data", b"event", b"id", b"retry", b":", b"{", b"[")
"""What a stream or JSON may begin with, where a web page was announced."""
_START = 400
_BYTES_CAP = 2**20
"""A body above this goes out in pieces: aiohttp warns of larger ones as bytes."""
_ERROR_HEADERS = ("x-amzn-ErrorType", "x-ms-error-code")
"""Where AWS and Azure say the code of an error, often there alone."""
_SENDABLE_ID = re.compile(r"[\x21-\x7e]{1,512}")


class StreamDecoder(Protocol):
    """Turns the bytes of a stream into events, each with a name (often empty) and its data."""

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that `data` completes; `b""` at the end of the data."""

    def flush(self) -> list[ServerSentEvent]:
        """Return the event that the data ended in the middle of, if any."""


class WireFormat:
    """How a service writes requests and answers; pure. Subclass it, and define the first four methods."""

    enlarging: frozenset[str] = frozenset()
    """Options in `extra` by which an answer holds more than what the model says."""
    json_in_streams: bool = True
    """A whole answer as JSON may come where a stream was asked; not for streams that are JSON themselves."""

    def path(self, *, streamed: bool) -> str:
        """Return the path of the endpoint, from the base URL, with a query where it needs one."""
        raise NotImplementedError

    def write(self, prompt: Prompt, options: CallOptions, *, streamed: bool) -> bytes:
        """Return the body of a request; raises InvalidRequestError for what cannot be sent."""
        raise NotImplementedError

    def read(self, data: bytes, transfer: Transfer | None) -> Completion:
        """Return a whole answer; raises InBandError, or a ConnectorError where it is none."""
        raise NotImplementedError

    def reading(self) -> StreamReader:
        """Return a reader of one stream."""
        raise NotImplementedError

    def decoder(self, sizes: SizeLimits) -> StreamDecoder:
        """Return what cuts a stream into events: by default server-sent events."""
        return EventDecoder(line_cap=sizes.line, event_cap=sizes.line, tolerant=True)

    def read_error(self, payload: Any) -> Any:
        """Return what a service says of an error under the usual names: `code`, `message`, `retry_after` (seconds).

        By default as it is. `payload` is the body of a refusal, or what InBandError was given: any JSON, or a text.
        """
        return payload


class RequestAuthorizer(Protocol):
    """Gives each request its credentials, where they expire or sign what is sent."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What errors may not show."""

    async def headers(self, url: str, body: bytes) -> Mapping[str, str]:
        """Return the headers of one request; raises a ConnectorError that was not sent."""

    async def renew(self, headers: Mapping[str, str]) -> bool:
        """Drop the credentials of a request that was refused (401), by its headers; tell whether there are others now.

        The client never sends a request again; where this returns true, the error says that the same may be sent.
        """


class ServiceClient:
    """Sends requests over a shared session and reads what comes back; open it within a running loop, and close it."""

    def __init__(
        self,
        settings: ServiceSettings,
        wire: WireFormat,
        shared: SharedResources,
        authorizer: RequestAuthorizer | None = None,
    ) -> None:
        self.settings = settings
        self._wire = wire
        self._authorizer = authorizer
        self._total = TimeLimit(settings.timeouts.total_s)
        self._first_byte = TimeLimit(settings.timeouts.first_byte_s)
        self._url = self.url(wire.path(streamed=False))
        self._stream_url = self.url(wire.path(streamed=True))
        self._headers = CIMultiDict(settings.headers)
        self._connecting = connect_timeout(settings.timeouts)
        self._hints = {**HINTS, **settings.hints}
        # All in which two sessions must differ; whatever else differs goes with each request.
        self._key = ("http", asyncio.get_running_loop(), settings.connections, settings.trust_env)
        self._shared = shared
        self._session = shared.take(
            self._key, lambda: open_session(connections=settings.connections, trust_env=settings.trust_env)
        )

    def url(self, path: str) -> URL:
        """Return the address of an endpoint, as it is: what is escaped in `path` stays so."""
        url = URL(self.settings.base_url + path, encoded="%" in path)
        return url.update_query(dict(self.settings.query)) if self.settings.query else url

    async def close(self) -> None:
        """Leave the session; its last user closes all connections."""
        self._total.close()
        self._first_byte.close()
        await self._shared.release(self._key)

    async def send(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return the whole answer; raises only ConnectorErrors."""
        completion = await self.ask(
            self._url,
            prompt,
            lambda: self._wire.write(prompt, options, streamed=False),
            self._wire.read,
            self._sizes(prompt, options).whole,
        )
        if completion.native_finish_reason:
            return evolve(completion, native_finish_reason=self._shown(completion.native_finish_reason, prompt))
        return completion

    async def ask(
        self,
        url: URL,
        prompt: Prompt,
        write: Callable[[], bytes] | None,
        read: Callable[[bytes, Transfer], _Read],
        cap: int = JSON_CAP,
    ) -> _Read:
        """Send one request and return what `read` makes of its answer, of `cap` bytes at most; raises ConnectorErrors.

        Without `write` it is a GET. What stands in the prompt is shown in no error.
        """
        with self._errors("total", self.settings.timeouts.total_s) as errors:
            body = write() if write is not None else None
            with self._total.block():
                response = await self._request(url, body, prompt, errors)
                try:
                    data = await read_body(response, cap, transfer=errors.transfer)
                finally:
                    response.close()
            try:
                return read(data, errors.transfer or Transfer())
            except InBandError as error:
                payload = error.payload
            # Raised out here, so that what the service said does not stay in the chain.
            raise self._failure(payload, response, prompt)

    async def stream(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        """Yield the answer in parts, first what is known of the transfer, last the finish reason.

        Raises only ConnectorErrors.
        """
        with self._errors("first_byte", self.settings.timeouts.first_byte_s) as errors:
            body = self._wire.write(prompt, options, streamed=True)
            with self._first_byte.block():
                response = await self._request(self._stream_url, body, prompt, errors)
            transfer, sizes = errors.transfer, self._sizes(prompt, options)
            reader = BodyReader(response, self.settings.timeouts, cap=sizes.stream, transfer=transfer)
            reading = self._wire.reading()
            try:
                yield Chunk(transfer=transfer)
                data = await reader.read()
                if self._is_json(response, data):
                    for chunk in _chunks(self._wire.read(await _read_all(reader, data, sizes.whole), None)):
                        yield self._ended(chunk, prompt) if chunk.native_finish_reason else chunk
                    return
                decoder = self._wire.decoder(sizes)
                while data:
                    events = decoder.feed(data)
                    reader.transfer.events += len(events)
                    for name, event in events:
                        part = reading.take(name, event)
                        if part is not None:
                            yield part
                        elif reading.done:
                            break
                    data = await _read_more(reader, reading)
                if not reading.done:
                    for name, event in self._left_over(decoder):
                        part = reading.take(name, event)
                        if part is not None:
                            yield part
                last = reading.finish()
                yield self._ended(last, prompt) if last.native_finish_reason else last
                return
            except InBandError as error:
                payload = error.payload
            finally:
                reader.close()
                try:
                    if reading.done:
                        await _settle(response)
                finally:
                    response.close()
            raise self._failure(payload, response, prompt)

    def _sizes(self, prompt: Prompt, options: CallOptions) -> SizeLimits:
        """Return how large the answer may be."""
        if options.extra and not self._wire.enlarging.isdisjoint(options.extra):
            return LARGEST_SIZES
        longest = prompt.max_output or self.settings.max_output or prompt.window or self.settings.window
        return sizes_for(max(longest, options.max_tokens or 0))

    def _is_json(self, response: aiohttp.ClientResponse, data: bytes) -> bool:
        """Tell, by the first bytes, whether JSON came where a stream was asked; raises ProtocolError for a page."""
        kind = response.headers.get("Content-Type", "")
        start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:_START]
        first = start[:1]
        if first == b"<" or ("html" in kind and not _may_be_data(start.lower())):
            raise ProtocolError("the answer is a web page: check base_url", code="html")
        # No line of an event stream begins with a brace; where it does, the events stand in lines of their own. A blank
        # line at the start of such a stream only says that the service is still there.
        of_lines = "ndjson" in kind or "jsonl" in kind
        if (of_lines and first in (b"{", b"")) or (first == b"{" and b"completion.chunk" in start):
            return False
        return self._wire.json_in_streams and (first in (b"{", b"[") or (not first and "json" in kind))

    def _ended(self, last: Chunk, prompt: Prompt) -> Chunk:
        return evolve(last, native_finish_reason=self._shown(last.native_finish_reason, prompt))

    def _shown(self, word: str, prompt: Prompt) -> str:
        """Return a word of the service as it may be shown."""
        content = [message.text for message in prompt.messages]
        return foreign_text(word, secrets=self._secrets(), content=content, longest=_LONGEST_WORD)

    def _secrets(self) -> tuple[str, ...]:
        own = self.settings.secrets
        return own if self._authorizer is None else (*own, *self._authorizer.secrets)

    def _left_over(self, decoder: StreamDecoder) -> list[ServerSentEvent]:
        """Return the event at the end that nothing ends, where it counts and is whole."""
        events = decoder.feed(b"")
        irregular = isinstance(decoder, EventDecoder) and decoder.irregular
        events += decoder.flush() if self.settings.flush_at_eof or irregular else []
        return [event for event in events if _is_whole(event[1])]

    def _errors(self, timer: str, limit_s: float) -> UpstreamErrors:
        settings = self.settings
        return UpstreamErrors(
            settings.provider, settings.model, secrets=self._secrets(), timer=timer, limit_s=limit_s,
            session=self._session, unreached=settings.unreached,
        )  # fmt: skip

    async def _request(
        self, url: URL, body: bytes | None, prompt: Prompt, errors: UpstreamErrors
    ) -> aiohttp.ClientResponse:
        headers = self._headers
        if prompt.call_id and self.settings.call_id_header:
            headers = headers.copy()
            headers[self.settings.call_id_header] = header_value(prompt.call_id)
        if prompt.traceparent:
            headers = headers.copy()
            headers["traceparent"] = prompt.traceparent
        if self._authorizer is not None:
            headers = headers.copy()
            headers.update(await self._authorizer.headers(str(url), body or b""))
            errors.secrets = self._secrets()
        began = perf_counter()
        response = await self._session.request(
            "GET" if body is None else "POST", url, data=_sendable(body), headers=headers, timeout=self._connecting,
            allow_redirects=False,
        )  # fmt: skip
        errors.status = status = response.status
        errors.transfer = Transfer(
            status=status, first_byte_s=perf_counter() - began, quota=read_quota(response.headers)
        )
        if status in _NO_CONTENT:
            response.close()
            raise no_content(status)
        if status // 100 == 2:
            return response
        try:
            refusal = await self._refused(response, prompt, errors.transfer)
        finally:
            response.close()
        if status == 401 and self._authorizer is not None and await self._authorizer.renew(headers):
            raise NotReadyError(f"a key that has expired was renewed: {refusal}", code="key_renewed")
        try:
            raise refusal
        finally:
            del refusal  # its traceback holds this frame

    async def _refused(self, response: aiohttp.ClientResponse, prompt: Prompt, transfer: Transfer) -> ConnectorError:
        data = await read_start(response, transfer=transfer)
        if response.status < 400:
            return ProtocolError(
                f"the service redirects (status {response.status}) and is not followed: correct base_url",
                code="redirect",
            )
        return self._failure(parse_error_body(data), response, prompt)

    def _failure(self, payload: Any, response: aiohttp.ClientResponse, prompt: Prompt) -> ConnectorError:
        secrets = self._secrets()
        body = read_error_body(self._wire.read_error(payload), header=_error_code(response.headers))
        codes = [code for code in body.codes if foreign_text(code, secrets=secrets) == code]
        content = [message.text for message in prompt.messages]
        # Without the prompt, whose words say nothing of the error.
        said = foreign_text(body.message, secrets=secrets, content=content, longest=_LONGEST_READ)
        body = evolve(body, message=said, retry_after_s=retry_after_s(response.headers) or body.retry_after_s)
        kind = classify_error(body, response.status, self.settings.error_classes)
        return kind(
            describe_refusal(kind, response.status, codes[0] if codes else "", foreign_text(said), self._hints),
            code=codes[0] if codes else None,
            retry_after_s=body.retry_after_s,
            should_retry=should_retry(response.headers),
        )


def header_value(call_id: str) -> str:
    """Return what a header may carry of a call's id, at most 512 visible ASCII characters: the id, else its SHA-256."""
    return call_id if _SENDABLE_ID.fullmatch(call_id) else sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()


def _error_code(headers: Mapping[str, str]) -> str:
    return next((headers[name] for name in _ERROR_HEADERS if name in headers), "")


def _sendable(body: bytes | None) -> bytes | BytesIO | None:
    return body if body is None or len(body) <= _BYTES_CAP else BytesIO(body)


def _is_whole(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except ValueError:
        return data.startswith(b"[DONE]")
    return True


def _may_be_data(start: bytes) -> bool:
    """Tell whether the first bytes, perhaps few, are those of a stream or of JSON."""
    return any(start[: len(each)] == each[: len(start)] for each in _STARTS)


def _chunks(completion: Completion) -> Iterator[Chunk]:
    if completion.text or completion.reasoning or completion.tool_calls:
        calls = tuple(
            ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
            for index, call in enumerate(completion.tool_calls)
        )
        yield Chunk(completion.text, reasoning=completion.reasoning, tool_calls=calls)
    usage = None if completion.usage == Usage() else completion.usage
    reason, word = completion.finish_reason, completion.native_finish_reason
    yield Chunk("", reason, usage, completion.model, native_finish_reason=word)


async def _read_all(reader: BodyReader, data: bytes, cap: int) -> bytes:
    pieces = [data]
    while data:
        if reader.received > cap:
            raise ResponseTooLargeError(f"the answer is over {cap} bytes", code="response_too_large")
        data = await reader.read()
        pieces.append(data)
    return b"".join(pieces)


async def _read_more(reader: BodyReader, reading: StreamReader) -> bytes:
    """Return more of the stream, `b""` when there is or needs to be no more."""
    if reading.done:
        return b""
    if reading.fresh:
        reading.fresh = False
        reader.advanced()
        if reading.finish_reason or reading.retracted:
            reader.relax()  # the wait for the tail counts from the last content
    if reading.finish_reason is None:
        return await reader.read()
    reader.hurry(_TAIL_S)
    try:
        return await reader.read()
    except Exception as error:
        # The answer is whole: what goes wrong now costs its usage figures at most. Where every event says that it is
        # the last, a broken connection may have cost more.
        if reading.doubtful and not isinstance(error, UpstreamTimeoutError):
            raise
        return b""


async def _settle(response: aiohttp.ClientResponse) -> None:
    if response.content.at_eof():  # the usual case: the end came with the last event
        return
    left = _SETTLE_CAP
    with suppress(Exception):
        async with asyncio.timeout(_SETTLE_S):
            while left > 0 and (piece := await response.content.readany()):
                left -= len(piece)
