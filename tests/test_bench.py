"""The benchmarks: what they say of themselves, and that their own arithmetic is right."""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import subprocess
import sys
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest

from nexus_core.toolkit import query_terms, terms

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).with_name("bench")
PAGE = FOLDER.parents[1] / "docs" / "explanation" / "benchmarks.md"
SCRIPTS = sorted(file for file in FOLDER.glob("*.py") if "\ndef main(" in file.read_text())


def script(name: str) -> ModuleType:
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.stem)
def test_each_benchmark_states_what_it_leaves_out(file: Path) -> None:
    """In its docstring, and in the last column of the table of the page."""
    assert "\n\nLeft out: " in (ast.get_docstring(ast.parse(file.read_text())) or "")
    rows = PAGE.read_text("utf-8").splitlines()
    row = next(row for row in rows if row.startswith(f"| `{file.name}"))
    assert len([cell for cell in row.strip("|").split(" | ") if cell.strip()]) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_memory_of_a_program_is_told_without_that_of_its_parent() -> None:
    """Which `ru_maxrss` has in it, since it survives the exec."""
    ballast = b"x" * (256 << 20)
    say = "import sys; sys.path.insert(0, sys.argv[1]); from store import peak_mib; print(peak_mib())"
    told = subprocess.run([sys.executable, "-c", say, str(FOLDER)], check=True, capture_output=True, text=True)
    assert len(ballast) >> 20 == 256
    assert 10 < float(told.stdout) < 200


def test_a_benchmark_adds_all_the_items_that_it_tells_of(tmp_path: Path) -> None:
    """Those too that stand where one thousand ends and the next begins."""
    store = script("store")
    asyncio.run(store.add(tmp_path / "store", 2_050))
    assert asyncio.run(store.count_items(tmp_path / "store")) == 2_050


def test_zero_overlap_questions_share_no_stem_with_their_text() -> None:
    """By the project's own stems; what is found then is found by meaning."""
    cases = script("zero_overlap").own()
    assert len(cases) == len({case.item.text for case in cases}) == 100
    for case in cases:
        words = set(chain.from_iterable(query_terms(case.question, ["english"])))
        assert words
        assert not words & set(terms(f"{case.item.title}\n{case.item.text}")), case.question


async def test_random_runs_with_tools_pass_no_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, calls, windows and rows of the ledger, over chains, limits, results and failures of every size."""
    monkeypatch.syspath_prepend(FOLDER)
    rounds = importlib.import_module("tool_rounds")
    (tmp_path / "drawn.py").write_text(rounds.PLUGIN)
    ends, faults = await rounds.random_runs(200, 1, tmp_path)
    assert faults == []
    assert ends["answered"] > 100
    assert len(ends) > 3
    assert await rounds.two_steps(tmp_path, 1) < await rounds.two_steps(tmp_path, 2)
