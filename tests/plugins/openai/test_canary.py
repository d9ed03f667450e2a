"""A canary key is driven through every failure path: it is in no error, log, event, repr or file (182 to 186)."""

from __future__ import annotations

import io
import logging
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from nexus_core import CallOptions, ConnectorError, NexusError, Pipeline, Secret
from nexus_core.testing.upstream import (
    HalfClose,
    Reset,
    ScriptedUpstream,
    Silence,
    Step,
    completion,
    delta,
    error_body,
    event,
    http_answer,
    http_head,
    json_answer,
    stream_answer,
)

pytestmark = pytest.mark.slow

CANARY = "canary/9d1f4c77+ab20=e6&53"
FORMS = {
    "plain": CANARY,
    "url": quote(CANARY, safe=""),
    "url-lower": quote(CANARY, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
    "base64": b64encode(CANARY.encode()).decode(),
    "base64-of-header": b64encode(f"Bearer {CANARY}".encode()).decode(),
    "base64-of-pair": urlsafe_b64encode(f"me:{CANARY}".encode()).decode(),
    "hex": CANARY.encode().hex(),
    "begins": CANARY[:13],
    "ends": CANARY[-13:],
}


def parts(text: str) -> set[str]:
    """Return all runs of 8 characters."""
    return {text[at : at + 8] for at in range(len(text) - 7)}


# What stands for "Bearer " in base64 is no secret.
SHOWN = set().union(*map(parts, FORMS.values())) - parts(b64encode(b"Bearer ").decode()) - parts("QmVhcmVyIG")


def scripts_of(key: str) -> list[list[Step]]:
    """Return scripts that show the key in every place where a service can."""
    said = f"Incorrect key {key}, Authorization: Bearer {key}"
    bodies = [
        error_body(said, code=key, type=key), {"error": said}, {"detail": [{"msg": said, "input": key}]},
        {"object": "error", "message": said, "code": key}, {"message": said, key: key}, [said], said, {"detail": said},
        {"error": {"message": {"text": said}, "code": [key], "innererror": {"code": key}}},
        {"error": {"message": said, "metadata": {"headers": {"authorization": key}}}, key: {key: key}},
    ]  # fmt: skip
    cut = {"function": {"name": key, "arguments": key}}
    plain = said.encode()
    scripts: list[list[Step]] = [json_answer(body, status=status) for body in bodies for status in (400, 401, 429, 500)]
    scripts += [json_answer(body) for body in bodies]
    scripts += [http_answer(plain, status=status, content_type="text/plain") for status in (200, 302, 401, 500)]
    scripts += [http_answer(b"<html>" + plain, content_type="text/html"), http_answer(b'{"a": "' + plain)]
    scripts += [
        [b"HTTP/1.1 " + plain + b"\r\n\r\n"],
        [b"HTTP/1.1 500 " + plain + b"\r\nContent-Length: 0\r\n\r\n"],
        [http_head({"Content-Type": key, "Transfer-Encoding": "chunked"}) + plain + b"\r\n"],
        [http_head({"Retry-After": key, "Location": f"http://x/?{key}", "Content-Length": "0"}, status=307)],
        [http_head({"Bad Header": key}) + b"{}"],
        [http_head({key.replace("/", "-").replace("=", "-"): key, "Content-Length": key}) + b"{}"],
        http_answer(plain, headers={"Content-Encoding": "gzip"}),
        http_answer(plain, headers={"Content-Encoding": key}),
        http_answer(plain, headers={"x-should-retry": key, "Set-Cookie": f"a={key}", "x-request-id": key}),
        [http_head({"Content-Length": "500"}) + plain, HalfClose()],
        [http_head({"Content-Length": "500"}) + plain, Reset()],
        [HalfClose()],
        [Reset()],
        [Silence()],
        json_answer(completion(None, finish_reason="content_filter", model=key)),
        json_answer(completion("a", usage={"prompt_tokens": key})),
        json_answer(completion("a", choices=[{"message": {"content": [key]}}])),
        json_answer(completion("a", choices=[{"message": {"tool_calls": [cut]}}])),
        stream_answer([event(error_body(said, code=key))]),
        stream_answer([b"event: error\ndata: " + plain + b"\n\n"]),
        stream_answer([b"data: " + plain + b"\n\n"]),
        stream_answer([event(delta("a", finish_reason=key)), event({"error": key})]),
        stream_answer([event(delta(choices=[{"delta": key}]))]),
        stream_answer([event(delta("a")), Silence()]),
    ]  # fmt: skip
    return scripts


@pytest.fixture(name="log")
def _log() -> Iterator[io.StringIO]:
    """All that is logged at DEBUG, with what a handler shows of exceptions."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    loggers = [logging.getLogger(name) for name in (None, "nexus_openai", "nexus_core", "aiohttp", "asyncio")]
    levels = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield stream
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def everything_about(error: BaseException | None) -> list[str]:
    """Return all that a log or a debugger shows of an error and its chain."""
    if error is None:
        return []
    own = [repr(error), str(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)]
    return [*own, *everything_about(error.__cause__), *everything_about(error.__context__)]


def leaks(texts: list[str]) -> list[str]:
    """Return the texts that show 8 characters of the key in any form."""
    return [text for text in texts if any(part in text for part in SHOWN)]


LIMITS = {"total_timeout_s": 0.05, "idle_timeout_s": 0.05, "first_byte_timeout_s": 0.05}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_key_is_never_shown(connect: Any, prompt: Any, log: io.StringIO, form: str, streamed: bool) -> None:
    """Every way to fail, with the key repeated in every place and every spelling."""
    scripts, shown = scripts_of(form), list[str]()
    assert len(scripts) > 60
    headers = {"X-Other": Secret(CANARY)}
    given = {"api_key": Secret(CANARY), "api_key_header": "api-key", "headers": headers, **LIMITS}
    async with ScriptedUpstream(*scripts) as upstream, connect(upstream, **given) as openai:
        for _ in scripts:
            try:
                if streamed:
                    async for _ in openai.stream_response(prompt, CallOptions()):
                        continue
                else:
                    await openai.send_prompt(prompt, CallOptions())
            except ConnectorError as error:
                shown += everything_about(error)
        client = openai._client
        shown += [repr(openai), str(openai), f"{openai}", repr(client), repr(client.settings), str(client.settings)]
        assert upstream.requests[-1].headers["api-key"] == CANARY
    assert sum(text.startswith("Traceback") for text in shown) + len(shown) > 300
    assert leaks([*shown, log.getvalue()]) == []


def test_leaks_are_found() -> None:
    """The test itself is no blind one."""
    assert all(leaks([f"a {form} b"]) for form in FORMS.values())
    assert leaks(["the service refused with status 401 (invalid_api_key): Bearer [hidden]"]) == []


PIPELINE = """
name: canary
content: {content}
models:
  main: {{use: openai, model: m, base_url: "{url}", api_key: "${{CANARY}}", retry: false, breaker: false,
    total_timeout_s: 0.05, idle_timeout_s: 0.05, first_byte_timeout_s: 0.05}}
steps:
  - generate: main
sinks: [{{use: jsonl, path: "{runs}"}}, log]
"""


def written_in(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.iterdir()]


@pytest.mark.parametrize("content", ["true", "false"])
async def test_key_is_in_no_event(tmp_path: Path, log: io.StringIO, content: str) -> None:
    """Neither in the events of runs, which sinks write to files and logs, nor in what a run raises."""
    scripts, shown = scripts_of(CANARY), list[str]()
    file, runs = tmp_path / "canary.yaml", tmp_path / "runs.jsonl"
    # A model may of course say what it likes: here only what is no answer is looked at.
    async with ScriptedUpstream(*scripts) as upstream:
        file.write_text(PIPELINE.format(url=upstream.url, runs=runs, content=content))
        async with Pipeline.load(file, environment={"CANARY": CANARY}) as pipeline:
            for _ in scripts:
                try:
                    await pipeline.run("Is the harbour open?")
                except NexusError as error:
                    shown += everything_about(error)
            shown += [repr(pipeline)]
    written = written_in(tmp_path)
    assert sum(text.count("run_failed") for text in written) > 60
    assert len(upstream.requests) > 60
    assert leaks([*shown, *written, log.getvalue()]) == []
