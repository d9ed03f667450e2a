"""The reference repeats the declarations, so it is compared with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from generated_pages import fill

from nexus_core.config.check import check
from nexus_core.config.keys import (
    EXPRESSION_NAMES,
    CallKeys,
    GenerateKeys,
    InputKeys,
    ModelKeys,
    PipelineKeys,
    PromptKeys,
    StepKeys,
    TemplateTextKeys,
    ToolKeys,
    keys_of,
)
from nexus_core.config.option_types import words
from nexus_core.config.options import bounds
from nexus_core.config.policy_keys import BreakerKeys, CacheKeys, CallsKeys, LimitKeys, RetryKeys
from nexus_core.config.yaml.problems import CODES
from nexus_core.contract.components import OptionSpec
from nexus_core.engine.plugins import PluginRegistry

PAGE = fill((Path(__file__).parents[2] / "docs/reference/pipelines.md").read_text("utf-8"))
MAPPINGS = (
    *(PipelineKeys, ModelKeys, CallKeys, StepKeys, PromptKeys, TemplateTextKeys, GenerateKeys, InputKeys),
    ToolKeys,
    *(RetryKeys, BreakerKeys, LimitKeys, CacheKeys, CallsKeys),
)


def row(spec: OptionSpec) -> str:
    """Return the line of a table that a key has."""
    limits = bounds(spec)
    kind = words(spec.annotation) + (f", {limits}" if limits else "")
    default = "required" if spec.required else f"`{spec.default}`" if spec.default not in (None, "", (), {}) else ""
    for value in ("False", "True"):
        default = default.replace(value, value.lower())
    return f"| `{spec.name}` | {kind} | {default} | {spec.help} |"


@pytest.mark.parametrize("mapping", MAPPINGS, ids=lambda mapping: mapping.__name__)
def test_every_key_has_its_line_in_the_reference(mapping: type) -> None:
    """Type, bounds, default and meaning, as they are declared."""
    lines = PAGE.splitlines()
    assert [line for spec in keys_of(mapping) if (line := row(spec)) not in lines] == []


def test_every_code_has_its_line_in_the_reference() -> None:
    """The table has all of them, in order, and no other."""
    lines = re.findall(r"^\| `[A-Z]\d{3}` .*$", PAGE, re.MULTILINE)
    assert lines == [f"| `{code}` | {meaning} |" for code, meaning in CODES.items()]


def test_snippet_of_the_reference_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """What is shown works as shown."""
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(snippet, "pipelines.md", "exec"), {})
    assert capsys.readouterr().out.startswith("x.yaml:3:9 P001 ")


def test_pipelines_of_the_reference_are_sound() -> None:
    """What an author copies has no error and no warning."""
    snippets = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    catalogue = PluginRegistry.installed()
    found = [check(text, "-", catalogue, {"OPENAI_API_KEY": "x"}).problems for text in snippets]
    assert found == [()] * len(snippets)
    assert len(snippets) == 3


def test_every_name_of_an_expression_is_in_the_reference() -> None:
    """What may stand between the braces is listed."""
    text = PAGE
    assert [name for name in EXPRESSION_NAMES if f"| `{name}` |" not in text] == []
