"""Answers held to a JSON Schema, from the command line: the value, the error with its place, and lint."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core.cli.main import main

pytestmark = pytest.mark.slow

Nexus = Callable[..., tuple[int, str, str]]

PIPELINE = """name: days
models: {main: {use: extractive, retry: false}}
steps:
  - gather: {use: inline, items: [{id: leave, text: 'The days of leave are {"days": 28, "from": "May"}'}]}
  - prompt: qa
  - generate: {schema: leave.json}
"""
SCHEMA = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
QUESTION = "How many days of leave?"


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command in a folder with a pipeline and its schema; return exit code, stdout and stderr."""
    (tmp_path / "days.yaml").write_text(PIPELINE)
    (tmp_path / "leave.json").write_text(json.dumps(SCHEMA))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_json_has_the_value_and_whether_it_was_repaired(nexus: Nexus) -> None:
    """Beside the text, which is the JSON that was read."""
    code, out, _ = nexus("run", "days.yaml", QUESTION, "--json", "--no-stream")
    told = json.loads(out)
    assert (code, told["value"], told["repaired"]) == (0, {"days": 28, "from": "May"}, True)
    assert json.loads(told["response"]) == told["value"]


def test_a_replay_is_validated_too(nexus: Nexus) -> None:
    """And repaired, as what was recorded is what the model wrote."""
    nexus("run", "days.yaml", QUESTION, "--record", "kept")
    code, out, _ = nexus("run", "days.yaml", QUESTION, "--replay", "kept", "--json")
    assert (code, json.loads(out)["value"]["days"], json.loads(out)["repaired"]) == (0, 28, True)


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["streamed", "whole"])
def test_a_mismatch_is_an_error_with_its_place(nexus: Nexus, tmp_path: Path, more: tuple[str, ...]) -> None:
    """Whether the answer is streamed or whole."""
    (tmp_path / "leave.json").write_text(json.dumps({"properties": {"from": {"type": "integer"}}}))
    code, _, err = nexus("run", "days.yaml", QUESTION, *more)
    assert code == 1
    assert 'at `/from` it is to be of `type: "integer"`' in " ".join(err.split())


def test_a_stream_that_mismatches_is_not_said_to_have_broken_off(
    nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, where its text has been shown: it is whole, and no answer."""
    (tmp_path / "leave.json").write_text(json.dumps({"properties": {"from": {"type": "integer"}}}))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, _, err = nexus("run", "days.yaml", QUESTION)
    assert code == 1
    assert "The text above is no answer: it breaks its schema." in err


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("leave.json", '{"type": "txt"}', "6:24 J001 the JSON Schema 'leave.json' cannot be used at `/type`: a type"),
        ("leave.json", "{", "it is no JSON"),
        ("leave.json", "[" * 100_000, "nested too deeply"),
        ("leave.json", '{"$ref": "http://127.0.0.1:9/x"}', "leads to another document, and none is fetched"),
        ("other.json", "{}", "there is no such file"),
        ("leave.yaml", "type: [", "leave.yaml:1:"),
    ],
    ids=["no type", "no JSON", "deep", "remote", "gone", "no YAML"],
)
def test_lint_tells_what_is_wrong_with_a_schema(nexus: Nexus, tmp_path: Path, name: str, text: str, told: str) -> None:
    """With the place in the pipeline, and that in the schema."""
    (tmp_path / "leave.json").unlink()
    (tmp_path / name).write_text(text)
    if name.endswith(".yaml"):
        (tmp_path / "days.yaml").write_text(PIPELINE.replace("leave.json", name))
    code, out, err = nexus("lint", "days.yaml")
    assert code != 0
    assert told in out + err


@pytest.mark.parametrize("command", ["run", "lint"])
def test_a_pipeline_without_a_schema_imports_no_library_for_one(tmp_path: Path, command: str) -> None:
    """It pays for nothing that it does not use."""
    import subprocess

    (tmp_path / "days.yaml").write_text(PIPELINE.replace("schema: leave.json", "model: main"))
    asked = [QUESTION] if command == "run" else []
    code = (
        "import sys\nfrom nexus_core.cli.main import main\n"
        f"try: main({[command, 'days.yaml', *asked]!r})\nexcept SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith(('jsonschema', 'nexus_core.structured.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
