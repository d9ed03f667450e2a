"""The engine `ray` without Ray: what it refuses, and the versions that it compares. With Ray: tests/ray."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from nexus_ray.engine import RaySettings
from nexus_ray.versions import compare_versions, installed_versions

from nexus_core import UsageError
from nexus_core.cli.main import main

HERE = installed_versions(["contextnexus"])


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run `nexus batch`, and return what it says where it is refused."""
    with pytest.raises(SystemExit) as ended:
        main(["batch", "p.yaml", "q.jsonl", "-o", "a.jsonl", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


def write_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write what a batch needs, and go there."""
    monkeypatch.chdir(folder)
    Path("p.yaml").write_text("name: p\nmodels: {main: {use: extractive}}\nsteps: [{prompt: qa}, {generate: main}]\n")
    Path("q.jsonl").write_text('{"query": "Why?"}\n')


def test_the_engine_without_ray_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything of the batch is there."""
    monkeypatch.setitem(sys.modules, "ray", None)
    write_batch(tmp_path, monkeypatch)
    assert "pip install 'contextnexus[ray]'" in refuse(capsys, "--engine", "ray")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.yaml", "q.jsonl"]


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        (HERE, ""),
        (HERE | {"contextnexus": "0.0.9"}, r"the worker n1 has contextnexus 0.0.9, not contextnexus .*"),
        ({"Python": HERE["Python"]}, r"the worker n1 lacks contextnexus .* \(plugin bm25, qa\)"),
        (HERE | {"Python": "3.9"}, "the worker n1 has Python 3.9, not Python 3.*"),
    ],
    ids=["same", "other version", "missing", "other Python"],
)
def test_versions_of_a_worker_are_compared(there: Mapping[str, str], problem: str) -> None:
    """The text names the worker, both versions and the plugins that need it."""
    wanted = {name: version for name, version in HERE.items() if name != "Python"}
    problems = "; ".join(compare_versions("n1", wanted, there, {"contextnexus": ("bm25", "qa")}))
    assert re.fullmatch(problem, problems), problems


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"adress": "a:1"}, "no option 'adress'.*'address'"), ({"workers": "two"}, "`workers`.*'two'.*whole number")],
    ids=["unknown", "no number"],
)
def test_a_wrong_option_is_refused(options: Mapping[str, str], reason: str) -> None:
    """With what there is instead."""
    with pytest.raises(UsageError, match=reason):
        RaySettings.from_options(options)


def test_the_address_of_a_cluster_needs_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address that nobody reads is a mistake."""
    write_batch(tmp_path, monkeypatch)
    assert "--ray-address is for `--engine ray`" in refuse(capsys, "--ray-address", "a:1")
