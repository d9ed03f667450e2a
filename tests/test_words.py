"""One word, one idea: names of modules, classes and functions against the table of words in nexus_core/README.md."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "nexus_core" / "README.md").read_text("utf-8").partition("\n## Words\n")[2]
SOURCES = sorted(path for folder in ("nexus_core", "plugins") for path in (ROOT / folder).rglob("*.py"))
MOST_SIBLINGS = 16
MOST_SMALL_MODULES = 30
SMALL = 50
MOST_LAZY_FUNCTIONS = 60


def refused() -> set[str]:
    """Return the names that the table and the list below it rule out, each as one word."""
    rows = [line.split("|") for line in TABLE.splitlines() if line.startswith("| ")]
    column = {word.partition(" (")[0].strip() for row in rows for word in row[3].split(",")}
    listed = re.findall(r"`(\w+)`", TABLE.rpartition("Besides, ")[2])
    return ({word for word in column if word.isidentifier()} | set(listed)) - {"not"}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in SOURCES:
        yield path, ast.parse(path.read_text("utf-8"))


def test_the_table_has_words_and_refusals() -> None:
    """A table that could not be read would hold nothing."""
    assert len(re.findall(r"^\| [a-z ]+ \| ", TABLE, re.MULTILINE)) >= 40
    assert {"course", "worth", "told", "turnstile", "tally"} <= refused()


def test_no_module_has_a_refused_name() -> None:
    """A module is called by the noun that the field knows."""
    wrong = [str(path.relative_to(ROOT)) for path in SOURCES if path.stem.strip("_") in refused()]
    assert wrong == []


@pytest.mark.slow
def test_no_function_or_class_has_a_refused_name() -> None:
    """A function is a verb in the imperative, a class a noun; neither is a riddle."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name.strip("_").lower() in refused()
    ]
    assert wrong == []


@pytest.mark.slow
def test_a_class_name_means_one_thing() -> None:
    """Whoever reads a class name somewhere need not ask which one is meant."""
    places = defaultdict(set)
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(str(path.relative_to(ROOT)))
    assert {name: sorted(found) for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("top", ["nexus_core", "plugins"])
def test_no_folder_is_crowded(top: str) -> None:
    """A folder has at most 16 modules side by side; `cli/commands` has one for each command."""
    counts = {
        str(folder.relative_to(ROOT)): sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        for folder in (ROOT / top).rglob("*")
        if folder.is_dir() and folder.name != "commands"
    }
    assert {folder: count for folder, count in counts.items() if count > MOST_SIBLINGS} == {}


def test_few_modules_are_fragments() -> None:
    """A module under 50 lines is mostly part of a neighbour's idea."""
    small = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.name != "__init__.py" and len(path.read_text("utf-8").splitlines()) < SMALL
    ]
    assert len(small) <= MOST_SMALL_MODULES, small


@pytest.mark.slow
def test_imports_inside_functions_are_few() -> None:
    """Lazy imports stand at the doors: a command, the opening of a component, optional weight."""
    lazy = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node))
    ]
    assert len(lazy) <= MOST_LAZY_FUNCTIONS, lazy


@pytest.mark.slow
def test_prose_names_modules_that_are_there() -> None:
    """What a docstring or a README calls a module of ours exists under that name: renames reach the words, too."""
    there = {path.name for folder in ("nexus_core", "plugins", "tests") for path in (ROOT / folder).rglob("*.py")}
    shown = {"nexus_echo.py", "concise.py"}  # files that users write
    pages = [path for folder in ("nexus_core", "plugins") for path in (ROOT / folder).rglob("*.md")]
    texts = {page: page.read_text("utf-8") for page in pages}
    for path, tree in trees():
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        texts[path] = "\n".join(
            ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)
        )
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts.items()
        for name in re.findall(r"\b[a-z]\w*\.py\b", text.replace("openai_public.py", ""))
        if name not in there | shown
    }
    assert sorted(wrong) == []


def test_what_is_counted_is_one_or_several() -> None:
    """Messages say `1 item`: by `counted`, but for limits, which are constants and more than one."""
    nouns = "items|documents|candidates|passages|records|turns|rows|originals|messages|attachments"
    plural = re.compile(rf"\{{(?![A-Z_]+[:}}])[^{{}}]*\}}(?: more| other| new)? (?:{nouns})\b")
    folders = [ROOT / "nexus_core" / part for part in ("batch", "cli", "engine", "evaluation", "server", "store")]
    wrong = [
        f"{path.relative_to(ROOT)}:{number} {found[0]}"
        for path in SOURCES
        if not {*folders}.isdisjoint(path.parents)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (found := plural.search(line)) and " if " not in line
    ]
    assert wrong == []
