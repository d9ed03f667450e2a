"""`nexus new`: names that can be, folders that are left alone, and packages that pass their own tests as written."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from importlib.metadata import EntryPoint
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from hypothesis import given, strategies as st

from nexus_core.cli.main import main
from nexus_core.cli.scaffold.names import PluginNames, problem_of
from nexus_core.cli.scaffold.package import KINDS, NewFile, new_package, write
from nexus_core.testing.upstream import ScriptedUpstream, completion, json_answer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent.parent
INSTALLED = [EntryPoint(name="taken-name", value="taken.module", group="contextnexus")]
LONGEST_NAME = "x23456789012345678901234567890"
NAMES = {
    "connector": "acme",
    "ranker": "by-author",
    "template": "house_style",
    "sink": "item",  # as one of the classes it imports is called
    "source": LONGEST_NAME,
    "tool": "tool",
}
"""A name for each kind, of every sort, up to the longest."""
QUESTION = "Which class are trains booked in?"


def nexus(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", ["a", "acme", "my-model", "my_model2", "gpt4", "x" * 30])
def test_a_name_of_words_and_digits_can_be_a_plugin(name: str) -> None:
    """Kebab and snake case, from one letter to thirty."""
    assert problem_of(name, INSTALLED) == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("", "cannot be the name", id="empty"),
        pytest.param("Acme", "such as 'acme'", id="upper-case"),
        pytest.param("MyModel", "such as 'my-model'", id="camel-case"),
        pytest.param("my model", "such as 'my-model'", id="space"),
        pytest.param("acme.chat", "such as 'acme-chat'", id="dot"),
        pytest.param("my--model", "such as 'my-model'", id="two-hyphens"),
        pytest.param("-acme", "such as 'acme'", id="hyphen-first"),
        pytest.param("9lives", "begin with a letter", id="digit-first"),
        pytest.param("../evil", "such as 'evil'", id="path"),
        pytest.param("größe", "lower-case letters", id="umlaut"),
        pytest.param("acme\n", "such as 'acme'", id="newline"),
        pytest.param("x" * 31, "30 characters at most", id="long"),
        pytest.param("class", "a word of Python's own", id="keyword"),
        pytest.param("on", "no text in YAML", id="yaml-boolean"),
        pytest.param("contextnexus-acme", "such as 'acme'", id="prefix"),
        pytest.param("taken-name", "claimed by taken.module", id="taken"),
        pytest.param("taken_name", "claimed by taken.module", id="taken-in-the-other-spelling"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason(name: str, said: str) -> None:
    """What is wrong, and where it can be told a name that would do."""
    assert said in problem_of(name, INSTALLED)


@given(st.text())
def test_a_suggested_name_is_one_that_can_be(name: str) -> None:
    """Whatever is typed, no message proposes what the next call refuses for its form."""
    problem = problem_of(name, ())
    if ", such as '" in problem:
        again = problem_of(problem.rpartition(", such as '")[2].removesuffix("'"), ())
        assert "cannot be the name" not in again
        assert "prefix" not in again


def test_a_claimed_name_says_who_claims_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Distribution, version and module, as in every message about a clash."""
    assert nexus("new", "ranker", "bm25") == 2
    assert "claimed by contextnexus 0.1.0 (nexus_rankers.bm25)" in capsys.readouterr().err


