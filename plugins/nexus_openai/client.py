"""One request to the service, whole or streamed: exactly one, and never a second one for whatever reason."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from time import perf_counter
from typing import Any, TypeVar

import aiohttp
import orjson
from attrs import evolve
from multidict import CIMultiDict
from yarl import URL

from nexus_core import (
    AuthError,
    CallOptions,
    Chunk,
    Completion,
    ConnectorError,
    Message,
    ModelNotFoundError,
    Prompt,
    ProtocolError,
    ResponseTooLargeError,
    ToolCallDelta,
    Transfer,
    UpstreamTimeoutError,
    Usage,
)
from nexus_core.toolkit import (
    HINTS,
    JSON_CAP,
    LARGEST_SIZES,
    BodyReader,
    EventDecoder,
    ServerSentEvent,
    SharedResources,
    SizeLimits,
    TimeLimit,
    UpstreamErrors,
    classify_error,
    connect_timeout,
    describe_refusal,
    foreign_text,
    open_session,
    read_body,
    read_error_body,
    read_quota,
    read_start,
    retry_after_s,
    should_retry,
    sizes_for,
)
from nexus_openai.client_settings import CALL_ID_HEADER, ClientSettings
from nexus_openai.model_table import ModelEntry
from nexus_openai.request_body import header_value, option_names, write_json, write_request
from nexus_openai.response_parsing import InBandError, StreamReading, read_completion

PROVIDER = "openai"

_Read = TypeVar("_Read")

_log = logging.getLogger("nexus_openai")

_UNREACHED = "does the service run there? check base_url (or OPENAI_BASE_URL)"
_HINTS = {
    **HINTS,
    AuthError: "check api_key (or OPENAI_API_KEY) and what it may do",
    ModelNotFoundError: "check model and base_url (or OPENAI_BASE_URL)",
}

_TAIL_S = 5.0
"""How long a stream may take from its last content and its finish reason to its usage and its end."""
_LONGEST_WORD = 80
"""Characters that are kept of a finish reason that nobody knows."""
_SETTLE_S = 0.25
"""How long after `[DONE]` the end of the body is waited for, so that the connection can serve again."""
_SETTLE_CAP = 64 * 2**10
_ENLARGING = frozenset({"logprobs", "top_logprobs", "n", "modalities", "audio"})
"""Options by which an answer holds more than what the model says."""
_BYTES_CAP = 2**20
"""A body above this goes out in pieces: aiohttp warns of larger ones as bytes."""


class Client:
    """Sends requests over a shared session and reads what comes back; open it within a running loop, and close it."""

    def __init__(
        self, settings: ClientSettings, entry: ModelEntry, shared: SharedResources, *, chat: bool, include_usage: bool
    ) -> None:
        self._settings = settings
        self._timeouts = settings.timeouts
        self._total = TimeLimit(settings.timeouts.total_s)
        self._first_byte = TimeLimit(settings.timeouts.first_byte_s)
        self._max_output = entry.max_output
        self._window = entry.window
        self._chat = chat
        self._thinks = settings.thinks
        self._told_of_tags = False
        self._names = option_names(entry.max_tokens_parameter if chat else "max_tokens", entry.unsupported)
        self._unsupported = entry.unsupported
        self._whole: dict[str, Any] = {"model": settings.model}
        self._streamed: dict[str, Any] = {"model": settings.model, "stream": True}
        if include_usage:
            self._streamed["stream_options"] = {"include_usage": True}
        self._url = self._endpoint("/chat/completions" if chat else "/completions")
        self._headers = CIMultiDict(settings.headers)
        self._connecting = connect_timeout(settings.timeouts)
        # All in which two sessions must differ; whatever else differs goes with each request.
        self._key = ("http", asyncio.get_running_loop(), settings.connections, settings.trust_env)
        self._shared = shared
        self._session = shared.take(
            self._key, lambda: open_session(connections=settings.connections, trust_env=settings.trust_env)
        )

    def _endpoint(self, path: str) -> URL:
        url = URL(self._settings.base_url + path)
        return url.update_query(dict(self._settings.query)) if self._settings.query else url

    async def close(self) -> None:
        """Leave the session; its last user closes all connections."""
        self._total.close()
        self._first_byte.close()
        await self._shared.release(self._key)

    async def send(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return the whole answer; raises only ConnectorErrors."""
        completion = await self._exchange(
            self._url,
            prompt,
            lambda: self._body(self._whole, prompt, options),
            self._read_completion,
            self._sizes(prompt, options).whole,
        )
        if completion.native_finish_reason:
            shown = self._shown(completion.native_finish_reason, prompt)
            return evolve(completion, native_finish_reason=shown)
        return completion

    def _read_completion(self, data: bytes, transfer: Transfer | None = None) -> Completion:
        return read_completion(data, transfer, thinks=self._thinks)

    def _shown(self, word: str, prompt: Prompt) -> str:
        """Return a word of the service as it may be shown."""
        content = [message.text for message in prompt.messages]
        return foreign_text(word, secrets=self._settings.secrets, content=content, longest=_LONGEST_WORD)

    async def ask(
        self, path: str, fields: Mapping[str, Any], texts: Sequence[str], read: Callable[[bytes, Transfer], _Read]
    ) -> _Read:
        """Return what `read` makes of the answer of another endpoint, asked about texts; raises only ConnectorErrors.

        No more of the service's error than of one about a prompt is shown: nothing that stands in the texts.
        """
        url = self._endpoint(path)
        # Texts that are sent are a prompt for whoever looks after what errors may show.
        prompt = Prompt(messages=tuple(Message("user", text) for text in texts))
        return await self._exchange(url, prompt, lambda: write_json({"model": self._settings.model, **fields}), read)

    def _sizes(self, prompt: Prompt, options: CallOptions) -> SizeLimits:
        """Return how large the answer may be."""
        if not _ENLARGING.isdisjoint(options.extra):
            return LARGEST_SIZES
        longest = prompt.max_output or self._max_output or prompt.window or self._window
        return sizes_for(max(longest, options.max_tokens or 0))

    async def _exchange(
        self,
        url: URL,
        prompt: Prompt,
        write: Callable[[], bytes],
        read: Callable[[bytes, Transfer], _Read],
        cap: int = JSON_CAP,
    ) -> _Read:
        """Send one request and read its answer as a whole, of so many bytes at most."""
        with self._errors("total", self._timeouts.total_s) as errors:
            body = write()
            with self._total.block():
                response = await self._post(url, body, prompt, errors)
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
        with self._errors("first_byte", self._timeouts.first_byte_s) as errors:
            body = self._body(self._streamed, prompt, options)
            with self._first_byte.block():
                response = await self._post(self._url, body, prompt, errors)
            transfer, sizes = errors.transfer, self._sizes(prompt, options)
            reader = BodyReader(response, self._timeouts, cap=sizes.stream, transfer=transfer)
            reading = StreamReading(thinks=self._thinks)
            try:
                yield Chunk(transfer=transfer)
                data = await reader.read()
                if _is_json(response, data):
                    for chunk in _chunks(self._read_completion(await _read_all(reader, data, sizes.whole))):
                        yield self._ended(chunk, prompt) if chunk.native_finish_reason else chunk
                    return
                decoder = EventDecoder(line_cap=sizes.line, event_cap=sizes.line)
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
                last = reading.finish(unconfirmed=self._settings.complete_unconfirmed)
                if reading.stray_tag:
                    self._tell_of_tag()
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

    def _ended(self, last: Chunk, prompt: Prompt) -> Chunk:
        return evolve(last, native_finish_reason=self._shown(last.native_finish_reason, prompt))

    def _tell_of_tag(self) -> None:
        """Warn, once for a model, that reasoning may have been streamed as text."""
        if not self._told_of_tags:
            self._told_of_tags = True
            _log.warning(
                "a streamed answer of %s holds the end of a think block that never began, so that its reasoning may "
                "stand in the text: if the model thinks before it answers, set `thinks: true` on it",
                self._settings.model,
            )

    def _left_over(self, decoder: EventDecoder) -> list[ServerSentEvent]:
        """Return the event at the end that no blank line ends, where it counts and is whole."""
        decoder.feed(b"")
        events = decoder.flush() if self._settings.flush_at_eof else []
        return [event for event in events if _is_whole(event[1])]

    def _errors(self, timer: str, limit_s: float) -> UpstreamErrors:
        settings = self._settings
        return UpstreamErrors(
            PROVIDER, settings.model, secrets=settings.secrets, timer=timer, limit_s=limit_s, session=self._session,
            unreached=_UNREACHED,
        )  # fmt: skip

    def _body(self, start: dict[str, Any], prompt: Prompt, options: CallOptions) -> bytes:
        if self._unsupported and _log.isEnabledFor(logging.DEBUG):
            left_out = [name for name in sorted(self._unsupported) if getattr(options, name) is not None]
            _log.debug("%s does not take %s: left out", self._settings.model, ", ".join(left_out) or "nothing set here")
        return write_request(
            start, prompt.messages, options, self._names, chat=self._chat, continues=self._settings.continues
        )

    async def _post(self, url: URL, body: bytes, prompt: Prompt, errors: UpstreamErrors) -> aiohttp.ClientResponse:
        data = body if len(body) <= _BYTES_CAP else BytesIO(body)
        headers = self._headers
        if prompt.call_id and self._settings.sends_call_id:
            headers = headers.copy()
            headers[CALL_ID_HEADER] = header_value(prompt.call_id)
        began = perf_counter()
        response = await self._session.post(
            url, data=data, headers=headers, timeout=self._connecting, allow_redirects=False
        )
        errors.status = status = response.status
        errors.transfer = Transfer(
            status=status, first_byte_s=perf_counter() - began, quota=read_quota(response.headers)
        )
        if status // 100 == 2:
            return response
        try:
            raise await self._refused(response, prompt, errors.transfer)
        finally:
            response.close()

    async def _refused(self, response: aiohttp.ClientResponse, prompt: Prompt, transfer: Transfer) -> ConnectorError:
        data = await read_start(response, transfer=transfer)
        if response.status < 400:
            return ProtocolError(
                f"the service redirects (status {response.status}) and is not followed: correct base_url",
                code="redirect",
            )
        return self._failure(_parsed(data), response, prompt)

    def _failure(self, payload: Any, response: aiohttp.ClientResponse, prompt: Prompt) -> ConnectorError:
        secrets = self._settings.secrets
        refusal = read_error_body(payload)
        codes = [code for code in refusal.codes if foreign_text(code, secrets=secrets) == code]
        kind = classify_error(refusal, response.status, self._settings.error_classes)
        said = foreign_text(refusal.message, secrets=secrets, content=[message.text for message in prompt.messages])
        return kind(
            describe_refusal(kind, response.status, codes[0] if codes else "", said, _HINTS),
            code=codes[0] if codes else None,
            retry_after_s=retry_after_s(response.headers),
            should_retry=should_retry(response.headers),
        )


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        text = data.decode(errors="replace").strip()
    return None if text.startswith("<") else text


def _is_whole(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except ValueError:
        return data.startswith(b"[DONE]")
    return True


def _is_json(response: aiohttp.ClientResponse, data: bytes) -> bool:
    """Tell, by the first bytes, whether JSON came where a stream was asked; raises ProtocolError for a web page."""
    kind = response.headers.get("Content-Type", "")
    first = data.lstrip()[:1]
    if first == b"<" or "html" in kind:
        raise ProtocolError("the answer is a web page: check base_url", code="html")
    # No line of an event stream begins with a brace.
    return first in (b"{", b"[") or (not first and "json" in kind)


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


async def _read_more(reader: BodyReader, reading: StreamReading) -> bytes:
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
