"""The component `ollama`: its options and what is known of its models. Imports nothing heavy until it is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from attrs import evolve, frozen

from nexus_core import ImageTokens, ModelInfo, ModelNotFoundError, component, hookimpl, option
from nexus_core.toolkit import ServiceAddress, ServiceConnector, ServiceSettings

LOCAL_WINDOW = 8192
"""Tokens that a model on one's own machine is loaded with where the pipeline says nothing: each takes memory there."""
_PORT = 11434
_ANY_ADDRESS = re.compile(r"(?<=://)(0\.0\.0\.0|\[::\])(?=[:/]|$)")
_IMAGE_AT_MOST = ImageTokens(formula="fixed", base=4096, at_most=4096)
"""Where the table has no figure: Ollama scales images down to what the model's own processor takes."""


@frozen(kw_only=True)
class OllamaAddress(ServiceAddress):
    """An address as `OLLAMA_HOST` has it: a host alone, host and port, or a URL."""

    def resolve_url(self, option: str | None, environ: Mapping[str, str]) -> str:
        """Return the URL; the port is 11434 where only a host is said, and the path of the other API is taken off."""
        said = ServiceAddress.resolve_url(self, option, environ)
        if "://" not in said:
            host = f"127.0.0.1{said}" if said.startswith(":") else said
            said = f"https://{host}" if host.partition("/")[0] == self.domain else _with_port(f"http://{host}")
        return _ANY_ADDRESS.sub("127.0.0.1", said).removesuffix("/v1").removesuffix("/api")


@component
class Ollama(ServiceConnector):
    """Sends prompts to a model that Ollama runs, here or at ollama.com, by its own API.

    Exactly one request per call. The model is loaded with the window that the prompt is packed for, so that nothing of
    it is cut.
    """

    name: ClassVar[str] = "ollama"

    ADDRESS: ClassVar[ServiceAddress] = OllamaAddress(
        provider="ollama",
        url=f"http://127.0.0.1:{_PORT}",
        domain="ollama.com",
        url_variable="OLLAMA_HOST",
        key_variables=("OLLAMA_API_KEY",),
    )
    WIRE: ClassVar[str] = "nexus_ollama.wire"
    SMALL_MODEL: ClassVar[str] = "llama3.2"
    MODELS: ClassVar[Path] = Path(__file__).with_name("models.json")

    keep_alive: str | None = option(
        None,
        help="How long the model stays loaded after the request: `10m`, `0` not at all, `-1` for ever; by default as "
        "the service has it.",
        pattern=r"-?\d+(\.\d+)?(ms|s|m|h)?",
    )
    think: bool | None = option(
        None, help="Whether the model thinks before it answers, where it can; by default as the service has it."
    )
    truncate: bool = option(False, help="Embeddings: cut what is longer than the model takes, in place of an error.")
    embedding_batch: int = option(32, help="Embeddings: how many texts one request holds at most.", ge=1, le=2048)
    dimensions: int | None = option(None, help="Embeddings: how long a vector the service is asked for.", ge=1)

    def describe(self) -> ModelInfo:
        """Return what the table of models says, or its defaults; the window is what the model is loaded with."""
        info = self.row.info(self.model, "ollama", unsupported=frozenset({"tool_choice"}))
        images = info.image_tokens or (_IMAGE_AT_MOST if "vision" in info.capabilities else None)
        window = info.window if self.remote else min(info.window, LOCAL_WINDOW)
        return evolve(info, window=window, image_tokens=images)

    @property
    def remote(self) -> bool:
        """Whether the model runs at ollama.com, which gives each its whole window."""
        return self.model.endswith(("-cloud", ":cloud")) or self.ADDRESS.is_official(self.answer_id)

    def resolve(self, environ: Mapping[str, str]) -> ServiceSettings:
        """Return everything about the service; raises NotConfiguredError."""
        settings = ServiceConnector.resolve(self, environ)
        missing = "check model" if self.remote else f"load it there with `ollama pull {self.model}`, or check model"
        return evolve(
            settings,
            hints={**settings.hints, ModelNotFoundError: f"{missing} and base_url (or OLLAMA_HOST)"},
            unreached="does `ollama serve` run there? check base_url (or OLLAMA_HOST)",
        )

    @property
    def embedding_id(self) -> str:
        """The service, the model, the dimensions and whether texts are cut: another of these gives other vectors."""
        return f"ollama:{self.answer_id}:{self.model}:{self.dimensions or ''}{':cut' * self.truncate}"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text, by `/api/embed`."""
        vectors: Sequence[Sequence[float]] = await import_module(self.WIRE).embed(self, texts)
        return vectors

    async def list_models(self) -> Sequence[str]:
        """Return the names of the models that are there, by `/api/tags`; one that is still being pulled is not."""
        names: Sequence[str] = await import_module(self.WIRE).list_models(self)
        return names


def _with_port(url: str) -> str:
    parts = urlsplit(url)
    return url if parts.netloc.rpartition("]")[2].count(":") else f"http://{parts.netloc}:{_PORT}{parts.path}"


@hookimpl
def nexus_connectors() -> list[type]:
    """Declare the connector."""
    return [Ollama]
