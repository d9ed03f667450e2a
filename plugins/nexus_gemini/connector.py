"""The component `gemini`: its options and what is known of its models. Imports nothing heavy until it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from nexus_core import ImageTokens, ModelInfo, component, hookimpl, option
from nexus_core.toolkit import ServiceAddress, ServiceConnector

_IMAGES = ImageTokens(formula="crops", per_tile=258, shortest=384, at_most=2580)
"""258 for each crop of an image (Google, "Image understanding"); the most is that of high detail."""
_FILE_AT_MOST = 560_000
"""Of a PDF: 1,000 pages of at most 560 tokens (Google, "Document understanding" and "Media resolution")."""


@component
class Gemini(ServiceConnector):
    """Sends prompts to Gemini by `generateContent`, the API of Google AI Studio.

    Exactly one request per call. A call option that the model does not take is left out of the request.
    """

    name: ClassVar[str] = "gemini"

    ADDRESS: ClassVar[ServiceAddress] = ServiceAddress(
        provider="gemini",
        url="https://generativelanguage.googleapis.com",
        url_variable="GEMINI_BASE_URL",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    )
    WIRE: ClassVar[str] = "nexus_gemini.wire"
    SMALL_MODEL: ClassVar[str] = "gemini-flash-lite-latest"
    MODELS: ClassVar[Path] = Path(__file__).with_name("models.json")

    api_version: str = option("v1beta", help="The version of the API, as it stands in the path.", pattern=r"v[\w.]+")
    thoughts: bool = option(False, help="Ask for summaries of what the model thinks, as the answer's `reasoning`.")
    embedding_batch: int = option(100, help="Embeddings: how many texts one request holds at most.", ge=1, le=100)
    dimensions: int | None = option(None, help="Embeddings: how long a vector the service is asked for.", ge=1)

    def describe(self) -> ModelInfo:
        """Return what the table of models says, or the declared defaults."""
        return self.row.info(
            self.model, "gemini", joins_roles=True, image_tokens=_IMAGES, file_tokens_at_most=_FILE_AT_MOST
        )

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the header with the key."""
        return {"x-goog-api-key": key}

    @property
    def embedding_id(self) -> str:
        """The service, the model and the dimensions: another of these gives other vectors."""
        return f"gemini:{self.answer_id.partition('://')[2]}:{self.model}:{self.dimensions or ''}"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text, by `batchEmbedContents`."""
        vectors: Sequence[Sequence[float]] = await import_module(self.WIRE).embed(self, texts)
        return vectors


@hookimpl
def nexus_connectors() -> list[type]:
    """Declare the connector."""
    return [Gemini]