@pytest.mark.parametrize("repository", [False, True], ids=["package", "repository"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_gap_is_left_in_any_text(kind: str, repository: bool) -> None:
    """Every file is whole, ends with one newline, and no two are the same."""
    new = new_package(kind, PluginNames("acme"), repository=repository)
    assert len({file.path for file in new}) == len(new)
    for file in new:
        assert "<<" not in file.path + file.text
        assert not file.text or (file.text.endswith("\n") and not file.text.endswith("\n\n")), file.path


@pytest.mark.parametrize("kind", KINDS)
def test_no_name_of_a_plugin_gives_a_class_the_name_of_an_import(kind: str) -> None:
    """`nexus new connector service` writes no `class ServiceConnector(ServiceConnector)`."""
    for file in new_package(kind, PluginNames("acme")):
        if file.path.endswith(".py"):
            nodes = list(ast.walk(ast.parse(file.text)))
            imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
            own = [node.name for node in nodes if isinstance(node, ast.ClassDef) and node.name.startswith("Acme")]
            endings = tuple(name.removeprefix("Acme") for name in own)
            assert [name for name in imported if name not in endings and name.endswith(endings)] == [], file.path


def test_every_text_is_shipped() -> None:
    """The patterns of pyproject.toml reach every text, so that an installed `nexus new` has them."""
    package = ROOT / "nexus_core/cli/scaffold"
    (pattern,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "nexus_core.cli.scaffold"
    ]
    texts = {path for path in (package / "texts").rglob("*") if path.is_file()}
    assert set(package.glob(pattern)) == texts


def test_an_existing_folder_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing in it changes, nothing is left beside it, and the message says what to do."""
    mine = tmp_path / "contextnexus-acme"
    mine.mkdir()
    (mine / "README.md").write_text("mine")
    assert nexus("new", "sink", "acme", "--path", str(tmp_path)) == 2
    assert "exists and is left as it is" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["contextnexus-acme", "README.md"]
    assert (mine / "README.md").read_text() == "mine"


@pytest.mark.parametrize("there", ["file", "link"])
def test_whatever_has_the_name_is_left_as_it_is(tmp_path: Path, there: str) -> None:
    """A file, or a link that leads nowhere."""
    folder = tmp_path / "new"
    folder.write_text("mine") if there == "file" else folder.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        write(new_package("sink", PluginNames("acme")), folder)
    assert os.listdir(tmp_path) == ["new"]


def test_a_package_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """All files or none: also what was begun is gone."""
    impossible = [NewFile("good.txt", "x", ""), NewFile("good.txt/inside.txt", "x", "")]
    with pytest.raises(OSError, match="good.txt"):
        write(impossible, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_new_says_what_it_wrote_and_what_to_type_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file that is there is listed, and three commands follow."""
    assert nexus("new", "source", "acme", "--path", str(tmp_path), "--directory", "my source") == 0
    shown = capsys.readouterr().out
    for path in (tmp_path / "my source").rglob("*"):
        assert path.is_dir() or f"  {path.relative_to(tmp_path / 'my source')}" in shown
    commands = shown.split("Next:\n")[1].splitlines()
    assert commands == [
        f"  cd '{tmp_path}/my source'",
        "  python -m pip install --editable '.[test]'",
        "  python -m pytest",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["rankr", "acme"], "did you mean 'ranker'", id="unknown-kind"),
        pytest.param(["model", "acme"], "kinds: connector, ranker, template, sink, source and tool", id="no-such-kind"),
        pytest.param(["ranker"], "Missing argument 'NAME'", id="no-name"),
        pytest.param(["ranker", "class"], "a word of Python's own", id="bad-name"),
        pytest.param(["ranker", "acme", "--path", "nowhere"], "'nowhere' does not exist", id="no-such-path"),
        pytest.param(["ranker", "acme", "--directory", "a/b"], "say where it goes with --path", id="path-as-name"),
        pytest.param(["ranker", "acme", "--directory", ".."], "say where it goes with --path", id="parent"),
    ],
)
def test_wrong_usage_is_told_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    """Exit code 2, a message on stderr, an empty folder."""
    monkeypatch.chdir(tmp_path)
    assert nexus("new", *arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, said in captured.err) == ("", True), captured.err
    assert list(tmp_path.iterdir()) == []


PLAIN = "template"
"""The kind whose package is written without `--repository`; its repository is in test_directory.py."""


class Scratch:
    """A new repository of each kind, and one package, installed together into a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        self.environment = {**os.environ, "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"}
        for name in ("ACME_API_KEY", "ACME_BASE_URL", "RUNS"):
            self.environment.pop(name, None)

    def package(self, kind: str) -> Path:
        """Return the folder of a package."""
        return self.folder / PluginNames(NAMES[kind]).distribution

    def run(self, *arguments: str, within: Path, python: str = sys.executable, installed: bool = True) -> str:
        """Run a module of Python and return what it printed; `-P` hides the checkout, so that the install is seen."""
        environment = self.environment if installed else {**self.environment, "PYTHONPATH": ""}
        done = subprocess.run(
            [python, "-P", "-m", *arguments],
            cwd=within, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def nexus(self, *arguments: str, kind: str) -> str:
        """Run the command in the folder of a package."""
        return self.run("nexus_core.cli.main", *arguments, within=self.package(kind))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Write a package of each kind, and install them all with one call and no network."""
    made = Scratch(tmp_path_factory.mktemp("plugins"))
    for kind, name in NAMES.items():
        write(new_package(kind, PluginNames(name), repository=kind != PLAIN), made.package(kind))
    packages = [str(made.package(kind)) for kind in KINDS]
    offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    made.run("pip", "install", *offline, "--target", str(made.site), *packages, within=made.folder)
    for kind in KINDS:
        shutil.rmtree(made.package(kind) / "build", ignore_errors=True)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_its_own_tests(scratch: Scratch, kind: str) -> None:
    """As generated and installed, with the contract suite of its kind among them, and none of that skipped."""
    shown = scratch.run("pytest", "-p", "no:cacheprovider", "-rs", within=scratch.package(kind))
    assert "tests/test_contract.py ..." in shown
    assert "SKIPPED" not in shown


