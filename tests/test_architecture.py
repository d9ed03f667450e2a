"""The arrows of the design, held by a test over the imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "nexus_core"
LAYERS = {
    "contract": set[str](),
    "toolkit": {"contract"},
    "structured": {"contract", "toolkit"},
    "config": {"contract", "toolkit", "structured"},
    "engine": {"contract", "toolkit", "config", "structured"},
    "store": {"contract", "toolkit"},
    "evaluation": {"contract", "toolkit", "config", "engine"},
    "lsp": {"contract", "toolkit", "config", "engine"},
    "batch": {"contract", "toolkit", "config", "engine", "recordings"},
    "pipeline_tests": {"contract", "toolkit", "config", "engine"},
    "recordings": {"contract", "toolkit", "config", "engine"},
    "testing": {"contract", "toolkit", "config", "engine", "store"},
    "server": {"contract", "toolkit", "config", "engine", "store", "structured"},
    "cli": {
        "contract",
        "toolkit",
        "config",
        "engine",
        "store",
        "batch",
        "evaluation",
        "lsp",
        "pipeline_tests",
        "recordings",
        "server",
    },
}
"""For each package of the core, the others that it may import."""
PUBLIC = ("nexus_core", "nexus_core.batch", "nexus_core.store", "nexus_core.toolkit", "nexus_core.testing")
"""What plugins import names from; the modules below are not public."""
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())


def imported(path: Path) -> Iterator[str]:
    """Yield the absolute names that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def named_modules() -> dict[str, Path]:
    """Return every module of the core and of the first-party plugins by its full name."""
    paths = {path: path.relative_to(ROOT) for path in modules(CORE)}
    paths |= {path: path.relative_to(ROOT / "plugins") for path in modules(ROOT / "plugins")}
    return {".".join(name.with_suffix("").parts).removesuffix(".__init__"): path for path, name in paths.items()}


def lazy_homes(package: str, path: Path) -> dict[str, str]:
    """Return the modules of the names that a package imports at first use, by its table `_HOME`."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOME":
            homes = ast.literal_eval(node.value)
            return {name: f"{package}.{home}" for home, names in homes.items() for name in names}
    return {}


def import_graph(paths: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which modules each one imports: at run time, lazily or for types, with the packages around them."""
    graph = {}
    lazy = {package: lazy_homes(package, path) for package, path in paths.items() if path.name == "__init__.py"}
    for module, path in paths.items():
        targets = {module}
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.module, f"{path}:{node.lineno}: a relative import"
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= {name if name in paths else node.module for name in names}
                targets |= {lazy.get(node.module, {}).get(alias.name, module) for alias in node.names}
        around = {name.rsplit(".", count)[0] for name in targets for count in range(1, name.count(".") + 1)}
        graph[module] = ((targets | around) & paths.keys()) - {module}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module: those that reach one another."""
    reach: dict[str, set[str]] = {}
    for module in graph:
        seen, waiting = set[str](), [module]
        while waiting:
            fresh = graph[waiting.pop()] - seen
            seen |= fresh
            waiting += fresh
        reach[module] = seen
    rings = {tuple(sorted(other for other in reach[module] if module in reach[other])) for module in graph}
    return sorted([*ring] for ring in rings if len(ring) > 1)


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_arrows_between_the_packages_of_the_core_point_one_way(layer: str) -> None:
    """A lower package never imports a higher one."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(CORE / layer)
        for name in imported(path)
        if name.startswith("nexus_core.") and name.split(".")[1] not in LAYERS[layer] | {layer}
    ]
    assert wrong == []


@pytest.mark.slow
def test_no_module_imports_itself_in_a_circle() -> None:
    """Whoever reads a module can read first what it imports: also what it imports lazily or for types alone."""
    assert circles(import_graph(named_modules())) == []


def test_a_circle_is_found_whatever_it_is_made_of(tmp_path: Path) -> None:
    """A lazy import, one for types, a submodule by its package, a package's re-export and its lazy table all count."""
    sources = {
        "a": "def load():\n    from b import c",
        "b": "",
        "b.c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a",
        "d": "from d.e import name",
        "d.e": "name = 1",
        "f": "import a",
        "g": "_HOME = {'h': ('name',)}",
        "g.h": "from g import name",
        "g.i": "from g import name",
        "j": "_HOME = {'k': ('name',)}",
        "j.k": "import l",
        "l": "from j import name",
    }
    paths = {name: tmp_path / name / "__init__.py" for name in sources}
    for name, text in sources.items():
        paths[name].parent.mkdir()
        paths[name].write_text(text)
    assert circles(import_graph(paths)) == [["a", "b.c"], ["d", "d.e"], ["j.k", "l"]]


def test_the_contract_imports_the_standard_library_attrs_and_pluggy_alone() -> None:
    """A plugin author pays for nothing that is not in the contract."""
    import sys

    allowed = {*sys.stdlib_module_names, "attrs", "pluggy", "nexus_core"}
    found = {name.split(".")[0] for path in modules(CORE / "contract") for name in imported(path)}
    assert found - allowed == set()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_reaches_the_core_by_its_public_names_alone(plugin: str) -> None:
    """First-party plugins have no privileges: `nexus_core`, `nexus_core.toolkit`, and themselves."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(ROOT / "plugins" / plugin)
        for name in imported(path)
        if name.split(".")[0].startswith("nexus_") and name.split(".")[0] != plugin and name not in PUBLIC
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "path",
    [
        *(CORE / "cli" / "scaffold").rglob("*.txt"),
        *ROOT.glob("*.md"),
        *(ROOT / "plugins").rglob("*.md"),
        *(ROOT / "docs" / "tutorial").glob("*.md"),
        ROOT / "docs" / "how-to" / "write-a-plugin.md",
        ROOT / "docs" / "how-to" / "write-a-store.md",
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_what_plugin_authors_copy_imports_public_names_alone(path: Path) -> None:
    """The scaffold and the pages for authors show no path of a module that may move."""
    names = re.findall(r"^\s*(?:from|import) (nexus_core[\w.]*)", path.read_text("utf-8"), re.MULTILINE)
    assert set(names) <= {*PUBLIC}


@pytest.mark.slow
def test_the_core_imports_no_plugin() -> None:
    """The core knows no vendor."""
    found = {name.split(".")[0] for path in modules(CORE) for name in imported(path)}
    assert found & set(PLUGINS) == set()


def test_every_package_is_in_the_wheel() -> None:
    """The explicit list of packages misses none."""
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    core = {".".join(path.parent.relative_to(ROOT).parts) for path in CORE.rglob("__init__.py")}
    plugins = {
        ".".join(path.parent.relative_to(ROOT / "plugins").parts) for path in (ROOT / "plugins").rglob("__init__.py")
    }
    assert listed == core | plugins


def test_environment_of_the_demo_reads_all_documents() -> None:
    """`make demo` installs `dev`, in which the extra `documents` is spelt out: an extra cannot name another one."""
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras["documents"]) - set(extras["dev"]) == set()


def test_nothing_is_handed_on_by_context_variables() -> None:
    """What serves a run or a request gets what it needs as an argument: `RunContext`, `QueryRequest`.

    A batch alone must know the record that a connector is asked for, whose protocol has prompts and no more.
    """
    texts = {name: path.read_text("utf-8") for name, path in named_modules().items()}
    assert [name for name, text in texts.items() if "ContextVar" in text] == ["nexus_core.batch.record_runner"]
