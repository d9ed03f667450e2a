"""What models cost: the package genai-prices, asked only for services that it knows, and without the network."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from genai_prices.types import ModelPrice, Tier, TieredPrices
from nexus_openai.connector import OpenAI

from nexus_core import ModelPrices
from nexus_core.cli.main import cli
from nexus_core.testing.answers import DONE, completion, delta, event, json_answer, stream_answer, usage_chunk
from nexus_core.toolkit.services.service_prices import find_prices, read_prices

OFFICIAL = "https://api.openai.com/v1"
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def test_models_of_openai_have_the_prices_of_the_package() -> None:
    """The figures are those that OpenAI has asked since the model came."""
    assert OpenAI(model="gpt-4o").find_prices() == ModelPrices(input=2.5, cached=1.25, output=10, reasoning=10)
    assert find_prices("gpt-4o-2024-05-13", OFFICIAL, NOW) == ModelPrices(input=5, output=15)
    assert find_prices("text-embedding-3-small", OFFICIAL, NOW) == ModelPrices(input=0.02, output=0)


def test_long_prompts_have_their_own_prices() -> None:
    """As the package has them: from a number of tokens on, for all of them."""
    assert find_prices("gpt-5.4", OFFICIAL, NOW) == ModelPrices(
        input=2.5, cached=0.25, output=15, long_from=272_000, long=ModelPrices(input=5, cached=0.5, output=22.5)
    )


@pytest.mark.parametrize(
    "base_url",
    [
        "https://llm.example.com/v1",
        "http://127.0.0.1:8000/v1",
        "http://ollama.internal:11434/v1",
        "https://api.openai.com.example.com/v1",
        "https://api.openai.com@example.com/v1",
        "https://api.openai.comrade.example/v1",
        "https://eu.api.openai.com/v1",
        "https://me.openai.azure.com/openai/v1",
    ],
    ids=["other", "this machine", "near", "host that begins so", "user", "longer name", "region", "azure"],
)
def test_another_service_has_no_prices_of_openai(base_url: str) -> None:
    """Whatever it calls its models: `gpt-4o` elsewhere is another product, or a name that a customer gave."""
    assert find_prices("gpt-4o", base_url, NOW) is None


def test_another_service_has_its_own_prices() -> None:
    """Found by its address, not by the model's name."""
    elsewhere = find_prices("llama-3.3-70b-versatile", "https://api.groq.com/openai/v1", NOW)
    assert elsewhere is not None
    assert elsewhere.input > 0
    assert find_prices("llama-3.3-70b-versatile", OFFICIAL, NOW) is None


@pytest.mark.parametrize("model", ["gpt-4o-of-mine", "ft:gpt-4o:org::id", "whatever"])
def test_a_model_that_the_package_does_not_know_has_no_price(model: str) -> None:
    """No guess by resemblance."""
    assert find_prices(model, OFFICIAL, NOW) is None


D = Decimal
TIERED = TieredPrices(base=D(1), tiers=[Tier(start=100, price=D(2)), Tier(start=200, price=D(4))])


@pytest.mark.parametrize(
    ("charged", "expected"),
    [
        ({"input_mtok": D(1), "output_mtok": D(2), "web_searches_kcount": D(9)}, ModelPrices(input=1, output=2)),
        ({"input_mtok": D(1), "output_mtok": D(2), "input_audio_mtok": D(9)}, ModelPrices(input=1, output=2)),
        ({"input_mtok": D(1), "output_mtok": D(2), "output_reasoning_mtok": D(3)},
         ModelPrices(input=1, output=2, reasoning=3)),
        ({"input_mtok": D(1), "output_mtok": D(2), "cache_write_mtok": D(3)}, None),
        ({"input_mtok": D(1), "output_mtok": D(2), "requests_kcount": D(5)}, None),
        ({"output_mtok": D(2)}, None),
        ({"input_mtok": TIERED, "output_mtok": D(2)},
         ModelPrices(input=1, output=2, long_from=100, long=ModelPrices(
             input=2, output=2, long_from=200, long=ModelPrices(input=4, output=2)))),
    ],
    ids=["searches", "audio", "reasoning", "cache writes", "requests", "no input", "tiers"],
)  # fmt: skip
def test_prices_are_read_where_they_depend_on_the_ledger_alone(charged: Any, expected: ModelPrices | None) -> None:
    """A price of what is not counted here would make a sum that is too small: then it is unknown."""
    assert read_prices(ModelPrice(**charged)) == expected


