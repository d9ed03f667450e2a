"""The commands as a person meets them: what they print where, and their exit codes."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core.cli.main import COMMANDS, main
from nexus_core.cli.output.tables import shown_scores

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]

HANDBOOK = """# Leave
Everybody has 28 days of leave a year. Up to five days may be carried over until the end of March.

# Travel
Trains are booked in second class.
"""
PIPELINE = """name: handbook
models:
  main: {use: openai, model: gpt-4o-mini, api_key: "", fallback: offline, aliases: [best]}
  offline: {use: extractive}
steps:
  - gather: {use: files, paths: ["*.md"]}
  - rank: bm25
  - prompt: {template: qa, budget: 2000}
  - generate: main
"""


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command in a folder with a handbook and a pipeline; return exit code, stdout and stderr."""
    (tmp_path / "handbook.md").write_text(HANDBOOK)
    (tmp_path / "handbook.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_run_prints_the_answer_with_its_sources(nexus: Nexus) -> None:
    """The answer, then the sources it cites, on stdout; who answered instead of whom, on stderr."""
    code, out, err = nexus("run", "handbook.yaml", "How many days of leave can be carried over?")
    assert code == 0
    assert "Up to five days may be carried over" in out
    assert re.search(r"Sources:\n  \[\d\] handbook.md", out)
    assert "main did not answer" in err
    assert "OPENAI_API_KEY" in err


def test_run_reads_the_query_from_standard_input(nexus: Nexus) -> None:
    """`-` means stdin."""
    code, out, _ = nexus("run", "handbook.yaml", "-", stdin="Which class are trains booked in?\n")
    assert (code, "second class" in out) == (0, True)


def test_run_json_has_the_documented_shape(nexus: Nexus) -> None:
    """Unknown counts are null, never 0; those that no service told are estimates and say so; all attempts are there."""
    code, out, _ = nexus("run", "handbook.yaml", "Which class are trains booked in?", "--json")
    answer = json.loads(out)
    assert code == 0
    assert list(answer) == ["id", "query", "response", "contextId", "modelId", "conversationId", "metadata", "attempts"]
    metadata = answer["metadata"]
    counts = ["promptTokens", "completionTokens", "totalTokens"]
    assert list(metadata) == [
        *counts, "usageSource", "cost", "unpricedAttempts", "responseTimeMs", "contextItems",
    ]  # fmt: skip
    assert metadata["usageSource"] == "estimated"
    assert metadata["promptTokens"] + metadata["completionTokens"] == metadata["totalTokens"]
    rows = answer["attempts"]
    assert [(row["model"], row["outcome"], row["requestSent"]) for row in rows] == [
        ("main", "not_configured", False),
        ("offline", "ok", True),
    ]
    assert (rows[0]["promptTokens"], rows[0]["status"], rows[0]["number"]) == (None, None, 1)
    assert {"id", "title", "relevance"} == set(metadata["contextItems"][0])


def test_run_with_an_override_uses_it(nexus: Nexus) -> None:
    """`--set` changes one value of the file."""
    code, out, _ = nexus("run", "handbook.yaml", "leave", "--set", "models.offline.sentences=1", "--model", "offline")
    assert (code, out.count("[1]")) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["run", "none.yaml", "q"], 2, "cannot read the pipeline none.yaml", id="missing-file"),
        pytest.param(["run", "handbook.yaml"], 2, "standard input holds no query", id="no-query"),
        pytest.param(["run", "handbook.yaml", "q", "--model", "bset"], 2, "did you mean 'best'", id="unknown-model"),
        pytest.param(["run", "handbook.yaml", "q", "--input", "x"], 2, "NAME=VALUE", id="bad-input"),
        pytest.param(["run", "handbook.yaml", "q", "--input", "x=1"], 2, "has no input 'x'", id="unknown-input"),
        pytest.param(["run", "handbook.yaml", "q", "--set", "steps[9].x=1"], 2, "--set", id="bad-override"),
        pytest.param(["rnu", "handbook.yaml"], 2, "did you mean 'run'", id="unknown-command"),
        pytest.param(
            ["run", "handbook.yaml", "q", "--set", "models.main.fallback=[]"], 1, "OPENAI_API_KEY", id="no-key"
        ),
    ],
)
def test_a_mistake_gets_a_message_and_its_exit_code(
    nexus: Nexus, arguments: list[str], code: int, message: str
) -> None:
    """2 is wrong usage or configuration, 1 a run that failed; nothing on stdout, no traceback."""
    found, out, err = nexus(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_run_of_a_broken_file_shows_every_problem(nexus: Nexus, tmp_path: Path) -> None:
    """All problems at once, as lint would show them."""
    (tmp_path / "broken.yaml").write_text(PIPELINE.replace("bm25", "bm52").replace("budget", "bugdet"))
    code, _, err = nexus("run", "broken.yaml", "q")
    assert code == 2
    assert "broken.yaml:7:" in err
    assert "broken.yaml:8:" in err
    assert "2 problems: nothing was run" in err


def test_explain_shows_messages_window_trace_and_chain(nexus: Nexus) -> None:
    """Everything a run would send, and no call."""
    code, out, _ = nexus("explain", "handbook.yaml", "How many days of leave can be carried over?")
    assert code == 0
    for expected in (
        "── system",
        "── user",
        "The window of main (gpt-4o-mini)",
        "128,000 tokens",
        "kept",
        "Models, in the order",
    ):
        assert expected in out


def test_explain_counts_what_was_left_out_for_likeness(nexus: Nexus, tmp_path: Path) -> None:
    """Two files with the same paragraphs are packed once, in a pipeline as anybody writes it."""
    shared = "Leave is taken in whole days. Up to five unused days are carried over into the new year.\n\n"
    (tmp_path / "notes").mkdir(exist_ok=True)
    for name, own in (("one", ""), ("two", "Travel is booked by the office of the department."), ("three", "")):
        (tmp_path / "notes" / f"{name}.txt").write_text(shared + own)
    (tmp_path / "twice.yaml").write_text(
        "name: twice\nmodels: {main: {use: extractive}}\nsteps:\n  - gather: {use: files, paths: notes}\n"
        "  - rank: bm25\n  - prompt: qa\n  - generate: main\n"
    )
    code, out, _ = nexus("explain", "twice.yaml", "How many days of leave are carried over?")
    assert (code, out.count("are carried over into the new year")) == (0, 1)
    assert "left out for likeness: 2 passages of 2 items" in out


def test_explain_json_adds_up(nexus: Nexus) -> None:
    """The parts of the window are its size; every candidate has its entry."""
    code, out, _ = nexus("explain", "handbook.yaml", "leave", "--json")
    shown = json.loads(out)
    assert code == 0
    assert sum(shown["parts"].values()) == shown["window"] == 128_000
    assert shown["promptTokens"] + shown["reservedTokens"] <= shown["window"]
    assert {entry["decision"] for entry in shown["trace"]} <= {"kept", "cut", "dropped"}
    assert [target["model"] for target in shown["chain"]] == ["main", "offline"]


def test_explain_tells_what_the_prompt_costs(nexus: Nexus) -> None:
    """For each model whose price is known; here a dollar for each token. Of another nobody knows it."""
    prices = ("--set", "models.main.prices={input: 1000000, output: 1}")
    _, out, _ = nexus("explain", "handbook.yaml", "leave", *prices, "--json")
    first, second = json.loads(out)["chain"]
    assert (first["promptCost"], second["promptCost"]) == (first["promptTokens"], 0)
    _, out, _ = nexus("explain", "handbook.yaml", "leave", *prices)
    assert re.search(r"^  1\. main: .* prompt (\d+) tokens with 1 item for \$\1\.00$", out, re.MULTILINE)


def test_scores_above_a_thousand_are_told_apart() -> None:
    """Such as years, by a ranker that goes by dates; small ones keep three digits."""
    assert shown_scores({"bm25": 0.68341, "newest": 2025.0}) == "bm25 0.683 newest 2025"


def test_explain_marks_what_is_counted_by_a_bound(nexus: Nexus, tmp_path: Path) -> None:
    """Tools, of which no formula is published, and images whose detail the service chooses; texts are exact."""
    tools = ("--set", "models.main.options.tools=[{name: now, parameters: {type: object}}]")
    _, out, _ = nexus("explain", "handbook.yaml", "leave", *tools)
    assert re.search(r"^  t tools .*%  at most$", out, re.MULTILINE)
    assert out.count("at most") == 1
    (tmp_path / "plan.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\4\0\0\0\4\0")
    _, out, _ = nexus("explain", "handbook.yaml", "leave", "--attach", str(tmp_path / "plan.png"))
    assert re.search(r"^  a attachments .*%  at most$", out, re.MULTILINE)


def test_models_lists_three_figures_and_marks_the_default(nexus: Nexus) -> None:
    """Window, max input and max output are never confused."""
    code, out, _ = nexus("models", "handbook.yaml", "--json")
    main_model, offline = json.loads(out)
    assert code == 0
    assert (main_model["name"], main_model["default"], main_model["window"], main_model["maxOutput"]) == (
        "main", True, 128_000, 16_384,
    )  # fmt: skip
    assert (main_model["fallback"], main_model["aliases"], offline["default"]) == (["offline"], ["best"], False)
    table = nexus("models", "handbook.yaml")[1]
    assert "main *" in table
    assert "offline *" in nexus("models", "handbook.yaml", "--set", "steps[3].generate=offline")[1]
    assert re.search(r"^main: GPT-4o mini\. Checked on 20\d\d-\d\d-\d\d\.$", table, re.MULTILINE)


@pytest.mark.parametrize(
    ("use", "model"),
    [("anthropic", "claude-sonnet-5"), ("gemini", "gemini-2.5-flash"), ("bedrock", "eu.amazon.nova-pro-v1:0")],
)
def test_models_says_when_each_table_was_checked(nexus: Nexus, use: str, model: str) -> None:
    """Of every connector with a table of models."""
    command = ("models", "handbook.yaml", "--set", f"models.main={{use: {use}, model: '{model}', fallback: offline}}")
    assert re.search(r"^main: .*Checked on 20\d\d-\d\d-\d\d\.$", nexus(*command)[1], re.MULTILINE)


def test_models_shows_prices(nexus: Nexus) -> None:
    """Of a connector that knows them, the pipeline's over these; what nobody knows is said to be unknown."""
    command = ("models", "handbook.yaml", "--set", "models.main.base_url=http://127.0.0.1:9/v1")
    _, out, _ = nexus(*command, "--set", "models.main.prices={input: 2.5, output: 10}", "--json")
    main, offline = (model["prices"] for model in json.loads(out))
    assert (main["input"], main["cached"], main["reasoning"]) == (2.5, 2.5, 10)
    assert set(offline.values()) == {0, None}
    unknown = nexus(*command)[1].splitlines()
    assert unknown[1].split()[-5:-3] == ["unknown", "unknown"]


def test_models_shows_what_differs_for_cached_and_reasoning_tokens(nexus: Nexus) -> None:
    """In columns of their own, which are not there else."""
    prices = "models.main.prices={input: 2.5, output: 10, cached: 1.25, reasoning: 20}"
    table = nexus("models", "handbook.yaml", "--set", prices)[1]
    assert [word in table for word in ("$ cached", "1.25", "$ reasoning", "20")] == [True] * 4
    table = nexus("models", "handbook.yaml", "--set", "models.main.prices={input: 2.5, output: 10}")[1]
    assert ("$ cached" in table, "$ reasoning" in table) == (False, False)


@pytest.mark.parametrize(
    ("said", "cell", "seconds"),
    [("true", "7d", 604_800), ("{expires: 36h}", "36h", 129_600), ("{expires: 1.5}", "1.5s", 1.5)],
)
def test_models_shows_how_long_answers_are_kept(nexus: Nexus, said: str, cell: str, seconds: float) -> None:
    """As a pipeline says it, and with its bounds in JSON; `-` and null where nothing is."""
    command = ("models", "handbook.yaml", "--set", f"models.offline.cache={said}")
    first, second = (line.split() for line in nexus(*command)[1].splitlines()[1:3])
    assert ("-" in first, second[-3]) == (True, cell)
    main, offline = json.loads(nexus(*command, "--json")[1])
    assert (main["cache"], offline["cache"]["expiresSeconds"]) == (None, seconds)
    assert offline["cache"]["maxBytes"] == 2**28


def test_plugins_lists_every_first_party_plugin(nexus: Nexus) -> None:
    """Name, kind, summary, distribution and version."""
    code, out, _ = nexus("plugins")
    assert code == 0
    for name in ("openai", "extractive", "files", "jsonl", "inline", "bm25", "mmr", "recency", "fuse", "qa", "log"):
        assert re.search(rf"^{name} ", out, re.MULTILINE), name
    assert "contextnexus 0.1.0" in out
    assert "BROKEN" not in out


def test_plugins_shows_the_options_of_one(nexus: Nexus) -> None:
    """Type, default and meaning of every option."""
    code, out, _ = nexus("plugins", "recency")
    assert (code, "half_life_days" in out) == (0, True)


def test_plugins_of_an_unknown_name_is_an_error_with_a_suggestion(nexus: Nexus) -> None:
    """A misspelt name is answered with what was meant."""
    code, out, _ = nexus("plugins", "opena")
    assert (code, "did you mean 'openai'" in out) == (2, True)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(nexus: Nexus, command: str) -> None:
    """Help says what, and shows how."""
    code, out, _ = nexus(command, "--help")
    assert (code, f"nexus {command}" in out.split("Example")[-1]) == (0, True)


def test_the_help_of_nexus_imports_nothing_heavy() -> None:
    """Start-up is a feature: neither aiohttp, tiktoken, jinja2, yaml, numpy nor any plugin."""
    code = "import sys; from nexus_core.cli.main import main\n"
    code += "try: main(['--help'])\nfinally: print(*sys.modules, file=sys.stderr)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split()
    heavy = {"aiohttp", "tiktoken", "jinja2", "yaml", "numpy", "rich", "attrs", "pluggy"}
    assert heavy & set(loaded) == set()
    assert [name for name in loaded if name.startswith("nexus_") and not name.startswith("nexus_core")] == []


def test_run_streams_to_a_terminal(nexus: Nexus, tmp_path: Path) -> None:
    """On a terminal the answer comes in parts and is whole at the end, sources after it."""
    parent, child = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "nexus_core.cli.main",
        "run",
        "handbook.yaml",
        "days of leave",
        "--model",
        "offline",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=child, stderr=child, stdin=child)
    os.close(child)
    shown = b""
    with open(parent, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(4096):
                shown += part
        except OSError:  # how Linux says that the other side of a terminal is closed
            assert process.wait() == 0
    assert process.wait() == 0
    assert b"28 days of leave" in shown
    assert b"Sources:" in shown


def test_plugins_tells_of_broken_clashing_and_slow_ones_while_everything_else_works(
    nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each plugin that has something wrong with it says what; a pipeline that names none of them runs."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("nexus_core.cli.commands.plugins.SLOW_IMPORT_S", 0.0)
    for distribution, name, code in (
        ("acme-broken", "broken", "raise RuntimeError('no licence')"),
        ("acme-clash", "bm25", "x = 1"),
    ):
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[contextnexus]\n{name} = {module}\n")
    shown = " ".join(nexus("plugins")[1].split())
    assert re.search("broken BROKEN .*RuntimeError: no licence", shown)
    assert re.search("bm25 BROKEN .*claimed by acme-clash 1.0 .* and contextnexus", shown)
    assert "slow: its import took" in shown
    unranked = PIPELINE.replace("  - rank: bm25\n", "")
    (tmp_path / "unranked.yaml").write_text(unranked)
    assert nexus("run", "unranked.yaml", "Which class are trains booked in?")[0] == 0
    assert "claimed by acme-clash" in nexus("run", "handbook.yaml", "q")[2]
