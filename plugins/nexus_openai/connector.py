"""The component: its options, and when the client behind it is opened. Imports nothing heavy until then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from attrs import evolve

from nexus_core import (
    ImageTokens,
    ModelInfo,
    component,
    hookimpl,
    option,
    state,
)
from nexus_core.toolkit import ServiceAddress, ServiceConnector, ServiceSettings, is_near
from nexus_openai.model_table import MaxTokensParameter, ModelEntry, checked_on, known_ids, row_of, snapshot
from nexus_openai.model_use import Capability, Continues, OptionName, resolve_entry

CALL_ID_HEADER = "X-Client-Request-Id"


@component
class OpenAI(ServiceConnector):
    """Sends prompts to OpenAI, and to every service that speaks its chat completions protocol.

    Exactly one request per call. A call option that the model does not take is left out of the request, since the
    models of a fallback chain share their options.
    """

    name: ClassVar[str] = "openai"

    ADDRESS: ClassVar[ServiceAddress] = ServiceAddress(
        provider="openai",
        url="https://api.openai.com/v1",
        url_variable="OPENAI_BASE_URL",
        key_variables=("OPENAI_API_KEY",),
    )
    WIRE: ClassVar[str] = "nexus_openai.wire"
    SMALL_MODEL: ClassVar[str] = "gpt-4o-mini"

    api_key_header: str | None = option(
        None, help="The header that takes the key as it is, such as api-key; by default Authorization, as a bearer."
    )
    endpoint: Literal["auto", "chat", "completions", "responses"] = option(
        "auto",
        help="Chat completions, the Responses API or the legacy completions; auto goes by the table of models.",
    )
    like: str | None = option(
        None, help="The model of the table whose figures and behaviour this one has, such as gpt-5-mini."
    )
    unsupported: tuple[OptionName, ...] = option(
        (), help="Call options that the model refuses, beside those that the table names, such as temperature."
    )
    unsupported_options: Literal["drop", "error"] = option(
        "drop", help="What is done with call options that the model refuses: left out, or an error before it is asked."
    )
    max_tokens_parameter: MaxTokensParameter | None = option(
        None, help="What the request calls max_tokens; by default the table of models says so."
    )
    capabilities: tuple[Capability, ...] = option(
        (), help="What the model can do beside what the table says, such as schema, where it holds to a JSON Schema."
    )
    image_tokens: int | None = option(
        None, help="How many tokens any image in a message takes at most; by default the table of models says so.", ge=1
    )
    file_tokens: int | None = option(
        None,
        help="How many tokens any file in a message takes at most: nobody publishes how they are counted, so without "
        "it the model takes none.",
        ge=1,
    )
    organization: str | None = option(None, help="The OpenAI organization that is billed.")
    project: str | None = option(None, help="The OpenAI project that is billed.")
    query: Mapping[str, str] = option(
        factory=dict,
        help="Parameters of the URL, such as the api-version of Azure. Errors show none of their values.",
    )
    include_usage: bool = option(
        True, help="Ask for the token counts of streams; switch it off for a service that refuses stream_options."
    )
    flush_at_eof: bool = option(
        False, help="Streams: take the last event also without the blank line that ends it, if it is whole."
    )
    complete_unconfirmed: bool = option(
        False, help="Streams: take [DONE] for the end of a whole answer also where no finish reason came."
    )
    continues: Continues | None = option(
        None, help="The service goes on where a last message of the assistant ends; this is how it is told to."
    )
    thinks: bool | None = option(
        None,
        help="Its text begins with reasoning that `</think>` ends, also where no `<think>` comes: streams hold text "
        "back until then. By default the table of models says so.",
    )
    embedding_batch: int = option(32, help="Embeddings: how many texts one request holds at most.", ge=1, le=2048)
    dimensions: int | None = option(None, help="Embeddings: how long a vector the service is asked for.", ge=1)

    _entry: ModelEntry | None = state()

    @classmethod
    def known_models(cls) -> Sequence[str]:
        """Return the ids of the models that the table has, in its order."""
        return known_ids()

    def __attrs_post_init__(self) -> None:
        """Raise ValueError for a wrong name of a model that this one is like."""
        ServiceConnector.__attrs_post_init__(self)
        if self.like:
            row_of(self.like)

    @property
    def entry(self) -> ModelEntry:
        """What is known of the model, with what the options say over the table."""
        if self._entry is None:
            base_url = self.answer_id
            self._entry = resolve_entry(
                self.model,
                official=self.ADDRESS.is_official(base_url),
                near=is_near(urlsplit(base_url).hostname or ""),
                like=self.like,
                endpoint=self.endpoint,
                unsupported=self.unsupported,
                max_tokens_parameter=self.max_tokens_parameter,
            )
        return self._entry

    @property
    def embedding_id(self) -> str:
        """The service, the model and the dimensions: another of these gives other vectors."""
        address = self.answer_id.partition("://")[2]
        return f"openai:{address}:{self.model}" + (f":{self.dimensions}" if self.dimensions else "")

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text, by `POST {base_url}/embeddings`."""
        client = self.open_client()
        vectors: Sequence[Sequence[float]] = await _other_requests().embed(client, texts, self.dimensions)
        return vectors

    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return the relevance of each text for the query, by `POST {base_url}/rerank`."""
        client = self.open_client()
        relevance: Sequence[float] = await _other_requests().rerank(client, query, texts)
        return relevance

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the header with the key: a bearer token, or as it is in `api_key_header`."""
        return {self.api_key_header: key} if self.api_key_header else {"Authorization": f"Bearer {key}"}

    def fixed_headers(self) -> Mapping[str, str | None]:
        """Return who is billed."""
        return {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}

    def resolve(self, environ: Mapping[str, str]) -> ServiceSettings:
        """Return everything about the service; raises NotConfiguredError."""
        settings = ServiceConnector.resolve(self, environ)
        own_id = CALL_ID_HEADER.lower() in map(str.lower, self.headers)
        return evolve(
            settings,
            query=self.query,
            secrets=(*settings.secrets, *filter(None, map(str.strip, self.query.values()))),
            flush_at_eof=self.flush_at_eof,
            call_id_header="" if own_id else CALL_ID_HEADER,
        )

    def describe(self) -> ModelInfo:
        """Return what the table of models says with the options over it, or the declared defaults."""
        entry = self.entry
        capabilities = entry.capabilities.union(self.capabilities) - (set() if self.file_tokens else {"files"})
        capabilities |= {"continue"} if self.continues else set()
        capabilities |= set() if entry.endpoint == "embeddings" else {"generate"}
        images = entry.images
        if self.image_tokens:
            images = ImageTokens(formula="fixed", base=self.image_tokens, at_most=self.image_tokens)
        official = self.ADDRESS.is_official(self.answer_id)
        return ModelInfo(
            id=self.model,
            provider="openai",
            window=entry.window,
            max_input=entry.max_input,
            max_output=entry.max_output,
            encoding=entry.encoding or ("o200k_base" if official else "approximate"),
            # Of a text made of messages: "System: " or "Assistant: " and a blank line, and "Assistant:" at its end.
            tokens_per_message=5 if entry.endpoint == "completions" else 3,
            tokens_per_prompt=3,
            capabilities=capabilities,
            unsupported=entry.unsupported,
            image_tokens=images,
            file_tokens_at_most=self.file_tokens if "files" in capabilities else None,
            tool_tokens=entry.tool_tokens,
            endpoint=entry.endpoint,
            version=snapshot(self.model),
            description=f"{entry.description} Checked on {checked_on()}." if entry.known else entry.description,
        )


def _other_requests() -> ModuleType:
    """Return the module of the requests that are no prompts, which brings orjson, as the client does."""
    from nexus_openai import embeddings

    return embeddings


@hookimpl
def nexus_connectors() -> list[type]:
    """Declare the connector."""
    return [OpenAI]
