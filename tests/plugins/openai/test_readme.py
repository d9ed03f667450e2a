"""The README of the connector says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from nexus_openai.connector import OpenAI
from nexus_openai.model_table import checked_on, load_table

import nexus_core
from nexus_core.contract import errors
from nexus_core.contract.components import OptionSpec, options_of
from nexus_core.contract.errors import ConnectorError

README = (Path(__file__).parents[3] / "docs/how-to/openai.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def shown(option: OptionSpec) -> str:
    if option.required:
        return "required"
    if option.default in (None, {}, ()):
        return "none"
    return f"`{str(option.default).lower().removesuffix('.0')}`"


def test_readme_lists_every_option() -> None:
    """Name, default and meaning, in the order of declaration."""
    options = [[f"`{option.name}`", shown(option), option.help] for option in options_of(OpenAI)]
    assert rows("Options") == options


def test_readme_lists_every_model() -> None:
    """The figures of models.json."""

    def figure(number: int | None) -> str:
        return f"{number:,}" if number else ""

    figures = [
        [f"`{row.id}`", *map(figure, (row.window, row.max_input, row.max_output)), row.encoding or ""]
        for row in load_table()
        if row.known
    ]
    table = rows("Models")
    assert [row[:5] for row in table] == figures
    notes = {row[0].strip("`"): row[5] for row in table}
    for row in load_table()[:-1]:
        assert ("reasoning" in notes[row.id]) == ("reasoning" in row.capabilities)
        assert ("open weights" in notes[row.id]) == row.open_weights
        for endpoint in ("completions", "responses", "embeddings"):
            assert (endpoint in notes[row.id]) == (endpoint in (row.endpoint, row.tools_endpoint))
    assert f"last checked on {checked_on()}" in README


def is_connector_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, ConnectorError)


def test_readme_lists_every_error() -> None:
    """Each class of connector error has its line, but for a missing key (a paragraph) and the engine's own."""
    named = set(re.findall(r"`(\w+Error)`", " ".join(row[1] for row in rows("What an answer is"))))
    classes = {kind.__name__ for kind in vars(errors).values() if is_connector_error(kind)}
    assert named == classes - {"ConnectorError", "NotConfiguredError", "LimitError"}
    assert named <= set(nexus_core.__all__)
