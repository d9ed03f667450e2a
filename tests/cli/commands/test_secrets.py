"""`nexus secrets`: keys come in by a prompt or a pipe, are used by models, and are shown nowhere."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer

pytestmark = pytest.mark.slow

KEY = "sk-canary-0123456789"
PIPELINE = """name: asks
models:
  main: {{use: openai, model: m, base_url: "{url}/v1", window: 8192, fallback: [quotes]}}
  quotes: {{use: extractive}}
steps:
  - gather: {{use: inline, items: [{{id: leave, title: Leave, text: Everybody has 28 days of leave.}}]}}
  - prompt: {{template: qa, budget: 2000}}
  - generate: main
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of commands: without keys, and with a file of the test for those that are stored."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {
        **kept,
        "NEXUS_SECRETS": str(tmp_path / "config" / "secrets.json"),
        "NEXUS_STORE": str(tmp_path / "store"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }


def nexus(environment: dict[str, str], *arguments: str, stdin: str = "") -> tuple[int, str]:
    """Run a command and return its exit code and all that it said."""
    command = [sys.executable, "-P", "-m", "nexus_core.cli.main", *arguments]
    done = subprocess.run(
        command, input=stdin, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


async def test_a_stored_key_is_sent_to_its_service_and_shown_nowhere(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Also where the service refuses it, and says it back."""
    refusal = json_answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status=401)
    async with ScriptedUpstream(json_answer(completion("28 days [1].")), refusal) as upstream:
        base = upstream.url.removesuffix("/v1")
        host = base.removeprefix("http://")
        (tmp_path / "asks.yaml").write_text(PIPELINE.format(url=base))
        said = [nexus(environment, "secrets", "set", host, "--stdin", stdin=f"{KEY}\n")]
        asks = ["run", str(tmp_path / "asks.yaml"), "How many days?", "--no-stream", "--verbose"]
        said += [await asyncio.to_thread(nexus, environment, *asks) for _ in range(2)]
        said += [
            nexus(environment, "explain", str(tmp_path / "asks.yaml"), "How many days?", "--json"),
            nexus(environment, "models", str(tmp_path / "asks.yaml"), "--json"),
            nexus(environment, "secrets", "list"),
            nexus(environment, "secrets", "list", "--json"),
        ]
        assert [request.headers.get("authorization") for request in upstream.requests] == [f"Bearer {KEY}"] * 2
    assert [code for code, _ in said] == [0] * len(said), said
    assert not any(KEY in text for _, text in said)
    assert "28 days [1]." in said[1][1]
    assert "auth" in said[2][1]
    assert host in said[5][1]


def test_a_prompt_does_not_show_the_key(environment: dict[str, str]) -> None:
    """On a terminal what is typed stays unseen, and is stored."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-m", "nexus_core.cli.main", "secrets", "set", "openai"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        while b"not shown" not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, f"{KEY}\n".encode())
        while True:
            try:
                more = os.read(ours, 1024)
            except OSError:  # the other end is closed
                break
            shown += more
        process.wait(timeout=60)
    os.close(ours)
    assert process.returncode == 0, shown
    assert KEY.encode() not in shown
    assert nexus(environment, "secrets", "list", "--json") == (
        0,
        '[\n  {\n    "name": "openai",\n    "where": "file"\n  }\n]\n',
    )


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (("set", "openai", KEY), "", 2, "a key is no argument"),
        (("set", "openai"), KEY, 2, "add --stdin"),
        (("set", "openai", "--stdin"), "  \n", 2, "no key was given"),
        (("set", "openai", "--stdin"), f"{KEY}\n{KEY}\n", 2, "cannot be a key"),
        (("set", "opnai", "--stdin"), KEY, 0, "did you mean 'openai'"),
        (("set", "https://models.example/v1", "--stdin"), KEY, 2, "or of a host: nexus secrets set models.example\n"),
        (("remove", "openai"), "", 2, "no key is stored"),
        (("list",), "", 0, "nexus secrets set openai"),
    ],
)
def test_what_is_wrong_is_said_without_the_key(
    arguments: tuple[str, ...], stdin: str, code: int, said: str, environment: dict[str, str]
) -> None:
    """An argument, an empty key, two lines, and a name that no connector has."""
    found, text = nexus(environment, "secrets", *arguments, stdin=stdin)
    assert (found, said in text, KEY in text) == (code, True, False), text


def test_a_missing_key_is_told_with_both_ways_to_give_it(tmp_path: Path, environment: dict[str, str]) -> None:
    """By the error of a model, and by `nexus ask`."""
    file = tmp_path / "asks.yaml"
    file.write_text("name: a\nmodels: {main: {use: openai, model: gpt-4o}}\nsteps: [{generate: main}]\n")
    code, text = nexus(environment, "run", str(file), "How many days?")
    assert (code, "set OPENAI_API_KEY, or run nexus secrets set openai" in text) == (1, True), text


def test_a_variable_that_is_set_is_told_to_be_used_instead(environment: dict[str, str]) -> None:
    """Who stores a key that is not used learns it at once."""
    code, text = nexus({**environment, "OPENAI_API_KEY": "x"}, "secrets", "set", "openai", "--stdin", stdin=KEY)
    assert (code, "OPENAI_API_KEY is set, and is used in place of it" in text) == (0, True), text
    assert "nothing: OPENAI_API_KEY is set" in nexus({**environment, "OPENAI_API_KEY": "x"}, "secrets", "list")[1]
