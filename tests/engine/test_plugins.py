"""Discovery: lazy, and proof against broken, slow and clashing plugins."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core import PluginError
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry

RANKER = """
from nexus_core import hookimpl, ranker

@ranker
def newest(query, items, *, half_life_days: float = 30):
    \"\"\"Newer items first.\"\"\"
    return [0.0 for item in items]

@hookimpl
def nexus_rankers():
    return [newest]
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write a distribution (a dist-info and one module) into a folder on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(distribution: str, name: str, code: str | None, module: str | None = None) -> None:
        module = module or f"plugin_{distribution}"
        if code is not None:
            (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[contextnexus]\n{name} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return write


def test_a_plugin_is_found_by_its_entry_point_and_imported_only_when_named(install: Install) -> None:
    """Discovery reads metadata alone."""
    install("lazy", "lazy", RANKER)
    catalogue = PluginRegistry.installed()
    assert "lazy" in catalogue.names(Kind.RANKER)
    assert "plugin_lazy" not in sys.modules
    assert catalogue.component(Kind.RANKER, "lazy").__name__ == "newest"
    assert "plugin_lazy" in sys.modules


def test_a_component_can_be_named_within_its_plugin(install: Install) -> None:
    """`plugin.component` always works."""
    install("dotted", "dotted", RANKER)
    assert PluginRegistry.installed().component(Kind.RANKER, "dotted.newest").__name__ == "newest"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param("import not_installed_anywhere", "ModuleNotFoundError", id="import-error"),
        pytest.param("def broken(:", "SyntaxError", id="syntax-error"),
        pytest.param("raise SystemExit(3)", "SystemExit", id="system-exit"),
        pytest.param("class Odd(BaseException): ...\nraise Odd('odd')", "Odd: odd", id="base-exception"),
        pytest.param(None, "ModuleNotFoundError", id="stale-entry-point"),
        pytest.param("x = 1", "declares no hook", id="no-hook"),
        pytest.param(
            RANKER.replace("nexus_rankers", "nexus_ranker"),
            "declares a hook that does not exist, 'nexus_ranker', did you mean 'nexus_rankers'?; hooks: ",
            id="misspelt-hook",
        ),
        pytest.param(
            RANKER.replace("nexus_rankers()", "nexus_rankers(query)"),
            "the hook nexus_rankers with arguments, and it takes none",
            id="hook-with-arguments",
        ),
        pytest.param(RANKER.replace("[newest]", "newest"), "must return a list: write return [newest]", id="no-list"),
        pytest.param(RANKER.replace("[newest]", "None"), "must return a list", id="nothing"),
        pytest.param(
            "import os\nos.nothing",
            "AttributeError: module 'os' has no attribute 'nothing' (plugin_broken.py, line 2)",
            id="line-at-import",
        ),
        pytest.param(RANKER.replace("[newest]", "[1]"), "yields 1, which is no component class", id="no-class"),
        pytest.param(RANKER.replace("@ranker", ""), "function newest without a decorator", id="undecorated"),
        pytest.param(RANKER.replace("[newest]", "[int]"), "class int without `@component`", id="plain-class"),
        pytest.param(RANKER.replace("return [newest]", "raise OSError('no')"), "hook nexus_rankers", id="hook-raises"),
        pytest.param(RANKER.replace("[newest]", "[newest, newest]"), "two rankers named 'newest'", id="same-name"),
        pytest.param(RANKER.replace("nexus_rankers", "nexus_sources"), "lacks gather", id="wrong-kind"),
    ],
)
def test_a_broken_plugin_fails_those_who_name_it_and_nobody_else(
    install: Install, code: str | None, reason: str
) -> None:
    """One broken plugin breaks nothing else, and its reason is told."""
    install("broken", "broken", code)
    install("sound", "sound", RANKER)
    catalogue = PluginRegistry.installed()
    with pytest.raises(PluginError, match=re.escape(reason)):
        catalogue.component(Kind.RANKER, "broken")
    assert catalogue.component(Kind.RANKER, "sound")
    assert reason in catalogue.broken()["broken"]


def test_a_name_claimed_twice_names_both_distributions(install: Install) -> None:
    """No plugin can take another's name."""
    install("first", "twice", RANKER)
    install("second", "twice", RANKER)
    with pytest.raises(PluginError, match=r"claimed by first 1.0 .* and second 1.0 .*uninstall or rename"):
        PluginRegistry.installed().component(Kind.RANKER, "twice")


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    """A misspelt plugin gets a suggestion."""
    with pytest.raises(
        PluginError, match=r"no ranker is named 'bm52', did you mean 'bm25'\? `nexus plugins` lists all$"
    ):
        PluginRegistry.installed().component(Kind.RANKER, "bm52")


def test_a_plugin_of_another_kind_says_what_it_offers(install: Install) -> None:
    """The kind is part of the answer."""
    install("kinds", "kinds", RANKER)
    with pytest.raises(PluginError, match="'kinds' offers no source; it offers: ranker"):
        PluginRegistry.installed().component(Kind.SOURCE, "kinds")


def test_what_a_plugin_prints_at_import_does_not_reach_stdout(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stdout belongs to results."""
    install("loud", "loud", "print('hello')\n" + RANKER)
    PluginRegistry.installed().component(Kind.RANKER, "loud")
    captured = capsys.readouterr()
    assert (captured.out, "hello" in captured.err) == ("", True)


def test_a_file_beside_a_pipeline_is_a_plugin_named_by_its_stem(tmp_path: Path) -> None:
    """Plugin files need no packaging."""
    (tmp_path / "my_rankers.py").write_text(RANKER)
    catalogue = PluginRegistry.installed().with_files([tmp_path / "my_rankers.py"])
    assert catalogue.component(Kind.RANKER, "my_rankers").__name__ == "newest"


def test_a_file_cannot_take_an_installed_name(tmp_path: Path) -> None:
    """A clash between a file and a distribution names both."""
    (tmp_path / "bm25.py").write_text(RANKER)
    with pytest.raises(PluginError, match=r"claimed by (?=.*contextnexus )(?=.*bm25\.py).* and "):
        PluginRegistry.installed().with_files([tmp_path / "bm25.py"]).component(Kind.RANKER, "bm25")


def test_a_component_is_imported_once(install: Install) -> None:
    """Naming a plugin twice runs its module once."""
    install("once", "once", RANKER)
    catalogue = PluginRegistry.installed()
    assert catalogue.component(Kind.RANKER, "once") is catalogue.component(Kind.RANKER, "once")
