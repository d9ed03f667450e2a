"""Interceptors: what stands between the engine and the connectors of a pipeline, and sees each upstream request.

A batch notes a request in its journal before it is sent, a recording keeps it with its response, a replay answers it
without the connector. All of them are an `Interceptor` with three methods; `Pipeline.load(..., interceptor=...)` puts
it around every connector of the pipeline, those among the options of components included. It works below failover: each
attempt is a request of its own. What a model's `cache` answers is no request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from typing import Any, Literal, TypeVar

from attrs import frozen

from nexus_core.contract.models import ModelInfo
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.protocols import Connector, Embedder, Reranker
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Chunk, Completion

T = TypeVar("T")


@frozen(kw_only=True, eq=False)
class ConnectorRequest:
    """One upstream request, as a connector is asked for it."""

    model: str
    """The name in the pipeline; of a connector that is an option of a component its place, as `steps[1].rank.model`."""
    info: ModelInfo
    """The connector's own account."""
    method: Literal["send_prompt", "stream_response", "embed", "rerank"]
    prompt: Prompt | None = None
    """Of the first two methods."""
    options: CallOptions = NOTHING_ASKED
    query: str = ""
    """Of `rerank`."""
    texts: tuple[str, ...] = ()
    """Of `embed` and `rerank`."""


class Interceptor:
    """Sees each request of a pipeline; this one changes nothing. Raises only what a connector may raise."""

    sends: bool = True
    """Whether it ever calls `send`.

    Where it does not, no connector is opened, retries come without a pause, and attempts are not sent and cost 0.
    """

    async def open(self, model: str, info: ModelInfo, enter: Callable[[], Awaitable[object]]) -> None:
        """Open a connector with `enter`, before its first request; unopened it needs no key, and cannot be asked."""
        if self.sends:
            await enter()

    async def call(self, request: ConnectorRequest, send: Callable[[], Awaitable[T]]) -> T:
        """Return what `send` returns: a Completion, or the results of `embed` and `rerank`."""
        return await send()

    async def stream(
        self, request: ConnectorRequest, send: Callable[[], AsyncIterator[Chunk]]
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks that `send` yields; closed early, it closes them."""
        chunks: Any = send()
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


class InterceptorChain(Interceptor):
    """Several interceptors as one: the first sees each request first, and the last asks the connector."""

    def __init__(self, *interceptors: Interceptor) -> None:
        self._interceptors = interceptors
        self.sends = all(interceptor.sends for interceptor in interceptors)

    async def open(self, model: str, info: ModelInfo, enter: Callable[[], Awaitable[object]]) -> None:
        """Open a connector if each of them does."""
        for interceptor in reversed(self._interceptors):
            enter = partial(interceptor.open, model, info, enter)
        await enter()

    async def call(self, request: ConnectorRequest, send: Callable[[], Awaitable[T]]) -> T:
        """Return what the first one returns."""
        for interceptor in reversed(self._interceptors):
            send = partial(interceptor.call, request, send)
        return await send()

    async def stream(
        self, request: ConnectorRequest, send: Callable[[], AsyncIterator[Chunk]]
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks that the first one yields."""
        for interceptor in reversed(self._interceptors):
            send = partial(interceptor.stream, request, send)
        async with aclosing(super().stream(request, send)) as chunks:
            async for chunk in chunks:
                yield chunk


def intercepted(name: str, connector: Connector, interceptor: Interceptor) -> Connector:
    """Return a connector in place of one: it has the same methods, and each request goes through the interceptor."""
    bases: list[type] = [InterceptedConnector]
    if isinstance(connector, Embedder):
        bases.insert(0, _Embeds)
    if isinstance(connector, Reranker):
        bases.insert(0, _Reranks)
    made: Connector = type(type(connector).__name__, tuple(bases), {})(name, connector, interceptor)
    return made


class InterceptedConnector:
    """A connector whose requests go through an interceptor; everything else is the connector's own."""

    def __init__(self, name: str, connector: Any, interceptor: Interceptor) -> None:
        self._name = name
        self._connector = connector
        self._interceptor = interceptor
        self._entered = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._connector, name)

    @property
    def sends(self) -> bool:
        """Whether a request can reach the connector."""
        return self._interceptor.sends

    async def __aenter__(self) -> InterceptedConnector:
        """Open the connector where it needs that."""
        await self._interceptor.open(self._name, self.model_info, self._enter)
        return self

    async def __aexit__(self, *failure: Any) -> None:
        """Close it, if it was opened."""
        if self._entered:
            self._entered = False
            await self._connector.__aexit__(*failure)

    async def _enter(self) -> None:
        if isinstance(self._connector, AbstractAsyncContextManager):
            await self._connector.__aenter__()
            self._entered = True

    @property
    def model_info(self) -> ModelInfo:
        """What the connector tells of its model."""
        info: ModelInfo = self._connector.model_info
        return info

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return the whole answer."""
        request = self._request("send_prompt", prompt=prompt, options=options)
        return await self._interceptor.call(request, lambda: self._connector.send_prompt(prompt, options))

    def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        """Yield the answer in parts."""
        request = self._request("stream_response", prompt=prompt, options=options)
        return self._interceptor.stream(request, lambda: self._connector.stream_response(prompt, options))

    def _request(self, method: Any, **asked: Any) -> ConnectorRequest:
        return ConnectorRequest(model=self._name, info=self.model_info, method=method, **asked)


class _Embeds(InterceptedConnector):
    @property
    def embedding_id(self) -> str:
        """As the connector says it."""
        return str(self._connector.embedding_id)

    @property
    def embedding_batch(self) -> int:
        """As the connector says it."""
        return int(self._connector.embedding_batch)

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text."""
        request = self._request("embed", texts=tuple(texts))
        return await self._interceptor.call(request, lambda: self._connector.embed(texts))


class _Reranks(InterceptedConnector):
    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return the relevance of each text."""
        request = self._request("rerank", query=query, texts=tuple(texts))
        return await self._interceptor.call(request, lambda: self._connector.rerank(query, texts))
