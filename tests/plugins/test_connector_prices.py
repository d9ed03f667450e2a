"""What models cost beside OpenAI's: the package genai-prices, asked through each connector."""

from __future__ import annotations

import pytest
from nexus_anthropic.connector import Anthropic
from nexus_bedrock.connector import Bedrock
from nexus_gemini.connector import Gemini
from nexus_ollama.connector import Ollama

from nexus_core import ModelPrices
from nexus_core.toolkit import ServiceConnector

LONG = ModelPrices(input=6, cached=0.6, output=22.5)
CLAUDE = ModelPrices(input=3, cached=0.3, output=15, long_from=200_000, long=LONG)
NOVA = ModelPrices(input=0.06, cached=0.015, output=0.24)


@pytest.mark.parametrize(
    ("connector", "expected"),
    [
        (Anthropic(model="claude-sonnet-4-5"), CLAUDE),
        (Gemini(model="gemini-3.8-flash"), ModelPrices(input=0.75, cached=0.075, output=3.75)),
        (Bedrock(model="amazon.nova-lite-v1:0"), NOVA),
        (Bedrock(model="amazon.nova-lite-v1:0", region="eu-west-1"), NOVA),
        (Ollama(model="llama3.2"), None),
        (Anthropic(model="claude-sonnet-4-5", base_url="https://gateway.example"), None),
    ],
    ids=["claude", "gemini", "nova", "another-region", "own-machine", "another-service"],
)  # fmt: skip
def test_models_have_the_prices_of_the_package(connector: ServiceConnector, expected: ModelPrices | None) -> None:
    """At the service itself; what runs here, and what stands before a service, has none."""
    assert connector.find_prices() == expected


def test_a_price_is_unknown_where_a_cache_is_written() -> None:
    """Tokens that are written to it cost more, and the ledger does not count them apart."""
    assert Anthropic(model="claude-sonnet-4-5", prompt_cache="5m").find_prices() is None
    assert Bedrock(model="us.anthropic.claude-sonnet-4-5-20250929-v1:0", prompt_cache=True).find_prices() is None
