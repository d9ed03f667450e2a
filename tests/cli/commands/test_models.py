"""`nexus models` without a pipeline: which keys would be used, what is known, and one request to try each."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from nexus_core.cli.commands.models.check import announce
from nexus_core.cli.main import main
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.testing.upstream import ScriptedUpstream, Silence, completion, json_answer
from nexus_core.toolkit.stored_secrets import store_secret

pytestmark = pytest.mark.slow

KEY = "sk-canary-0123456789"
VARIABLES = (
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "GEMINI_API_KEY", "GOOGLE_API_KEY",
    "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "OLLAMA_API_KEY", "OLLAMA_HOST",
)  # fmt: skip


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have no key of any service, and a file of the test for those that are stored."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NEXUS_SECRETS", str(tmp_path / "secrets.json"))
    return monkeypatch


def nexus(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_each_connector_tells_where_its_key_is_and_never_which(
    environment: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By a variable, stored, missing or not needed; models are listed for those that have one."""
    environment.setenv("ANTHROPIC_API_KEY", KEY)
    store_secret("openai", KEY, in_file=True)
    assert nexus("models", "--json") == 0
    out = capfd.readouterr().out
    assert KEY not in out
    told = {each["name"]: each for each in json.loads(out)}
    assert {name: tuple(told[name]["key"].values()) for name in ("anthropic", "openai", "gemini", "ollama")} == {
        "anthropic": ("set", "ANTHROPIC_API_KEY"),
        "openai": ("stored", "file"),
        "gemini": ("missing", "GEMINI_API_KEY"),
        "ollama": ("none", None),
    }
    assert (told["gemini"]["models"], told["extractive"]["models"]) == ([], [])
    known = {model["id"]: model for model in told["openai"]["models"]}
    assert known["gpt-4o-mini"]["window"] == 128_000
    assert known["gpt-4o-mini"]["prices"]["input"] == pytest.approx(0.15)
    assert "generate" not in known["text-embedding-3-small"]["capabilities"]

    assert nexus("models") == 0
    table = capfd.readouterr().out
    assert ("stored: file" in table, "set: ANTHROPIC_API_KEY" in table, "claude-haiku-4-5" in table) == (True,) * 3
    assert ("missing: set GEMINI_API_KEY" in table, "gemini-2.5-pro" in table) == (True, False)
    assert nexus("models", "--connector", "gemini") == 0
    assert "gemini-2.5-pro" in capfd.readouterr().out


async def test_a_check_sends_one_request_to_each_service_with_a_key(
    environment: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One answers, one refuses the key, one says nothing: each is told, and none keeps the others waiting."""
    refusal = json_answer(
        {"error": {"type": "authentication_error", "message": f"invalid x-api-key {KEY}"}}, status=401
    )
    async with AsyncExitStack() as stack:
        good, wrong, silent = [
            await stack.enter_async_context(ScriptedUpstream(script))
            for script in (json_answer(completion("yes")), refusal, [Silence()])
        ]
        environment.setenv("OPENAI_API_KEY", KEY)
        environment.setenv("OPENAI_BASE_URL", good.url)
        environment.setenv("ANTHROPIC_API_KEY", KEY)
        environment.setenv("ANTHROPIC_BASE_URL", wrong.url.removesuffix("/v1"))
        environment.setenv("OLLAMA_API_KEY", KEY)
        environment.setenv("OLLAMA_HOST", silent.url.removesuffix("/v1"))
        code = await asyncio.to_thread(nexus, "models", "--check", "--timeout", "1s", "--json")
        requests = [len(upstream.requests) for upstream in (good, wrong, silent)]
        body = good.requests[0].json()
    out, err = capfd.readouterr()
    assert KEY not in out + err
    told = {each["connector"]: each for each in json.loads(out)}
    assert (code, requests, {*told}) == (1, [1, 1, 1], {"anthropic", "ollama", "openai"})
    assert (told["openai"]["ok"], told["openai"]["problem"]) == (True, None)
    assert told["anthropic"]["problem"].startswith("auth: ")
    assert told["ollama"]["problem"].startswith("timeout: ")
    assert (body["model"], body["max_tokens"]) == ("gpt-4o-mini", 16)
    assert "3 requests to claude-haiku-4-5, llama3.2 and gpt-4o-mini" in err


def test_a_check_says_what_it_costs_at_most() -> None:
    """By the price of each model at its service, where it is known: 100 tokens of a prompt and 16 of an answer."""
    known = PluginRegistry.installed().component(Kind.CONNECTOR, "openai")
    # $0.15 and $0.60 for a million.
    assert announce([known(model="gpt-4o-mini")]) == "1 request to gpt-4o-mini: $0.000025 at most"
    here = known(model="mine", base_url="http://127.0.0.1:9/v1")
    assert announce([here]) == "1 request to mine: the price of mine is not known"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--check",), "no connector has a key"),
        (("--check", "--model", "gpt-5"), "say which, as in --connector openai"),
        (("--check", "--connector", "extractive"), "asks no service"),
        (("--connector", "opnai"), "did you mean 'openai'"),
    ],
)
def test_what_cannot_be_checked_is_told(
    arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is sent."""
    assert nexus("models", *arguments) == 2
    assert said in capfd.readouterr().err
