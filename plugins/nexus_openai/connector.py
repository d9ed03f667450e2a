"""The component: its options, and when the client behind it is opened. Imports nothing heavy until then."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import urlsplit

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ConnectorError,
    ModelInfo,
    ModelPrices,
    Prompt,
    Secret,
    component,
    hookimpl,
    injected,
    option,
    state,
)
from nexus_core.toolkit import SharedResources, Timeouts
from nexus_openai import client_settings
from nexus_openai.model_table import ModelEntry, find_model, snapshot

if TYPE_CHECKING:
    from nexus_openai.client import Client


@component
class OpenAI:
    """Sends prompts to OpenAI, and to every service that speaks its chat completions protocol.

    Exactly one request per call. A call option that the model does not take is left out of the request, since the
    models of a fallback chain share their options.
    """

    name: ClassVar[str] = "openai"

    model: str = option(help="The model as the service calls it.", pattern=r"\S(.*\S)?")
    api_key: Secret | None = option(
        None, help="The key; by default the variable OPENAI_API_KEY, for the address that it belongs to."
    )
    base_url: str | None = option(
        None,
        help="The address of the service, up to /v1; by default the variable OPENAI_BASE_URL, else OpenAI.",
        pattern=client_settings.URL_PATTERN,
    )
    api_key_header: str | None = option(
        None, help="The header that takes the key as it is, such as api-key; by default Authorization, as a bearer."
    )
    endpoint: Literal["auto", "chat", "completions"] = option(
        "auto", help="The endpoint: chat completions or the legacy completions; auto goes by the table of models."
    )
    organization: str | None = option(None, help="The OpenAI organization that is billed.")
    project: str | None = option(None, help="The OpenAI project that is billed.")
    headers: Mapping[str, Secret] = option(
        factory=dict, help="More headers of every request; an empty one is left out."
    )
    query: Mapping[str, str] = option(
        factory=dict,
        help="Parameters of the URL, such as the api-version of Azure. Errors show none of their values.",
    )
    include_usage: bool = option(
        True, help="Ask for the token counts of streams; switch it off for a service that refuses stream_options."
    )
    error_classes: Mapping[str, client_settings.ErrorWord] = option(
        factory=dict, help="What a code or type of the service's errors means, where it means something unusual."
    )
    flush_at_eof: bool = option(
        False, help="Streams: take the last event also without the blank line that ends it, if it is whole."
    )
    complete_unconfirmed: bool = option(
        False, help="Streams: take [DONE] for the end of a whole answer also where no finish reason came."
    )
    continues: client_settings.Continues | None = option(
        None, help="The service goes on where a last message of the assistant ends; this is how it is told to."
    )
    thinks: bool | None = option(
        None,
        help="Its text begins with reasoning that `</think>` ends, also where no `<think>` comes: streams hold text "
        "back until then. By default the table of models says so.",
    )
    embedding_batch: int = option(32, help="Embeddings: how many texts one request holds at most.", ge=1, le=2048)
    dimensions: int | None = option(None, help="Embeddings: how long a vector the service is asked for.", ge=1)
    connect_timeout_s: float = option(10.0, help="Limit for a free connection, name lookup, TCP and TLS.", gt=0)
    first_byte_timeout_s: float = option(60.0, help="Streams: limit from the request to the head of the answer.", gt=0)
    idle_timeout_s: float = option(60.0, help="Streams: limit without any byte.", gt=0)
    progress_timeout_s: float = option(120.0, help="Streams: limit without content, keep-alives or not.", gt=0)
    total_timeout_s: float = option(90.0, help="Limit for a whole answer that is not streamed.", gt=0)
    stream_timeout_s: float = option(600.0, help="Limit for a stream in all.", gt=0)
    connections: int = option(100, help="How many connections may be open at once.", ge=1)
    allow_http: bool = option(False, help="Allow plain http to hosts beyond this machine and private networks.")
    trust_env: bool = option(False, help="Use the proxy and the netrc file that the environment names.")

    shared: SharedResources | None = injected()
    """What the components of a process use together; set by the engine."""
    _client: Client | None = state()
    _info: ModelInfo | None = state()

    def __attrs_post_init__(self) -> None:
        """Hide what came as a plain string from Python."""
        if isinstance(self.api_key, str):
            self.api_key = Secret(self.api_key)
        self.headers = {
            name: Secret(value) if isinstance(value, str) else value for name, value in self.headers.items()
        }

    @property
    def model_info(self) -> ModelInfo:
        """What the table of models says, or the declared defaults."""
        if self._info is None:
            self._info = self._describe(find_model(self.model))
        return self._info

    @property
    def answer_id(self) -> str:
        """The address, which may come from the environment."""
        return client_settings.resolve_url(self.base_url, os.environ)

    def find_prices(self) -> ModelPrices | None:
        """Return what the package genai-prices, where it is installed, says of this model at this service."""
        base_url = client_settings.resolve_url(self.base_url, os.environ)
        if client_settings.is_near(urlsplit(base_url).hostname or "") or find_spec("genai_prices") is None:
            return None
        from nexus_openai import service_prices  # the extra `prices`, 300 ms

        return service_prices.find_prices(self.model, base_url, datetime.now(UTC))

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return the whole answer."""
        client = self._client or self._open()
        return await client.send(prompt, options)

    def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        """Yield the answer in parts; closing the generator early closes the connection."""
        try:
            client = self._client or self._open()
        except ConnectorError as error:
            return _failing(error)
        return client.stream(prompt, options)

    @property
    def embedding_id(self) -> str:
        """The service, the model and the dimensions: another of these gives other vectors."""
        address = client_settings.resolve_url(self.base_url, os.environ).partition("://")[2]
        return f"openai:{address}:{self.model}" + (f":{self.dimensions}" if self.dimensions else "")

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text, by `POST {base_url}/embeddings`."""
        client = self._client or self._open()
        vectors: Sequence[Sequence[float]] = await _other_requests().embed(client, texts, self.dimensions)
        return vectors

    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return the relevance of each text for the query, by `POST {base_url}/rerank`."""
        client = self._client or self._open()
        relevance: Sequence[float] = await _other_requests().rerank(client, query, texts)
        return relevance

    async def __aenter__(self) -> OpenAI:
        """Open the session; raises NotConfiguredError where a key is missing."""
        if self._client is None:
            self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the session; whoever leaves it last closes all its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _open(self) -> Client:
        resolved = self._resolve(os.environ)
        # aiohttp and orjson, 250 ms: nobody pays for them who only lints, or who lacks the key.
        from nexus_openai.client import Client

        entry = find_model(self.model)
        chat = (entry.endpoint if self.endpoint == "auto" else self.endpoint) == "chat"
        if self.shared is None:
            self.shared = SharedResources()
        self._client = Client(resolved, entry, self.shared, chat=chat, include_usage=self.include_usage)
        return self._client

    def _resolve(self, environ: Mapping[str, str]) -> client_settings.ClientSettings:
        base_url = client_settings.resolve_url(self.base_url, environ)
        client_settings.check_url(self.model, base_url, allow_http=self.allow_http)
        key = client_settings.resolve_key(self.api_key, base_url, environ)
        extra = {name: value.reveal() for name, value in self.headers.items()}
        named = {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}
        return client_settings.ClientSettings(
            model=self.model,
            base_url=base_url,
            headers=client_settings.build_headers(self.model, key, base_url, named, extra, self.api_key_header),
            query=self.query,
            secrets=tuple(filter(None, (key, *map(str.strip, (*extra.values(), *self.query.values()))))),
            timeouts=Timeouts(
                connect_s=self.connect_timeout_s,
                first_byte_s=self.first_byte_timeout_s,
                idle_s=self.idle_timeout_s,
                progress_s=self.progress_timeout_s,
                total_s=self.total_timeout_s,
                stream_s=self.stream_timeout_s,
            ),
            connections=self.connections,
            trust_env=self.trust_env,
            error_classes={code.strip().lower(): word for code, word in self.error_classes.items()},
            flush_at_eof=self.flush_at_eof,
            complete_unconfirmed=self.complete_unconfirmed,
            continues=self.continues,
            thinks=find_model(self.model).thinks if self.thinks is None else self.thinks,
            sends_call_id=client_settings.CALL_ID_HEADER.lower() not in map(str.lower, extra),
        )

    def _describe(self, entry: ModelEntry) -> ModelInfo:
        official = client_settings.is_official(client_settings.resolve_url(self.base_url, os.environ))
        chat = (entry.endpoint if self.endpoint == "auto" else self.endpoint) == "chat"
        return ModelInfo(
            id=self.model,
            provider="openai",
            window=entry.window,
            max_input=entry.max_input,
            max_output=entry.max_output,
            encoding=entry.encoding or ("o200k_base" if official else "approximate"),
            # Of a text made of messages: "System: " or "Assistant: " and a blank line, and "Assistant:" at its end.
            tokens_per_message=3 if chat else 5,
            tokens_per_prompt=3,
            capabilities=entry.capabilities | {"generate"} | ({"continue"} if self.continues else frozenset()),
            version=snapshot(self.model),
            description=entry.description,
        )


async def _failing(error: ConnectorError) -> AsyncGenerator[Chunk, None]:
    raise error
    yield Chunk()


def _other_requests() -> ModuleType:
    """Return the module of the requests that are no prompts, which brings orjson, as the client does."""
    from nexus_openai import embeddings

    return embeddings


@hookimpl
def nexus_connectors() -> list[type]:
    """Declare the connector."""
    return [OpenAI]