def test_a_new_repository_is_installed_and_built_as_its_workflows_do(scratch: Scratch, tmp_path: Path) -> None:
    """Editable, in an environment of its own; the wheel holds suites and licence, the archive the tests.

    The files of the other kinds are packaged by the same text.
    """
    kind, own = "sink", tmp_path / "own"
    names = PluginNames(NAMES[kind])
    write(new_package(kind, names, repository=True), own)
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "more.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = str(tmp_path / "venv/bin/python")
    offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    scratch.run("pip", "install", *offline, "--editable", ".", within=own, python=python, installed=False)
    shown = scratch.run("nexus_core", "plugins", names.name, within=own, python=python, installed=False)
    assert f"{names.distribution} 0.1.0 ({names.module}.{kind})" in shown

    scratch.run("build", "--no-isolation", within=own, installed=False)
    (wheel,), (sources,) = (own / "dist").glob("*.whl"), (own / "dist").glob("*.tar.gz")
    packed = set(ZipFile(wheel).namelist())
    licence = f"{names.module}-0.1.0.dist-info/licenses/LICENSE"
    assert {f"{names.module}/{name}" for name in ("contract.py", "py.typed")} | {licence} <= packed
    with tarfile.open(sources) as archive:
        assert f"{names.module}-0.1.0/tests/test_contract.py" in archive.getnames()


def test_actions_are_pinned_and_may_do_no_more_than_they_must(tmp_path: Path) -> None:
    """By commits, whose versions Dependabot renews; only what publishes has a right beyond reading."""
    made = new_package("sink", PluginNames("acme"), repository=True)
    flows = [yaml.safe_load(file.text) for file in made if file.path.startswith(".github/workflows/")]
    jobs = [job for flow in flows for job in flow["jobs"].values()]
    steps = [step for job in jobs for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert len(flows) == 2
    assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each)] == []
    assert all(step["with"]["persist-credentials"] is False for step in steps if "checkout" in step.get("uses", ""))
    assert [flow["permissions"] for flow in flows] == [{"contents": "read"}] * 2
    assert [job["permissions"] for job in jobs if "permissions" in job] == [{"id-token": "write"}]
    (updates,) = [yaml.safe_load(file.text)["updates"] for file in made if file.path == ".github/dependabot.yml"]
    assert [each["package-ecosystem"] for each in updates] == ["github-actions"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_listed_with_its_options(scratch: Scratch, kind: str) -> None:
    """By the name that was asked for, from the distribution that was written, with a meaning for each option."""
    shown = scratch.nexus("plugins", NAMES[kind], kind=kind)
    names = PluginNames(NAMES[kind])
    assert f"{names.name}: {names.distribution} 0.1.0 ({names.module}.{kind})" in shown
    assert f"\n{kind} {names.name}: " in shown
    assert kind != "ranker" or f"\nranker {names.name}.tagged: " in shown
    assert kind != "tool" or f"\ntool {names.name}.days_between: " in shown
    assert "BROKEN" not in shown


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_of_a_new_package_lints(scratch: Scratch, kind: str) -> None:
    """Without any problem, also without the variables that it reads."""
    assert scratch.nexus("lint", "pipelines", kind=kind) == ""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("connector", "tool")])
def test_the_example_of_a_new_package_answers(scratch: Scratch, kind: str) -> None:
    """From the shell, as its README shows."""
    assert "second class" in scratch.nexus("run", f"pipelines/{NAMES[kind]}.yaml", QUESTION, kind=kind)


def test_the_tests_of_the_example_of_a_new_tool_pass(scratch: Scratch) -> None:
    """They script the model: no key, and no network."""
    assert "1 passed" in scratch.nexus("test", f"pipelines/{NAMES['tool']}.yaml", kind="tool")


async def test_the_example_of_a_new_connector_answers_from_its_service(scratch: Scratch) -> None:
    """One request, with the key of the environment, at the address of the environment."""
    async with ScriptedUpstream(json_answer(completion("In second class [2]."))) as upstream:
        scratch.environment |= {"ACME_BASE_URL": upstream.url, "ACME_API_KEY": "key-of-the-test"}
        shown = await asyncio.to_thread(scratch.nexus, "run", "pipelines/acme.yaml", QUESTION, kind="connector")
    assert "In second class [2]." in shown
    assert [request.headers["authorization"] for request in upstream.requests] == ["Bearer key-of-the-test"]


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_new_packages_are_clean_by_ruff(tmp_path: Path, arguments: list[str]) -> None:
    """By the rules of their own pyproject.toml, with the shortest and the longest of names."""
    pytest.importorskip("ruff")
    for kind in KINDS:
        for name in ("a", "a-1", LONGEST_NAME):
            write(new_package(kind, PluginNames(name), repository=name == "a-1"), tmp_path / f"{kind}-{name}")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_new_packages_are_clean_by_mypy(scratch: Scratch, pytestconfig: pytest.Config) -> None:
    """Strictly; all at once, since most of the time goes into what they import."""
    pytest.importorskip("mypy")
    flat = scratch.folder / "typed"
    for kind in KINDS:
        module = PluginNames(NAMES[kind]).module
        shutil.copytree(scratch.package(kind) / module, flat / module)
        for path in (scratch.package(kind) / "tests").glob("*.py"):
            shutil.copy(path, flat / f"{kind}_{path.name}")
    cache = kept.mkdir("new_packages") if (kept := getattr(pytestconfig, "cache", None)) else scratch.folder / "cache"
    scratch.environment["MYPYPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    # What they import of ContextNexus is checked where it is written.
    scratch.run("mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(cache), ".", within=flat)
