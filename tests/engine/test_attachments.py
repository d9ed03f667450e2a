"""Attachments and tools of a run: they reach the model that answers, or an error says why they do not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core import (
    Answer,
    CallOptions,
    FilePart,
    ImagePart,
    ImageTokens,
    Message,
    ModelInfo,
    NotConfiguredError,
    TextPart,
    ToolDefinition,
    UsageError,
)
from nexus_core.cli.main import main
from nexus_core.engine.json_shapes import explanation_json
from nexus_core.testing.fakes import FakeConnector

if TYPE_CHECKING:
    from tests.engine.conftest import Fakes, Load

IMAGE = ImagePart(data=b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\4\0\0\0\4\0\x08\x02\0\0\0", media_type="image/png")
TWO = """name: two
models:
  main: {use: fake, to: blind, fallback: spare}
  spare: {use: fake, to: seeing}
steps:
  - generate: main
"""


def model(*capabilities: str) -> FakeConnector:
    tokens = ImageTokens(formula="tiles", at_most=1445, base=85, per_tile=170)
    info = ModelInfo(id="m", provider="p", window=4096, capabilities=frozenset(capabilities), image_tokens=tokens)
    return FakeConnector(model_info=info)


def answer(load: Load, text: str, **asked: Any) -> Answer:
    async def run() -> Answer:
        async with load(text) as pipeline:
            return await pipeline.run("What is it?", **asked)

    return asyncio.run(run())


def test_fallback_that_takes_images_answers(load: Load, fakes: Fakes) -> None:
    """The first model is sent nothing, and leaves no row."""
    fakes.connectors = {"blind": model(), "seeing": model("vision")}
    found = answer(load, TWO, attachments=[IMAGE])
    assert found.model == "spare"
    assert [row.model for row in found.attempts if row.request_sent] == ["spare"]
    assert fakes.connectors["blind"].prompts == []
    assert fakes.connectors["seeing"].prompts[0].messages == (Message("user", (IMAGE, TextPart("What is it?"))),)
    assert found.prompt.tokens_at_most > 765


def test_attachments_that_no_model_takes_are_refused_at_once(load: Load, fakes: Fakes) -> None:
    """Before any step runs."""
    fakes.connectors = {"blind": model(), "seeing": model("vision")}
    pdf = FilePart(data=b"%PDF-", media_type="application/pdf")
    with pytest.raises(UsageError, match="main and spare would need the capability files"):
        answer(load, TWO, attachments=[pdf])
    with pytest.raises(UsageError, match="ImagePart and FilePart, not of str"):
        answer(load, TWO, attachments=["a.png"])


def test_only_the_answering_prompt_has_attachments(load: Load, fakes: Fakes) -> None:
    """A step before it that rewrites the query sees the text alone."""
    fakes.connectors = {"blind": model(), "seeing": model("vision")}
    text = TWO.replace("fallback: spare", "aliases: first") + "    into: query\n  - generate: spare\n"
    answer(load, text, attachments=[IMAGE])
    assert fakes.connectors["blind"].prompts[0].messages == (Message("user", "What is it?"),)
    assert fakes.connectors["seeing"].prompts[0].messages[0].content[0] == IMAGE


def test_tools_of_the_file_reach_the_model(load: Load, fakes: Fakes) -> None:
    """With its choice and effort; a model without tools says so before anything is sent."""
    options = "{tools: [{name: look, parameters: {type: object}}], tool_choice: look, reasoning_effort: low}"
    text = f"name: x\nmodels: {{m: {{use: fake}}}}\nsteps:\n  - generate: {{model: m, options: {options}}}\n"
    fakes.connectors = {"main": model("tools")}
    answer(load, text)
    tool = ToolDefinition(name="look", parameters={"type": "object"})
    assert fakes.connectors["main"].options[0] == CallOptions(tools=(tool,), tool_choice="look", reasoning_effort="low")
    fakes.connectors = {"main": model()}
    with pytest.raises(NotConfiguredError, match="takes no tools"):
        answer(load, text)


def test_command_attaches_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """`--attach` reads them; a model that takes none is told of, and so is a file that is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(IMAGE.data)
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "p.yaml").write_text("name: p\nmodels: {m: extractive}\nsteps: [generate: m]\n")
    for name, said in (("a.png", "capability vision"), ("a.txt", "a.txt cannot be attached: it is none of the kinds")):
        with pytest.raises(SystemExit) as ended:
            main(["run", "p.yaml", "What is it?", "--attach", name])
        assert ended.value.code != 0
        assert said in capsys.readouterr().err


def test_explanation_shows_attachments_by_size_and_digest(load: Load, fakes: Fakes) -> None:
    """Their tokens are a part of the window of their own, and counts that are bounds are no exact ones."""
    fakes.connectors = {"blind": model(), "seeing": model("vision")}

    async def explained() -> dict[str, Any]:
        async with load(TWO) as pipeline:
            return explanation_json(await pipeline.explain("What is it?", attachments=[IMAGE]))

    found = asyncio.run(explained())
    assert found["model"] == "spare"
    assert (found["parts"]["attachments"], found["countsAreExact"]) == (765, False)
    assert found["partsAtMost"] == ["attachments"]
    assert sum(found["parts"].values()) == found["window"]
    assert "takes no images" in found["chain"][0]["problem"]
    (shown,) = found["messages"][0]["attachments"]
    assert (shown["mediaType"], shown["bytes"]) == ("image/png", len(IMAGE.data))
