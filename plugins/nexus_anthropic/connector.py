"""The component `anthropic`: its options and what is known of its models. Imports nothing heavy until it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from nexus_core import ImageTokens, ModelInfo, component, hookimpl, option
from nexus_core.toolkit import ServiceAddress, ServiceConnector

VERSION = "2023-06-01"
"""Of the API, which every request names."""
_IMAGES = ImageTokens(formula="area", at_most=1600, longest=1568)
"""Pixels / 750 after the longer side is fitted into 1568: Anthropic, "Vision", section "Evaluate image size"."""
_FILE_AT_MOST = 300_000
"""Of a PDF: 100 pages of at most 3,000 tokens (Anthropic, "PDF support": 1,500 to 3,000 a page)."""
_TOOLS = 804
"""What tools add to the system prompt: the most of the table in Anthropic's "Tool use", "Pricing"."""


@component
class Anthropic(ServiceConnector):
    """Sends prompts to Claude by Anthropic's Messages API, and to every service that speaks it.

    Exactly one request per call. A call option that the model does not take is left out of the request.
    """

    name: ClassVar[str] = "anthropic"

    ADDRESS: ClassVar[ServiceAddress] = ServiceAddress(
        provider="anthropic",
        url="https://api.anthropic.com",
        url_variable="ANTHROPIC_BASE_URL",
        key_variables=("ANTHROPIC_API_KEY",),
    )
    WIRE: ClassVar[str] = "nexus_anthropic.wire"
    SMALL_MODEL: ClassVar[str] = "claude-haiku-4-5"
    MODELS: ClassVar[Path] = Path(__file__).with_name("models.json")

    thinking: bool = option(
        False, help="Let the model think before it answers, where it can; what it thinks is the answer's `reasoning`."
    )
    prompt_cache: Literal["off", "5m", "1h"] = option(
        "off", help="Have the service keep the beginning of the prompt for so long, where it is long enough."
    )
    beta: tuple[str, ...] = option((), help="Names of beta features that every request asks for.")

    def describe(self) -> ModelInfo:
        """Return what the table of models says, or the declared defaults."""
        return self.row.info(
            self.model, "anthropic", joins_roles=True, tool_tokens=_TOOLS, image_tokens=_IMAGES,
            file_tokens_at_most=_FILE_AT_MOST,
        )  # fmt: skip

    @property
    def writes_cache(self) -> bool:
        """Whether the service is asked to keep the beginning of prompts."""
        return self.prompt_cache != "off"

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the header with the key."""
        return {"x-api-key": key}

    def fixed_headers(self) -> Mapping[str, str | None]:
        """Return the version of the API and the beta features."""
        return {"anthropic-version": VERSION, "anthropic-beta": ",".join(self.beta)}


@hookimpl
def nexus_connectors() -> list[type]:
    """Declare the connector."""
    return [Anthropic]
