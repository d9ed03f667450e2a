"""`nexus serve` from the command line: what it checks, prints and refuses; reloading; several processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from nexus_core.cli.commands.serve import command, settings_of
from nexus_core.cli.main import main
from nexus_core.server.settings import ServerSettings

GOOD = """name: {name}
description: Quotes.
models: {{main: {{use: extractive}}}}
steps:
  - gather: {{use: inline, items: [{{id: leave, text: "{text}"}}]}}
  - prompt: chat
  - generate: main
"""
ECHO = '''"""Says what it is asked."""

from nexus_core import Chunk, Completion, ModelInfo, component, hookimpl


@component
class Echo:
    """Says a word and what it is asked."""

    @property
    def model_info(self):
        return ModelInfo(id="echo", provider="echo", window=8192)

    async def send_prompt(self, prompt, options):
        return Completion(text="{word} " + prompt.messages[-1].content, finish_reason="stop")

    async def stream_response(self, prompt, options):
        yield Chunk("{word}", finish_reason="stop")


@hookimpl
def nexus_connectors():
    return [Echo]
'''
BAD = "name: bad\nmodels: {main: {use: extractiv}}\nsteps:\n  - generate: mian\n"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `pipelines/one.yaml`, which is where commands run."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "one.yaml").write_text(GOOD.format(name="one", text="Everybody has 28 days of leave."))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    return tmp_path


@contextmanager
def serving(
    *options: str, within: Sequence[str] = (), command: Sequence[str] = ("-m", "nexus_core.cli.main")
) -> Iterator[tuple[subprocess.Popen[str], list[str], Callable[[str], str]]]:
    """Run `nexus serve`; yield the process, what it said until it listened, and how to wait for more of it."""
    arguments = [*within, sys.executable, *command, "serve", *options]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    said: list[str] = []

    def until(word: str) -> str:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if word in line:
                return line
        raise AssertionError(f"it ended without saying {word!r}: {''.join(said)}")

    try:
        until("listening on")
        yield process, said, until
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        finally:
            process.kill()


def ask(said: list[str], name: str) -> dict[str, object]:
    """Ask a pipeline over HTTP."""
    return post(said, "/api/queries", {"query": "How many days of leave?", "contextId": name, "pipeline": name})


def post(said: list[str], path: str, body: object) -> dict[str, object]:
    """Send JSON to the server."""
    origin = next(line.split()[-1] for line in said if "listening on" in line)
    request = urllib.request.Request(origin + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        told: dict[str, object] = json.load(answer)
    return told


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run `nexus serve` to its refusal; return the exit code and what it says."""
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    return int(ended.value.code or 0), capsys.readouterr().err


