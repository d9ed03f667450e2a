"""`nexus schema`: the schema on stdout or in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from nexus_core.cli.commands.schema import command


@pytest.mark.slow
def test_schema_prints_a_schema_of_what_is_installed() -> None:
    """It is valid, and knows the first-party components and their options."""
    result = CliRunner().invoke(command, [], catch_exceptions=False)
    made = json.loads(result.stdout)
    Draft202012Validator.check_schema(made)
    assert result.exit_code == 0
    uses = [form.get("properties", {}).get("use", {}).get("const") for form in made["$defs"]["ranker"]["anyOf"]]
    assert "bm25" in uses


def test_schema_writes_to_a_file(tmp_path: Path) -> None:
    """Then stdout stays empty and stderr says where it went."""
    target = tmp_path / "s.json"
    result = CliRunner().invoke(command, ["--output", str(target)], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"wrote {target}" in result.stderr
    assert json.loads(target.read_text())["title"] == "ContextNexus pipeline"


def test_schema_says_why_it_cannot_write(tmp_path: Path) -> None:
    """A missing folder is a message, not a traceback."""
    result = CliRunner().invoke(command, ["--output", str(tmp_path / "gone/s.json")])
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr
