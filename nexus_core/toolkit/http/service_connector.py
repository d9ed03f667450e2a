"""Connector over HTTP: the options that all have, and when the client behind them is opened; a base class for plugins.

    @component
    class Acme(ServiceConnector):
        \"\"\"Sends prompts to Acme.\"\"\"

        name: ClassVar[str] = "acme"
        ADDRESS: ClassVar[ServiceAddress] = ServiceAddress(
            provider="acme", url="https://api.acme.example/v1", key_variables=("ACME_API_KEY",)
        )

        WIRE: ClassVar[str] = "acme.wire"

        MODELS: ClassVar[Path] = Path(__file__).with_name("models.json")  # else define `describe`

Imports nothing heavy until a connector is opened.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self, cast
from urllib.parse import urlsplit

from nexus_core.contract.components import component, injected, option, state
from nexus_core.contract.errors import AuthError, ConnectorError, ModelNotFoundError, NotConfiguredError
from nexus_core.contract.models import ModelInfo, ModelPrices
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import CallOptions, Chunk, Completion
from nexus_core.toolkit.http import service_settings
from nexus_core.toolkit.http.bodies import Timeouts
from nexus_core.toolkit.http.service_settings import ErrorWord, ServiceAddress, ServiceSettings
from nexus_core.toolkit.secrets import Secret
from nexus_core.toolkit.services.model_table import ModelRow, load_models
from nexus_core.toolkit.services.printed_key import split_command
from nexus_core.toolkit.shared_resources import SharedResources

if TYPE_CHECKING:
    from nexus_core.toolkit.http.service_client import RequestAuthorizer, ServiceClient


@component
class ServiceConnector:
    """Sends prompts to a model service over HTTP, exactly one request per call."""

    ADDRESS: ClassVar[ServiceAddress]
    """Where the service is by default, and its variables of the environment."""
    WIRE: ClassVar[str]
    """The module whose `make_wire(connector)` returns the `WireFormat` of the service; imported when it is opened."""
    MODELS: ClassVar[Path]
    """The table of models, see `ModelTable`."""
    NEEDS_KEY: ClassVar[bool] = True
    """Whether the service itself refuses requests without a key."""
    SMALL_MODEL: ClassVar[str] = ""
    """A model of the service that costs little: `nexus init` names it, `nexus models --check` asks it."""

    model: str = option(help="The model as the service calls it.", pattern=r"\S(.*\S)?")
    api_key: Secret | None = option(
        None,
        help="The key; by default that of the environment, for the address that it belongs to, else the stored one "
        "(`nexus secrets`).",
    )
    api_key_command: str | tuple[str, ...] | None = option(
        None,
        help="A command that prints the key, alone or as JSON with its end; run without a shell, again before that end "
        "and when the key is refused.",
    )
    api_key_file: str | None = option(
        None, help="A file that holds the key, alone or as JSON, relative to the pipeline; read again when it changes."
    )
    base_url: str | None = option(
        None,
        help="The address of the service; by default that of the environment, else the official one.",
        pattern=service_settings.URL_PATTERN,
    )
    headers: Mapping[str, Secret] = option(
        factory=dict, help="More headers of every request; an empty one is left out."
    )
    error_classes: Mapping[str, ErrorWord] = option(
        factory=dict, help="What a code or type of the service's errors means, where it means something unusual."
    )
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
    base_dir: str = injected(default=".")
    _client: ServiceClient | None = state()
    _info: ModelInfo | None = state()

    def __attrs_post_init__(self) -> None:
        """Hide what came as a plain string from Python; raise ValueError for options that do not go together."""
        if self.api_key_command is not None:
            split_command(self.api_key_command)
        if sum(map(bool, (self.api_key, self.api_key_command, self.api_key_file))) > 1:
            raise ValueError("give one of `api_key`, `api_key_command` and `api_key_file`")
        if isinstance(self.api_key, str):
            self.api_key = Secret(self.api_key)
        self.headers = {
            name: Secret(value) if isinstance(value, str) else value for name, value in self.headers.items()
        }

    @classmethod
    def known_models(cls) -> Sequence[str]:
        """Return the ids of the models that the table has, in its order; none where there is no table."""
        return load_models(cls.MODELS).ids if hasattr(cls, "MODELS") else ()

    @property
    def table_id(self) -> str:
        """The id under which the table of models may know the model."""
        return self.model

    @property
    def row(self) -> ModelRow:
        """What the table of models says."""
        return load_models(self.MODELS).find(self.table_id)

    def describe(self) -> ModelInfo:
        """Return what is known of the model, without any I/O: by default what the table says, or its defaults."""
        return self.row.info(self.model, self.ADDRESS.provider)

    @property
    def model_info(self) -> ModelInfo:
        """What `describe` returns, once."""
        if self._info is None:
            self._info = self.describe()
        return self._info

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the headers that carry the key, by default as a bearer token."""
        return {"Authorization": f"Bearer {key}"}

    def fixed_headers(self) -> Mapping[str, str | None]:
        """Return what every request carries besides, such as the version of the API; an empty one is left out."""
        return {}

    def make_authorizer(self) -> RequestAuthorizer | None:
        """Return what gives each request its credentials, where they expire or sign it: here the key that expires."""
        if not self._has_key_source:
            return None
        keys = import_module("nexus_core.toolkit.services.key_source")  # it brings aiohttp, as the client does
        source = keys.KeySource(
            command=split_command(self.api_key_command) if self.api_key_command else (),
            file=os.path.join(self.base_dir, os.path.expanduser(self.api_key_file)) if self.api_key_file else "",
        )
        return cast("RequestAuthorizer", keys.KeyAuthorizer(source, self.key_headers))

    @property
    def _has_key_source(self) -> bool:
        return bool(self.api_key_command or self.api_key_file)

    @property
    def address(self) -> ServiceAddress:
        """Where the service is by default; another one where options decide it."""
        return self.ADDRESS

    @property
    def answer_id(self) -> str:
        """The address, which may come from the environment."""
        return self.address.resolve_url(self.base_url, os.environ)

    @property
    def writes_cache(self) -> bool:
        """Whether requests may write to a cache of the service, where that has a price of its own."""
        return True

    def find_prices(self) -> ModelPrices | None:
        """Return what the package genai-prices, where it is installed, says of this model at this service."""
        base_url = self.answer_id
        if service_settings.is_near(urlsplit(base_url).hostname or "") or find_spec("genai_prices") is None:
            return None
        table = import_module("nexus_core.toolkit.services.service_prices")  # the extra `prices`, 300 ms
        prices = table.find_prices(self.model, base_url, datetime.now(UTC), writes_cache=self.writes_cache)
        return cast("ModelPrices | None", prices)

    async def send_prompt(self, prompt: Prompt, options: CallOptions) -> Completion:
        """Return the whole answer."""
        client = self._client or self.open_client()
        return await client.send(prompt, options)

    def stream_response(self, prompt: Prompt, options: CallOptions) -> AsyncGenerator[Chunk, None]:
        """Yield the answer in parts; closing the generator early closes the connection."""
        try:
            client = self._client or self.open_client()
        except ConnectorError as error:
            return _failing(error)
        return client.stream(prompt, options)

    async def __aenter__(self) -> Self:
        """Open the session; raises NotConfiguredError where a key is missing."""
        if self._client is None:
            self.open_client()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the session; whoever leaves it last closes all its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def open_client(self) -> ServiceClient:
        """Return the client, opened at first use; raises NotConfiguredError."""
        if self._client is None:
            settings, authorizer = self.resolve(os.environ), self.make_authorizer()
            if self.shared is None:
                self.shared = SharedResources()
            # These bring aiohttp and orjson, 250 ms: nobody pays for them who only lints, or who lacks the key.
            opened = import_module("nexus_core.toolkit.http.service_client").ServiceClient
            self._client = opened(settings, import_module(self.WIRE).make_wire(self), self.shared, authorizer)
        return cast("ServiceClient", self._client)

    def resolve(self, environ: Mapping[str, str]) -> ServiceSettings:
        """Return everything about the service; raises NotConfiguredError."""
        address, info = self.address, self.model_info
        base_url = address.resolve_url(self.base_url, environ)
        service_settings.check_url(base_url, address, self.model, allow_http=self.allow_http)
        key = "" if self._has_key_source else address.resolve_key(self.api_key, base_url, environ)
        extra = {name: value.reveal() for name, value in self.headers.items()}
        return ServiceSettings(
            provider=address.provider,
            model=self.model,
            base_url=base_url,
            headers=self._headers(key, base_url, extra),
            secrets=tuple(filter(None, (key, *map(str.strip, extra.values())))),
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
            hints={
                AuthError: f"check api_key{_or(address.key_variables[:1])} and what it may do",
                ModelNotFoundError: f"check model and base_url{_or((address.url_variable,))}",
            },
            unreached=f"does the service run there? check base_url{_or((address.url_variable,))}",
            window=info.window,
            max_output=info.max_output,
        )

    def _headers(self, key: str, base_url: str, extra: Mapping[str, str]) -> Mapping[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        carried = self.key_headers(key) if key else {}
        for name, value in (*carried.items(), *self.fixed_headers().items(), *extra.items()):
            if service_settings.stripped(value):
                headers[name] = service_settings.stripped(value)
        service_settings.check_headers(headers, provider=self.address.provider, model=self.model)
        needed = {name.lower() for name in self.key_headers("key")}
        if self._has_key_source:
            return headers
        if self.NEEDS_KEY and self.address.is_official(base_url) and needed.isdisjoint(map(str.lower, headers)):
            raise NotConfiguredError(
                f"no API key for {self.address.provider}: set {self.address.key_variables[0]}, or run nexus secrets "
                f"set {self.address.provider}, or give the option api_key of the model; for another service set "
                "base_url",
                provider=self.address.provider,
                model=self.model,
            )
        return headers


def _or(variables: tuple[str, ...]) -> str:
    return f" (or {variables[0]})" if variables and variables[0] else ""


async def _failing(error: ConnectorError) -> AsyncGenerator[Chunk, None]:
    raise error
    yield Chunk()
