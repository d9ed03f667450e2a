"""The public names, and what the documentation owes them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType

import attrs
import pytest
from generated_pages import error_tree, event_list

import nexus_core
import nexus_core.batch
import nexus_core.store
import nexus_core.toolkit
from nexus_core.cli.main import COMMANDS
from nexus_core.contract import answers, errors, events, hookspecs
from nexus_core.contract.components import Kind
from nexus_core.engine.calls.failure_policy import reaction

ROOT = Path(__file__).parent.parent


LAZY = pytest.mark.parametrize(
    "package",
    [nexus_core, nexus_core.batch, nexus_core.store, nexus_core.toolkit],
    ids=lambda package: package.__name__,
)


@LAZY
def test_every_public_name_can_be_imported(package: ModuleType) -> None:
    """The lazy table leads somewhere for each name."""
    assert all(getattr(package, name) is not None for name in package.__all__)


@LAZY
def test_the_typed_names_are_the_lazy_names(package: ModuleType) -> None:
    """The stub that type checkers read and the table that runs agree, name by name and home by home."""
    tree = ast.parse(Path(str(package.__file__)).with_suffix(".pyi").read_text())
    stubbed = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    homes = {name: f"{package.__name__}.{home}" for home, names in package._HOME.items() for name in names}
    assert stubbed == homes
    assert sorted(stubbed) == package.__all__


@LAZY
def test_a_public_name_comes_from_the_module_that_defines_it(package: ModuleType) -> None:
    """No module hands on what another one defines: whoever looks a name up finds it where the table says."""
    homes = {name: f"{package.__name__}.{home}" for home, names in package._HOME.items() for name in names}
    defined = {name: getattr(getattr(package, name), "__module__", home) for name, home in homes.items()}
    assert {
        name: home
        for name, home in defined.items()
        if home != homes[name] and not str(home).startswith(("pluggy", "typing", "builtins", "types"))
    } == {}


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A typo behaves as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'Pipline'"):
        _ = nexus_core.Pipline  # type: ignore[attr-defined]


def test_every_error_class_stands_on_the_page_and_in_the_tree() -> None:
    """An error that users can meet is documented, and its tree is drawn."""
    page = error_tree()
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert [c.__name__ for c in classes if f"\n## {c.__name__}\n" not in page] == []
    assert [c.__name__ for c in classes if c.__name__ not in (errors.__doc__ or "")] == []
    assert [c.__name__ for c in classes if c.__name__ not in nexus_core.__all__] == []


def test_the_page_of_errors_tells_what_is_done_about_each() -> None:
    """The documented reaction is the coded one."""
    rows = re.findall(
        r"^## (\w+)\n(?:(?!^## ).*\n)*?Same model again: (.*)\. Next model: (.*)\.$", error_tree(), re.MULTILINE
    )
    said = {name: (again, onward) for name, again, onward in rows}
    onward = {
        "yes": "yes",
        "no": "no",
        "larger": "one with a larger window",
        "if_auth": "if `fallback_on_auth`",
        "if_filtered": "if `fallback_on_content_filter`",
    }
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, errors.ConnectorError):
            does = reaction(cls)
            again = {0: "no", 1: "once"}.get(does.retries, "yes") + (", at once" if does.at_once else "")
            assert said[cls.__name__] == (again, onward[does.onward]), cls.__name__


def test_every_event_stands_on_the_page_with_its_fields() -> None:
    """An event that sinks can receive is documented, with what its fields mean where a name does not say it."""
    sections = dict(re.findall(r"^## (\w+)\n((?:(?!^## ).*\n)*)", event_list(), re.MULTILINE))
    classes = {**vars(answers), **vars(events)}.values()
    known = [c for c in classes if isinstance(c, type) and issubclass(c, answers.Event)]
    assert [c.__name__ for c in known] == list(sections)
    for cls in known:
        assert [f.name for f in attrs.fields(cls) if f"| `{f.name}` |" not in sections[cls.__name__]] == []
    assert "`cancelled` when the reader left" in sections["RunFailed"]


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_every_hook_stands_on_the_page_for_authors(kind: Kind) -> None:
    """A hook without documentation does not exist for its users."""
    name = f"nexus_{kind.value}"
    assert callable(getattr(hookspecs, name))
    assert f"| `{name}` |" in (ROOT / "docs/how-to/write-a-plugin.md").read_text()


def test_there_is_a_hook_per_kind_and_no_other() -> None:
    """The extension surface is what the enumeration says."""
    hooks = {name for name in vars(hookspecs) if name.startswith("nexus_")}
    assert hooks == {f"nexus_{kind.value}" for kind in Kind}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stands_in_the_readme(command: str) -> None:
    """A command is in the table of commands."""
    assert f"| `nexus {command}` |" in (ROOT / "nexus_core/cli/README.md").read_text()
