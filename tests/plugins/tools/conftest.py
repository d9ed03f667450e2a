"""A pipeline whose model calls one tool and answers with what the tool said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from nexus_core.cli.main import main

PLUGIN = '''
from nexus_core import Chunk, Completion, ModelInfo, ToolCall, ToolCallDelta, component, hookimpl, option


@component
class Calling:
    """Calls a tool, and answers with its result."""

    tool: str = option(help="Its name.")
    arguments: str = option("{}", help="As JSON.")

    @property
    def model_info(self):
        return ModelInfo(id="calling", provider="test", window=20_000, capabilities=frozenset({"generate", "tools"}))

    async def send_prompt(self, prompt, options):
        results = [message.text for message in prompt.messages if message.role == "tool"]
        offered = ",".join(tool.name for tool in options.tools or ())
        if results or options.tool_choice == "none" or not self.tool:
            return Completion(text=f"offered {offered}\\n" + "\\n".join(results), finish_reason="stop")
        call = ToolCall(id="c1", name=self.tool, arguments=self.arguments)
        return Completion(text="", finish_reason="tool_calls", tool_calls=(call,))

    async def stream_response(self, prompt, options):
        whole = await self.send_prompt(prompt, options)
        yield Chunk(whole.text, tool_calls=tuple(
            ToolCallDelta(index=0, id=call.id, name=call.name, arguments=call.arguments) for call in whole.tool_calls
        ))
        yield Chunk(finish_reason=whole.finish_reason)


@hookimpl
def nexus_connectors():
    return [Calling]
'''

WritePipeline = Callable[..., Path]


def run_command(*arguments: str) -> int:
    """Run a command in this process, and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def write_pipeline(tmp_path: Path) -> WritePipeline:
    """Give what writes a pipeline with tools, whose model calls one of them."""

    def write(
        tools: Sequence[Mapping[str, Any]], tool: str, arguments: Mapping[str, Any] | None = None, **generate: Any
    ) -> Path:
        (tmp_path / "calling.py").write_text(PLUGIN)
        model = {"use": "calling.calling", "tool": tool, "arguments": json.dumps(arguments or {})}
        step = {"model": "main", "tools": [*tools], "rounds": 2, **generate}
        pipeline = {
            "name": "desk",
            "plugins": ["./calling.py"],
            "models": {"main": model},
            "steps": [{"generate": step}],
        }
        path = tmp_path / "desk.yaml"
        path.write_text(yaml.safe_dump(pipeline, sort_keys=False))
        return path

    return write