def test_serve_says_what_it_serves_and_where(folder: Path) -> None:
    """The pipelines of the folder, the store, the address, and that there are no keys; it ends by a signal."""
    with serving("--port", "0") as (process, said, until):
        until("there are no keys")
        told = "".join(said)
        assert "serving one (pipelines/one.yaml): Quotes." in told
        assert str(folder / "store") in told
        assert "28 days" in str(ask(said, "one")["response"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_serve_says_which_issuer_it_accepts(folder: Path) -> None:
    """And the redirect URI that is to be registered there; the issuer need not answer yet."""
    issuer = ("--oidc-issuer", "https://127.0.0.1:9", "--oidc-client-id", "nexus", "--public-url", "https://n.example")
    with serving("--port", "0", *issuer) as (_, said, _):
        told = (
            "accepting tokens of https://127.0.0.1:9, and sign-in; the redirect URI is https://n.example/auth/callback"
        )
        assert told in "".join(said)


def test_serve_runs_in_a_host_that_has_chosen_uvloop(folder: Path) -> None:
    """By its policy, as such hosts do: it answers, and a signal ends it well."""
    pytest.importorskip("uvloop")
    chosen = "import asyncio, uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())"
    host = f"{chosen}; from nexus_core.cli.main import main; main()"
    with serving("--port", "0", command=("-c", host)) as (process, said, _):
        assert "28 days" in str(ask(said, "one")["response"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_serve_answers_from_the_store_that_it_is_given_with_no_pipeline_at_all(folder: Path) -> None:
    """Without a folder of pipelines that of `nexus ask` is served; its source searches the server's own store."""
    shutil.rmtree(folder / "pipelines")
    with serving("--port", "0", "--store", "other") as (_, said, _):
        post(said, "/api/contexts", {"name": "handbook"})
        items = [{"id": "leave", "text": "Everybody has 28 days of leave."}]
        post(said, "/api/contexts/handbook/items", {"items": items})
        answer = post(said, "/api/queries", {"query": "How many days of leave?", "contextId": "handbook"})
        assert "28 days" in str(answer["response"])
    assert "the pipeline of `nexus ask` is served" in "".join(said)
    assert (folder / "other" / "store.db").exists()
    assert not (folder / "store").exists()


def test_default_of_the_packaged_pipeline_is_the_model_that_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key that of OpenAI, and so it is listed: nobody takes for offline what is sent to a service."""
    shutil.rmtree(folder / "pipelines")
    for key, default in (("", "offline"), ("sk-none", "openai")):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with serving("--port", "0") as (_, said, _):
            origin = next(line.split()[-1] for line in said if "listening on" in line)
            with urllib.request.urlopen(origin + "/api/queries/models", timeout=20) as answer:
                models = json.load(answer)["models"]
        assert [each["name"] for each in models if each["default"]] == [default]


def test_serve_reports_all_problems_of_all_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With their places, and serves nothing."""
    for name in ("bad", "worse"):
        (folder / "pipelines" / f"{name}.yaml").write_text(BAD)
    code, err = refused(capsys, "--port", "0")
    assert code == 2
    assert err.count("extractiv'") >= 2
    assert "pipelines/bad.yaml:2:" in err
    assert "pipelines/worse.yaml:4:" in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(["nowhere"], "no file or folder nowhere", id="nowhere"),
        pytest.param(["--prefix", "api"], "must begin with a slash", id="prefix"),
        pytest.param(["--host", "0.0.0.0", "--port", "0"], "in the clear", id="clear"),
        pytest.param(
            ["--host", "0.0.0.0", "--port", "0", "--i-terminate-tls-elsewhere"], "nexus keys new", id="no-keys"
        ),
        pytest.param(["--certificate", "a.pem"], "both files", id="half-of-tls"),
        pytest.param(["--certificate", "a", "--private-key", "b", "--port", "0"], "no certificate", id="no-files"),
        pytest.param(["--workers", "2", "--port", "0"], "name it with --port", id="workers"),
        pytest.param(["--drain", "2h"], "'2h' is not between 0s and 1h", id="too-long"),
        pytest.param(["--run-timeout", "soon"], "'soon' is no duration: write it as in", id="no-duration"),
        pytest.param(["--upload-limit", "32 apples"], "'32 apples' is no size: write it as in", id="no-size"),
        pytest.param(["--upload-limit", "1B"], "'1B' is not between 1KiB and 4GiB", id="too-small"),
        pytest.param(["--runs", "0"], "0 is not in the range", id="no-runs"),
    ],
)
def test_serve_refuses_what_is_not_safe_or_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    """And says what to do (fault 198)."""
    code, err = refused(capsys, *arguments)
    assert code == 2
    assert reason in err


def test_serve_tells_of_a_port_that_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its number."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, err = refused(capsys, "--port", str(port))
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}: address already in use; choose another --port" in err


def test_serve_takes_what_has_changed(folder: Path) -> None:
    """The new version, a new file; of a broken one the last good version, and what is wrong with it."""
    one = folder / "pipelines" / "one.yaml"
    with serving("--port", "0", "--reload") as (_, said, until):
        one.write_text(GOOD.format(name="one", text="Everybody has 30 days of leave."))
        until("one is served as it is now")
        assert "30 days" in str(ask(said, "one")["response"])
        one.write_text(BAD)
        until("the last good version is served")
        until("extractiv")
        assert "30 days" in str(ask(said, "one")["response"])
        (folder / "pipelines" / "two.yaml").write_text(GOOD.format(name="two", text="Two days of leave."))
        until("two is served as it is now")
        assert "Two days" in str(ask(said, "two")["response"])


def test_serve_takes_plugins_and_templates_that_have_changed(folder: Path) -> None:
    """What a pipeline names beside it counts like its own file; a broken template is taken when it is mended."""
    plugin, template = folder / "pipelines" / "echo.py", folder / "pipelines" / "answer.jinja"
    plugin.write_text(ECHO.format(word="first"))
    template.write_text("[user]\n{{ query }}\n")
    (folder / "pipelines" / "one.yaml").write_text(
        "name: one\nplugins: [./echo.py]\nmodels: {main: {use: echo}}\n"
        "steps:\n  - prompt: {template: answer.jinja}\n  - generate: main\n"
    )
    with serving("--port", "0", "--reload") as (_, said, until):
        plugin.write_text(ECHO.format(word="second"))
        until("one is served as it is now")
        assert ask(said, "one")["response"] == "second How many days of leave?"
        template.write_text("[user]\n{{ qury }}\n")
        until("the last good version is served")
        assert ask(said, "one")["response"] == "second How many days of leave?"
        template.write_text("[user]\nSay: {{ query }}\n")
        until("one is served as it is now")
        assert ask(said, "one")["response"] == "second Say: How many days of leave?"


def test_several_processes_share_a_port(folder: Path) -> None:
    """Each of them says where it listens; they end together."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    with serving("--port", port, "--workers", "2") as (process, said, until):
        until("listening on")
        assert "28 days" in str(ask(said, "one")["response"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(port)), timeout=5)


def options(*arguments: str) -> ServerSettings:
    """Return what the options of a command line say."""
    given = command.make_context("serve", list(arguments)).params
    for name in ("pipelines", "reloads", "workers", "sync_s", "warms", "programs"):
        del given[name]
    return settings_of(**given)


def test_options_that_are_not_said_are_the_defaults_of_the_settings() -> None:
    """One set of figures, whichever way a server is started."""
    assert options() == ServerSettings()


def test_options_of_the_limits_are_read_in_their_units() -> None:
    """Lengths of time as in the files, sizes in powers of 1,024; a number alone is seconds, or bytes."""
    found = options(
        "--runs=5", "--waiting=0", "--connections=9", "--connections-per-address=7", "--upload-limit=3kib",
        "--run-timeout=1.5m", "--drain=7",
    )  # fmt: skip
    limits = found.limits
    assert (limits.running, limits.waiting, limits.connections, limits.connections_per_address) == (5, 0, 9, 7)
    assert (limits.upload_bytes, limits.drain_s, found.deadline_s) == (3072, 7.0, 90.0)


def test_addresses_are_not_told_apart_behind_a_proxy() -> None:
    """Unless it is asked for: all connections come from there."""
    behind = "--i-terminate-tls-elsewhere"
    assert options(behind).limits.connections_per_address == 0
    assert options(behind, "--connections-per-address", "9").limits.connections_per_address == 9


def test_help_shows_the_limits_in_a_section_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """With their defaults, behind what everybody needs."""
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    first, limits = capsys.readouterr().out.split("\nLimits")
    assert "--port" in first
    assert "--runs" not in first
    for told in ("--runs N", "default: 64", "--upload-limit SIZE", "default: 32MiB", "default: 10m", "default: 25s"):
        assert told in limits


def test_limits_that_are_said_hold(folder: Path) -> None:
    """A larger upload is refused, by the server that was started."""
    with serving("--port", "0", "--upload-limit", "2KiB") as (_, said, _until):
        origin = next(line.split()[-1] for line in said if "listening on" in line)
        named = urllib.request.Request(
            f"{origin}/api/contexts", b'{"name": "notes"}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(named, timeout=20) as answer:
            assert answer.status == 201
        with pytest.raises(urllib.error.HTTPError, match="413"):
            urllib.request.urlopen(f"{origin}/api/contexts/notes/documents?name=a.md", b"a" * 2049, timeout=20)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param([], "", id="enough"),
        pytest.param(
            ["--connections=5000"], "may need 10,256 open files, and this process may open 3,000", id="too-few"
        ),
    ],
)
def test_a_server_may_have_as_many_files_open_as_its_connections_take(
    folder: Path, options: list[str], told: str
) -> None:
    """It raises its own limit as far as it may, and says where that is not enough."""
    limited = ["sh", "-c", 'ulimit -Sn 128; ulimit -Hn 3000; exec "$@"', "sh"]
    with serving("--port", "0", *options, within=limited) as (_, said, _until):
        warnings = [line for line in said if "ulimit" in line]
        assert [told in line for line in warnings] == ([True] if told else [])
