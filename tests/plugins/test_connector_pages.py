"""The pages of the connectors `anthropic`, `gemini` and `bedrock` say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
from nexus_anthropic.connector import Anthropic
from nexus_bedrock.connector import Bedrock
from nexus_gemini.connector import Gemini

from nexus_core.contract.components import OptionSpec, options_of
from nexus_core.toolkit import load_models

ROOT = Path(__file__).parents[2]
CONNECTORS = {"anthropic": Anthropic, "gemini": Gemini, "bedrock": Bedrock}


def rows(name: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading of a page."""
    page = (ROOT / "docs" / "how-to" / f"{name}.md").read_text("utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def shown(option: OptionSpec) -> str:
    """Return the default of an option as a page has it."""
    if option.required:
        return "required"
    if option.default in (None, {}, ()):
        return "none"
    return f"`{str(option.default).lower().removesuffix('.0')}`"


@pytest.mark.parametrize("name", CONNECTORS)
def test_page_lists_every_option(name: str) -> None:
    """Name, default and meaning, in the order of declaration."""
    options = [[f"`{option.name}`", shown(option), option.help] for option in options_of(CONNECTORS[name])]
    assert rows(name, "Options") == options


@pytest.mark.parametrize("name", CONNECTORS)
def test_page_lists_every_model(name: str) -> None:
    """With the figures of its table, and the day on which somebody looked at them."""
    table = load_models(ROOT / "plugins" / f"nexus_{name}" / "models.json")
    figures = []
    for model in table.ids:
        row = table.find(model)
        info = row.info(model, name)
        figures.append([f"`{model}`", f"{info.window:,}", f"{info.max_output:,}" if info.max_output else ""])
    assert [row[:3] for row in rows(name, "Models")] == figures
    assert f"last checked on {table.checked}" in (ROOT / "docs" / "how-to" / f"{name}.md").read_text("utf-8")
