"""Faults of names, addresses, proxies and limits, each on a real connection."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any, Never

import pytest

from nexus_core import CallOptions, Prompt
from nexus_core.contract.errors import ConnectError, ResponseTooLargeError
from nexus_core.testing.upstream import (
    Pause,
    ScriptedUpstream,
    Silence,
    chat_events,
    completion,
    delta,
    event,
    http_head,
    informational,
    json_answer,
    stream_answer,
)

YES = json_answer(completion("Yes."))


async def test_names_that_nobody_knows_may_be_known_later(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 37: nothing was sent; name servers come back, so that a retry is worth its while."""

    async def getaddrinfo(*_: Any, **__: Any) -> Never:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    error = await service.fails(YES, base_url="https://models.invalid/v1")
    assert (type(error), error.code, error.request_sent) == (ConnectError, "dns", False)
    assert "models.invalid" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_idle_time_between_requests_is_not_counted(connect: Any, prompt: Prompt, streamed: bool) -> None:
    """Fault 12: a kept connection that was idle for longer than any read may take serves the next request."""
    script = stream_answer(chat_events("Yes.")) if streamed else YES
    names = ("idle_timeout_s", "first_byte_timeout_s", "progress_timeout_s", "total_timeout_s")
    limits = dict.fromkeys(names, 0.3)
    async with ScriptedUpstream(script) as upstream, connect(upstream, **limits) as openai:
        for idle_s in (0.0, 0.4):
            await asyncio.sleep(idle_s)
            if streamed:
                assert [chunk.text async for chunk in openai.stream_response(prompt, CallOptions())][1] == "Yes."
            else:
                assert (await openai.send_prompt(prompt, CallOptions())).text == "Yes."
        assert len(upstream.connections) == 1


@pytest.mark.slow
async def test_stream_outlives_the_limit_of_whole_answers(service: Any) -> None:
    """Fault 14: a stream has a limit of its own, and no library sets another."""
    pieces = [step for piece in chat_events(*"abcd") for step in (piece, Pause(0.03))]
    text, last = await service.streamed(stream_answer(pieces), total_timeout_s=0.05)
    assert (text, last.finish_reason) == ("abcd", "stop")


async def test_environment_leads_no_request_astray(
    connect: Any, prompt: Prompt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fault 38: neither its proxy nor its netrc sees a request or changes one."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with ScriptedUpstream(YES) as proxy, ScriptedUpstream(YES) as upstream:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.origin)
        async with connect(upstream, api_key=None) as openai:
            await openai.send_prompt(prompt, CallOptions())
    assert proxy.connections == []
    assert "authorization" not in upstream.requests[0].headers


async def test_answer_of_http_1_0_after_interim_ones(service: Any) -> None:
    """Fault 36: the last status counts, in the old version of the protocol too."""
    body = b"".join(step for step in YES if isinstance(step, bytes)).partition(b"\r\n\r\n")[2]
    head = http_head({"Content-Type": "application/json", "Content-Length": str(len(body))}, version="1.0")
    assert (await service.send([informational(100) + informational(103), head + body])).text == "Yes."


@pytest.mark.slow
async def test_flood_of_interim_answers_ends(service: Any) -> None:
    """Fault 36: interim answers without end are no sign of life."""
    error = await service.fails([informational() * 1000, Silence()], total_timeout_s=0.2)
    assert error.code == "timeout_total"


@pytest.mark.slow
@pytest.mark.parametrize(("size", "taken"), [(700_000, True), (20_000_000, False)], ids=["54-long", "54-too-long"])
async def test_one_long_line(service: Any, size: int, taken: bool) -> None:
    """Fault 54: a long line is read, one that is longer than any answer is refused; the text before it is given."""
    long = event(delta("x" * size))
    text, last = await service.streamed(stream_answer([event(delta("a")), long, *chat_events()[1:]]))
    assert (len(text), type(last) is ResponseTooLargeError) == ((1 + size, False) if taken else (1, True))


async def test_nothing_that_is_no_stream_is_read_at_length(service: Any) -> None:
    """Faults 25 and 26: of a page of 20 MB that stands where a stream was asked a start is read, and less is shown."""
    page = [http_head({"Content-Type": "text/html", "Content-Length": "20000000"}), b"<p>" * 6_000_000, Silence()]
    _, error = await service.streamed(page)
    assert error.kind == "protocol"
    assert len(str(error)) < 1000
