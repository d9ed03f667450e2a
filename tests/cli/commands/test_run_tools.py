"""Calls of tools that a model asks for, from the command line: shown under the text, and as JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from nexus_core.cli.main import main

PIPELINE = """name: doors
plugins: [./caller.py]
models: {main: {use: caller, options: {tools: [{name: opening_times, parameters: {type: object}}]}}}
steps:
  - generate: main
"""
PLUGIN = """from nexus_core import Completion, ModelInfo, ToolCall, component, hookimpl

@component
class Caller:
    \"\"\"Calls its first tool.\"\"\"

    model_info = ModelInfo(id="caller-1", provider="caller", window=4096, capabilities=frozenset({"tools"}))

    async def send_prompt(self, prompt, options):
        call = ToolCall(id="c1", name=options.tools[0].name, arguments='{"day":"Sunday"}')
        return Completion(text="", finish_reason="tool_calls", tool_calls=(call,), reasoning="Ask.")

    def stream_response(self, prompt, options):
        raise NotImplementedError

@hookimpl
def nexus_connectors():
    return [Caller]
"""


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_calls_of_tools_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    """With their arguments, where the answer has no text, too; in JSON beside what the model has thought."""
    (tmp_path / "doors.yaml").write_text(PIPELINE)
    (tmp_path / "caller.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        main(["run", "doors.yaml", "When is it open?", *more])
    out = capsys.readouterr().out
    assert not ended.value.code
    if more:
        told = json.loads(out)
        assert told["toolCalls"] == [{"id": "c1", "name": "opening_times", "arguments": '{"day":"Sunday"}'}]
        assert told["reasoning"] == "Ask."
    else:
        assert '[calls opening_times with {"day":"Sunday"}]' in out