def test_a_price_by_the_hour_is_unknown() -> None:
    """It is looked up once, and would be wrong for half of the day."""
    assert find_prices("deepseek-chat", "https://api.deepseek.com", NOW) is None


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled table is all that is read."""
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert OpenAI(model="gpt-4o-mini").find_prices() is not None


def test_without_the_extra_prices_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that is no error."""
    monkeypatch.setattr("nexus_core.toolkit.http.service_connector.find_spec", lambda name: None)
    assert OpenAI(model="gpt-4o").find_prices() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "expected"),
    [("", {"input": 2.5, "cached": 1.25}), (", prices: {input: 9, output: 9}", {"input": 9, "cached": 9})],
    ids=["looked up", "the pipeline's"],
)
def test_the_command_models_shows_what_is_looked_up(more: str, expected: dict[str, float], tmp_path: Path) -> None:
    """Of a model at OpenAI; what the pipeline says stands over it."""
    file = tmp_path / "x.yaml"
    file.write_text(f"name: x\nmodels: {{main: {{use: openai, model: gpt-4o{more}}}}}\nsteps: [{{generate: main}}]\n")
    result = CliRunner().invoke(cli, ["models", str(file), "--json"], catch_exceptions=False)
    [model] = json.loads(result.stdout)
    assert {name: model["prices"][name] for name in expected} == expected


@pytest.mark.slow
@pytest.mark.parametrize("command", ["lint", "run"])
def test_the_package_is_not_imported_where_no_price_is_needed(command: str, tmp_path: Path) -> None:
    """Its import takes a third of a second: no command pays for it that tells no price, as `explain` does."""
    file = tmp_path / "x.yaml"
    file.write_text(
        "name: x\nmodels: {main: {use: openai, model: gpt-4o, fallback: quoted}, quoted: extractive}\n"
        "steps: [{gather: {use: inline, items: [Leave is 28 days.]}}, {prompt: qa}, {generate: main}]\n"
    )
    query = [] if command == "lint" else ["How many days?"]
    code = (
        "import sys; from nexus_core.cli.main import main\n"
        f"sys.argv = ['nexus', {command!r}, {str(file)!r}, *{query!r}]\n"
        "try: main()\nexcept SystemExit: pass\nprint('imported', 'genai_prices' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PATH": "", "HOME": str(tmp_path)},
        check=True,
    )
    assert done.stdout.endswith("imported False\n")


@pytest.mark.parametrize(("told", "tier"), [("flex", "flex"), ("default", ""), (None, ""), (7, "")])
async def test_an_unusual_tier_is_told_with_the_usage(service: Any, told: Any, tier: str) -> None:
    """Whole and streamed: its prices are not the usual ones."""
    whole = await service.send(json_answer({**completion("a"), "service_tier": told}))
    events = [delta("a"), delta(finish_reason="stop"), {**usage_chunk(), "service_tier": told}]
    streamed = await service.stream(stream_answer([*map(event, events), DONE]))
    assert [whole.usage.tier, streamed[-1].usage.tier] == [tier, tier]


@pytest.mark.parametrize(("total", "completion_tokens"), [(9, 2), (12, 5), (10, 3)], ids=["within", "beside", "gap"])
async def test_reasoning_is_a_part_of_the_completion(service: Any, total: int, completion_tokens: int) -> None:
    """Also at a service that counts it beside, as its total says: it is charged, and the sum must not lack it."""
    counts = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": total}
    usage = {**counts, "completion_tokens_details": {"reasoning_tokens": 3}}
    answer = await service.send(json_answer(completion("a", usage=usage)))
    assert (answer.usage.completion_tokens, answer.usage.reasoning_tokens) == (completion_tokens, 3)
