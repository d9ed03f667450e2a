"""What models have used, from the command line: as a table for people and as JSON, summed up as asked."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nexus_core import DailyUsage, Store, UsageError
from nexus_core.cli.main import cli

pytestmark = pytest.mark.slow


def row(**fields: Any) -> DailyUsage:
    """Return what one model has used on a day."""
    told: dict[str, Any] = {
        "day": "2026-11-23", "pipeline": "handbook", "model": "main", "model_id": "gpt-4o-mini", "outcome": "ok",
        "attempts": 3, "requests": 2, "prompt_tokens": 1500, "completion_tokens": 40, "reasoning_tokens": 10,
        "cached_tokens": 500, "unreported": 0, "estimated": 0, "cost": 0.0125, "unpriced": 0,
        "duration_s": 1.25,
    }  # fmt: skip
    return DailyUsage(**{**told, **fields})


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return the folder of a store in which two models were used on two days."""

    async def write() -> None:
        async with Store(tmp_path / "store") as opened:
            await opened.add_usage(
                [
                    row(),
                    row(day="2026-11-24"),
                    row(day="2026-11-24", model="spare", model_id="llama3.1", estimated=2, prompt_tokens=7),
                    row(
                        day="2026-11-24",
                        outcome="rate_limit",
                        requests=1,
                        prompt_tokens=0,
                        unreported=1,
                        cost=0.0,
                        unpriced=1,
                    ),
                ],
                keep_days=36_500,
            )

    asyncio.run(write())
    return str(tmp_path / "store")


def usage(store: str, *arguments: str) -> str:
    """Return what the command prints."""
    result = CliRunner().invoke(cli, ["usage", *arguments, "--store", store])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_usage_is_a_table_with_a_total(store: str) -> None:
    """A line for each day, pipeline, model and outcome; what is estimated or unknown is marked and explained."""
    lines = [line.split() for line in usage(store).splitlines()]
    assert lines[0][:6] == ["day", "pipeline", "model", "model", "id", "outcome"]
    assert [
        "2026-11-24",
        "handbook",
        "spare",
        "llama3.1",
        "ok",
        "3",
        "2",
        "~7",
        "~40",
        "500",
        "~$0.012500",
        "1.2",
    ] in lines
    assert [
        "2026-11-24",
        "handbook",
        "main",
        "gpt-4o-mini",
        "rate_limit",
        "3",
        "1",
        "0",
        "40",
        "500",
        "1",
        "unknown",
        "1",
        "1.2",
    ] in lines
    assert ["total", "12", "7", "~3,007", "~160", "2,000", "1", "~$0.037500", "1", "5.0"] in lines
    assert [line[0] for line in lines[-3:]] == ["~", "unknown:", "unpriced:"]


def test_usage_tells_no_cost_where_none_is_known(store: str) -> None:
    """As JSON it is null and never 0; the total is what is known, beside how many requests are not in it."""
    told = json.loads(usage(store, "--json", "--by", "outcome"))
    assert [(line["outcome"], line["cost"], line["unpriced"]) for line in told["rows"]] == [
        ("ok", pytest.approx(0.0375), 0), ("rate_limit", None, 1),
    ]  # fmt: skip
    assert (told["total"]["cost"], told["total"]["unpriced"]) == (pytest.approx(0.0375), 1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--by", "day"], [("2026-11-23", 3), ("2026-11-24", 9)], id="day"),
        pytest.param(["--by", "day", "--since", "2026-11-24"], [("2026-11-24", 9)], id="since"),
        pytest.param(["--by", "pipeline"], [("handbook", 12)], id="pipeline"),
        pytest.param(["--by", "model"], [("main", "gpt-4o-mini", 9), ("spare", "llama3.1", 3)], id="model"),
        pytest.param(
            ["--by", "outcome", "--by", "day"],
            [("2026-11-23", "ok", 3), ("2026-11-24", "ok", 6), ("2026-11-24", "rate_limit", 3)],
            id="two, in the order of the table",
        ),
    ],
)
def test_usage_is_summed_up_as_asked(store: str, arguments: list[str], expected: list[tuple[Any, ...]]) -> None:
    """Each sum is told once, and the total is that of all of them."""
    told = json.loads(usage(store, "--json", *arguments))
    parts = ("day", "pipeline", "model", "modelId", "outcome", "attempts")
    assert [tuple(line[part] for part in parts if part in line) for line in told["rows"]] == expected
    for name, total in told["total"].items():
        assert total == pytest.approx(sum(line[name] or 0 for line in told["rows"]))


def test_no_usage_is_told_with_what_would_keep_it(tmp_path: Path) -> None:
    """In a store without any, and after the last day; as JSON there are no rows and a total of nothing."""
    empty = str(tmp_path / "empty")
    assert usage(empty).startswith("Nothing was used yet: the sink `store`")
    assert usage(empty, "--since", "2026-11-25").startswith("Nothing was used since 2026-11-25")
    told = json.loads(usage(empty, "--json"))
    assert told["rows"] == []
    assert set(told["total"].values()) == {0}


def test_a_day_that_is_none_is_refused(store: str) -> None:
    """With how it is written."""
    with pytest.raises(UsageError, match="write it as in 2026-11-23"):
        CliRunner().invoke(cli, ["usage", "--since", "yesterday", "--store", store], catch_exceptions=False)


PIPELINE = """name: handbook
models: {main: {use: extractive}}
steps:
  - gather: {use: inline, items: [Everybody has 28 days of leave.]}
  - prompt: qa
  - generate: main
sinks: [store]
"""
NEXUS = [sys.executable, "-P", "-m", "nexus_core"]


def used(folder: Path) -> list[tuple[str, str, int]]:
    """Return pipeline, outcome and requests of each row of a store."""
    rows = json.loads(usage(str(folder / "kept"), "--json"))["rows"]
    return [(row["pipeline"], row["outcome"], row["requests"]) for row in rows]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A pipeline with the sink `store`, which names no store."""
    (tmp_path / "handbook.yaml").write_text(PIPELINE)
    return tmp_path / "handbook.yaml"


def test_usage_has_the_figures_of_runs_with_the_sink(file: Path, tmp_path: Path) -> None:
    """The sink is loaded from YAML; `--store` of `nexus run` says where they are kept."""
    for _ in range(3):
        command = [*NEXUS, "run", str(file), "How many days?", "--store", str(tmp_path / "kept")]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    assert used(tmp_path) == [("handbook", "ok", 3)]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_usage_has_the_figures_of_a_served_pipeline(file: Path, tmp_path: Path) -> None:
    """Asked over HTTP, as JSON and as OpenAI's API; all of them once the server has ended."""
    command = [*NEXUS, "serve", str(file), "--port", "0", "--store", str(tmp_path / "kept")]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            origin = next(line.split()[-1] for line in server.stderr if "listening on" in line)
            post(f"{origin}/api/queries", {"query": "How many days?", "contextId": "handbook"})
            post(
                f"{origin}/v1/chat/completions",
                {"model": "nexus/handbook", "messages": [{"role": "user", "content": "How many?"}]},
            )
        finally:
            server.send_signal(signal.SIGTERM)
            server.stderr.read()
    assert used(tmp_path) == [("handbook", "ok", 2)]


def post(address: str, body: object) -> None:
    """Send JSON; raises for an answer that is none."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
