"""What a person sees of attempts: the table of `--verbose`, waits, broken streams, Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nexus_core.cli.output.attempt_table import attempt_table
from nexus_core.contract.answers import AttemptFinished
from nexus_core.testing.upstream import (
    Gate,
    ScriptedUpstream,
    Silence,
    chat_events,
    completion,
    error_body,
    json_answer,
    stream_answer,
)

pytestmark = pytest.mark.slow

PIPELINE = """name: two
models:
  main: {{use: openai, model: gpt-4o-mini, base_url: "{url}", api_key: sk-test, fallback: offline, retry: {retry}}}
  offline: {{use: extractive}}
steps:
  - generate: main
sinks: [{{use: jsonl, path: runs.jsonl}}]
"""


async def nexus(folder: Path, url: str, *arguments: str, retry: str = "{attempts: 2}") -> tuple[int, str, str]:
    """Run `nexus run` in a process of its own against a service, and return its exit code and what it said."""
    (folder / "two.yaml").write_text(PIPELINE.format(url=url, retry=retry))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nexus_core.cli.main", "run", "two.yaml", "Why?", *arguments,
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the ledger that the sink wrote."""
    lines = (folder / "runs.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["type"] == "attempt_finished"]


async def test_verbose_prints_waits_and_a_table(tmp_path: Path) -> None:
    """Every request, in order, with what it cost; on stderr, so that the answer stays alone on stdout."""
    scripts = json_answer(error_body("busy"), status=503), json_answer(completion("Because."))
    async with ScriptedUpstream(*scripts) as upstream:
        code, out, err = await nexus(tmp_path, upstream.url, "--verbose")
    assert (code, out) == (0, "Because.\n")
    assert "main: waiting 0." in err
    lines = [line.split() for line in err.splitlines() if line[:1].isdigit()]
    assert [line[:4] for line in lines] == [["1", "main", "overloaded", "503"], ["2", "main", "ok", "200"]]
    assert "7+3" in lines[1]


@pytest.mark.parametrize(
    ("prices", "cost", "shown"),
    [("{input: 100, output: 1000}", 0.0037, "$0.003700"), ("null", None, "unknown")],
    ids=["known", "unknown"],
)
async def test_run_tells_what_it_cost(tmp_path: Path, prices: str, cost: float | None, shown: str) -> None:
    """As JSON, in the table and in the file of the sink alike; unknown is null and the word, never 0."""
    arguments = ("--json", "--verbose", "--set", f"models.main.prices={prices}")
    async with ScriptedUpstream(json_answer(completion("Because."))) as upstream:
        _, out, err = await nexus(tmp_path, upstream.url, *arguments)
    answer = json.loads(out)
    expected = cost and pytest.approx(cost)
    assert (answer["metadata"]["cost"], answer["metadata"]["unpricedAttempts"]) == (expected, int(cost is None))
    assert [row["cost"] for row in answer["attempts"]] == [row["cost"] for row in rows(tmp_path)] == [expected]
    assert err.splitlines()[-1].split()[-2] == shown


async def test_verbose_prints_the_table_of_a_failed_run(tmp_path: Path) -> None:
    """That is when it is needed most."""
    async with ScriptedUpstream(json_answer(error_body("no"), status=400)) as upstream:
        code, out, err = await nexus(tmp_path, upstream.url, "-v")
    assert (code, out) == (1, "")
    assert "invalid_request" in err
    assert err.rstrip().splitlines()[-1].startswith("Error: ")


async def test_run_json_shows_failed_attempts_too(tmp_path: Path) -> None:
    """The rows of the answer are those of the sink."""
    scripts = json_answer(error_body("busy"), status=503), json_answer(completion("Because."))
    async with ScriptedUpstream(*scripts) as upstream:
        _, out, _ = await nexus(tmp_path, upstream.url, "--json")
    shown = [(row["number"], row["outcome"], row["status"]) for row in json.loads(out)["attempts"]]
    assert shown == [(row["number"], row["outcome"], row["status"]) for row in rows(tmp_path)]
    assert shown == [(1, "overloaded", 503), (2, "ok", 200)]


async def _begun(gate: Gate, terminal: int | None) -> None:
    """Wait until the service has come to its silence, and the first text to the terminal."""
    await gate.reached.wait()
    if terminal is not None:
        shown = asyncio.Event()
        asyncio.get_running_loop().add_reader(terminal, shown.set)
        await shown.wait()
        asyncio.get_running_loop().remove_reader(terminal)


async def test_timeout_ends_a_run(tmp_path: Path) -> None:
    """A duration as in the language; the message says how long it was."""
    async with ScriptedUpstream([Silence()]) as upstream:
        code, out, err = await nexus(tmp_path, upstream.url, "--timeout", "300ms", "--set", "models.main.fallback=[]")
    assert (code, out) == (1, "")
    assert "no answer within the 0." in err
    assert [(row["outcome"], row["code"]) for row in rows(tmp_path)] == [("timeout", "deadline")]


@pytest.mark.parametrize("text", ["0s", "0", "soon", "-1s"])
async def test_timeout_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """Before anything is asked."""
    code, _, err = await nexus(tmp_path, "http://127.0.0.1:9/v1", f"--timeout={text}")
    assert (code, "is no duration above 0" in err) == (2, True)


def _heed_interrupts() -> None:
    # A shell without job control lets what it starts in the background ignore them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_ctrl_c_ends_with_130_and_leaves_the_row(tmp_path: Path, streamed: bool) -> None:
    """The request is cancelled, the sinks are written, and no traceback is shown."""
    gate = Gate()
    script = stream_answer([*chat_events("Be")[:2], gate]) if streamed else [gate]
    parent, child = pty.openpty()
    async with ScriptedUpstream(script) as upstream:
        (tmp_path / "two.yaml").write_text(PIPELINE.format(url=upstream.url, retry="{attempts: 2}"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nexus_core.cli.main", "run", "two.yaml", "Why?",
            cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=child if streamed else subprocess.DEVNULL,
            stderr=subprocess.PIPE, preexec_fn=_heed_interrupts,
        )  # fmt: skip
        os.close(child)
        await asyncio.wait_for(_begun(gate, parent if streamed else None), 20)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 20)
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)
    os.close(parent)
    assert (process.returncode, err.decode().strip().splitlines()[-1]) == (130, "interrupted")
    assert "Traceback" not in err.decode()
    assert [row["outcome"] for row in rows(tmp_path)] == ["cancelled"]


def test_the_table_is_aligned_and_marks_what_is_unknown_or_estimated() -> None:
    """Words to the left, figures to the right; `-` is unknown, `~` an estimate."""
    known = AttemptFinished(
        run_id="r", time=0.0, call_id="c", number=1, model="main", model_id="m", outcome="truncated", status=200,
        waited_s=1.5, duration_s=12.25, prompt_tokens=1200, completion_tokens=31, usage_source="estimated",
    )  # fmt: skip
    unknown = AttemptFinished(
        run_id="r", time=0.0, call_id="c", number=2, model="a-longer-name", model_id="m", outcome="limit",
        request_sent=False,
    )  # fmt: skip
    head, first, second = attempt_table([known, unknown]).splitlines()
    assert first.split() == [
        "1", "main", "truncated", "200", "-", "1.50", "s", "-", "-", "12.25", "s", "~1200+31", "unknown", "-",
    ]  # fmt: skip
    assert "limit (not sent)" in second
    assert "unknown" not in second  # what was not sent costs nothing
    assert head.index("model") == first.index("main") == second.index("a-longer-name")
    assert head.index("status") + len("status") == first.index("200") + 3
