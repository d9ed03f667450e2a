"""`nexus lsp` in a real editor, which has no window: Neovim, with the client that it brings."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("nvim") is None, reason="needs nvim")]

PAGE = Path(__file__).parents[2] / "docs/how-to/shell-and-editor.md"
PIPELINE = """\
name: p
models:
  main: {use: extractive}
steps:
  - gather: {use: inline, items: [a]}
  - rank: bm52
  - generate: main
"""
ASK = """
vim.cmd("filetype on")
vim.cmd("edit pipelines/p.yaml")
vim.wait(20000, function() return #vim.diagnostic.get(0) > 0 end, 20)
local found = { diagnostics = vim.diagnostic.get(0)[1].message }
local places = { completion = { 5, 10 }, hover = { 2, 15 }, definition = { 6, 16 } }
for method, place in pairs(places) do
  local asked = {
    textDocument = { uri = vim.uri_from_bufnr(0) }, position = { line = place[1], character = place[2] },
  }
  for _, answer in pairs(vim.lsp.buf_request_sync(0, "textDocument/" .. method, asked, 20000) or {}) do
    found[method] = answer.result
  end
end
vim.fn.writefile({ vim.fn.json_encode(found) }, "found.json")
vim.cmd("qa!")
"""


def test_the_client_of_neovim_gets_diagnostics_completion_hover_and_definition(tmp_path: Path) -> None:
    """With the lines of `init.lua` that the page shows; by the server of this environment."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/p.yaml").write_text(PIPELINE)
    blocks = re.findall(r"```lua\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (configured,) = [block for block in blocks if "start_client" in block]
    (tmp_path / "ask.lua").write_text(configured + ASK)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["nvim", "--headless", "-u", "NONE", "-c", "luafile ask.lua"], cwd=tmp_path, timeout=100,
        env={**os.environ, "PATH": path}, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (tmp_path / "found.json").exists(), done.stderr
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found["diagnostics"].startswith("no ranker is named 'bm52', did you mean 'bm25'?")
    assert "bm25" in [item["label"] for item in found["completion"]["items"]]
    assert "**extractive** (connector)" in found["hover"]["contents"]["value"]
    assert found["definition"]["range"]["start"] == {"line": 2, "character": 2}
