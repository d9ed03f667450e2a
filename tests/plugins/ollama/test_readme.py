"""The page on the connector says what the code does."""

from __future__ import annotations

from pathlib import Path

from nexus_ollama.connector import Ollama

from nexus_core.contract.components import OptionSpec, options_of
from nexus_core.toolkit import load_models

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/how-to/ollama.md").read_text("utf-8")
TOLD = ("tools", "vision", "reasoning")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def shown(option: OptionSpec) -> str:
    """Return a default as the page writes it."""
    if option.required:
        return "required"
    if option.default in (None, {}):
        return "none"
    return f"`{str(option.default).lower().removesuffix('.0')}`"


def test_page_lists_every_option() -> None:
    """Name, default and meaning, in the order of declaration."""
    assert rows("Options") == [[f"`{option.name}`", shown(option), option.help] for option in options_of(Ollama)]


def test_page_lists_every_model() -> None:
    """The figures of models.json, and what a model can do beside text."""
    table = load_models(ROOT / "plugins/nexus_ollama/models.json")
    expected = []
    for model in table.ids:
        figures = table.find(model).figures
        can = [name for name in TOLD if name in figures["capabilities"]]
        expected.append([f"`{model}`", f"{figures['window']:,}", ", ".join(can or ["embeddings"])])
        if not can and figures["capabilities"]:
            expected[-1][2] = "text"
    assert rows("Models") == expected
