"""Scripted models: answer in the place of a pipeline's connectors, as a test says, and fail as services do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Never, TypeVar

from nexus_core.config.cases.language import Reply
from nexus_core.config.cases.reader import connector_errors
from nexus_core.contract.errors import ConnectorError, LimitError, NotConfiguredError, PoolBusyError, TruncatedError
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.values import Chunk, Completion, ToolCall, ToolCallDelta, Usage
from nexus_core.engine.interceptors import ConnectorRequest, Interceptor
from nexus_core.toolkit.http.errors import error_of_status
from nexus_core.toolkit.suggest import counted

T = TypeVar("T")

Script = Reply | tuple[Reply, ...]
"""One reply for every request, or one for each in their order."""
_NOT_SENT = (PoolBusyError, LimitError)


class OfflineModels(Interceptor):
    """Lets the connectors answer that make no request, and refuses the others."""

    refusal = ""
    """Why a request was refused, the first that was."""

    async def open(self, model: str, info: ModelInfo, enter: Callable[[], Awaitable[object]]) -> None:
        """Open a connector that makes no request."""
        self._check(model, info)
        await enter()

    async def call(self, request: ConnectorRequest, send: Callable[[], Awaitable[T]]) -> T:
        """Return what a connector that makes no request returns."""
        self._check(request.model, request.info)
        return await send()

    async def stream(
        self, request: ConnectorRequest, send: Callable[[], AsyncIterator[Chunk]]
    ) -> AsyncGenerator[Chunk, None]:
        """Yield what a connector that makes no request yields."""
        self._check(request.model, request.info)
        async with aclosing(super().stream(request, send)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _check(self, model: str, info: ModelInfo) -> None:
        if "offline" not in info.capabilities:
            self.refuse(model, info, f"the model {model!r} would be asked over the network: script it under `models`")

    def refuse(self, model: str, info: ModelInfo, reason: str) -> Never:
        """Fail a request that the test does not provide for; the test fails with the reason whatever comes then."""
        self.refusal = self.refusal or reason
        raise NotConfiguredError(reason, provider=info.provider, model=info.id)


class ScriptedModels(Interceptor):
    """Answers for the models that have a script.

    For those that have none `others` answers: an interceptor that opens no connection, such as one that has recordings.
    By default they answer themselves where they make no request.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script],
        stall: Callable[[], Awaitable[Never]],
        others: Interceptor | None = None,
    ) -> None:
        self._scripts = scripts
        self._stall = stall
        self._offline = OfflineModels()
        self._others = others or self._offline
        self._requests: dict[str, int] = {}
        self.last: ConnectorRequest | None = None
        """The last prompt that was sent, and to whom."""

    @property
    def refusal(self) -> str:
        """Why a request was refused that the test does not provide for; empty where none was."""
        return self._offline.refusal

    def leftovers(self) -> Iterator[str]:
        """Yield in words which scripts have replies that no request has asked for."""
        for model, script in self._scripts.items():
            number = self._requests.get(model, 0)
            if not isinstance(script, Reply) and number < len(script):
                asked = f"{number or 'none'} {'was' if number < 2 else 'were'} asked for"
                yield f"the script of {model!r} has {_replies(script)}, and {asked}"

    async def open(self, model: str, info: ModelInfo, enter: Callable[[], Awaitable[object]]) -> None:
        """Leave the connector of a scripted model closed: it needs no key."""
        if model not in self._scripts:
            await self._others.open(model, info, enter)

    async def call(self, request: ConnectorRequest, send: Callable[[], Awaitable[T]]) -> T:
        """Return the next reply of the script, or raise its failure."""
        if request.prompt is not None:
            self.last = request
        if request.model not in self._scripts:
            return await self._others.call(request, send)
        if request.prompt is None:
            self._offline.refuse(
                request.model, request.info, f"a script gives texts, and the model {request.model!r} is to "
                f"{request.method}: rank with what is offline",
            )  # fmt: skip
        reply = self._next(request)
        if reply.breaks_off:
            await self._end(request, reply)
        answer: Any = _completion(reply)
        result: T = answer
        return result

    async def stream(
        self, request: ConnectorRequest, send: Callable[[], AsyncIterator[Chunk]]
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the next reply of the script, as far as it goes."""
        self.last = request
        if request.model not in self._scripts:
            async with aclosing(self._others.stream(request, send)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        reply = self._next(request)
        if reply.reasoning:
            yield Chunk(reasoning=reply.reasoning)
        end = reply.stall if reply.cut is None else reply.cut
        if text := reply.text[:end]:
            yield Chunk(text)
        if reply.breaks_off:
            await self._end(request, reply)
        whole = _completion(reply)
        calls = [
            ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
            for index, call in enumerate(whole.tool_calls)
        ]
        yield Chunk(tool_calls=tuple(calls), finish_reason=whole.finish_reason, usage=whole.usage)

    def _next(self, request: ConnectorRequest) -> Reply:
        """Return the reply to a request; raises where it is a refusal of the service, or where there is none."""
        script, number = self._scripts[request.model], self._requests.get(request.model, 0)
        self._requests[request.model] = number + 1
        if isinstance(script, Reply):
            reply = script
        elif number < len(script):
            reply = script[number]
        else:
            reason = f"the model {request.model!r} is asked {number + 1} times, and its script has {_replies(script)}"
            self._offline.refuse(request.model, request.info, reason)
        if reply.is_failure:
            raise _failure(reply, request)
        return reply

    async def _end(self, request: ConnectorRequest, reply: Reply) -> Never:
        if reply.cut is None:
            await self._stall()
        message = f"the answer of {request.model!r} ended before it was whole"
        raise TruncatedError(message, provider=request.info.provider, model=request.info.id)


def _replies(script: tuple[Reply, ...]) -> str:
    return counted(len(script), "reply", "replies")


def _completion(reply: Reply) -> Completion:
    calls = tuple(
        ToolCall(id=call.id or f"call_{number}", name=call.name, arguments=call.arguments)
        for number, call in enumerate(reply.tool_calls, 1)
    )
    usage = Usage()
    if reply.usage is not None:
        usage = Usage(
            prompt_tokens=reply.usage.prompt_tokens,
            completion_tokens=reply.usage.completion_tokens,
            reasoning_tokens=reply.usage.reasoning_tokens,
            cached_tokens=reply.usage.cached_tokens,
        )
    return Completion(
        text=reply.text,
        reasoning=reply.reasoning,
        tool_calls=calls,
        finish_reason=reply.finish_reason or ("tool_calls" if calls else "stop"),
        usage=usage,
    )


def _failure(reply: Reply, request: ConnectorRequest) -> ConnectorError:
    """Return the error of a connector whose service refuses a request so."""
    message = reply.text or f"{request.model!r} fails as its script says: {reply.error or reply.status}"
    kind = error_of_status(reply.status) if reply.status is not None else connector_errors()[reply.error or ""]
    provider, model = request.info.provider, request.info.id
    if issubclass(kind, NotConfiguredError):
        return kind(message, provider=provider, model=model)
    return kind(
        message,
        provider=provider,
        model=model,
        status=reply.status,
        retry_after_s=reply.retry_after,
        request_sent=not issubclass(kind, _NOT_SENT),
    )
