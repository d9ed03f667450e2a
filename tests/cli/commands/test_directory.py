"""`nexus directory`: lists that are read or refused, plugins that are found and installed, suites that are run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import metadata, version
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from generated_pages import fill

from nexus_core.cli.directory.listing import ListedPlugin, find, parse_list, read_list, search
from nexus_core.cli.main import main
from nexus_core.contract.components import component_summary
from nexus_core.contract.errors import UsageError
from nexus_core.engine.plugins import PluginRegistry

ROOT = Path(__file__).parent.parent.parent.parent
RUNNER = "nexus_core.testing.suite_runner"
ENTRY: dict[str, Any] = {
    "distribution": "contextnexus-acme", "version": "1.2.0", "core": ">=0.1,<0.2", "licence": "MIT",
    "plugins": [{"name": "acme", "kinds": ["connector"], "summary": "Sends prompts to Acme."}],
}  # fmt: skip


def nexus(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def parsed(**changed: Any) -> list[ListedPlugin]:
    entry = {name: value for name, value in {**ENTRY, **changed}.items() if value is not None}
    return parse_list(yaml.safe_dump({"distributions": [entry]}), "list", {})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"licence": None}, r"list: distributions\[0\].licence is missing"),
        ({"distribution": "--index-url=http://x"}, "distribution is '--index-url=http://x', which cannot be"),
        ({"version": "1; rm"}, "version is '1; rm', which cannot be"),
        ({"core": "0.1"}, "core is '0.1', which cannot be, as `>=0.1,<0.2`"),
        ({"plugins": [{"name": "acme", "kinds": ["conector"], "summary": "x"}]}, r"plugins\[0\].kinds must be a list"),
        ({"plugins": [{"name": "acme", "kinds": ["tool"]}]}, r"plugins\[0\].summary must be a text"),
        ({"plugins": [*ENTRY["plugins"], *ENTRY["plugins"]]}, "there is a plugin 'acme' already"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_an_entry_that_cannot_be_is_refused_with_its_place(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parsed(**changed)


@pytest.mark.parametrize("text", ["", "[]", "distributions: 3", "a: [", "\t"], ids=repr)
def test_a_text_that_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no"):
        parse_list(text, "list", {})


@pytest.mark.parametrize(
    ("core", "fits"), [(">=0.1,<0.2", True), (">=0.2,<0.3", False), (">=0.1,<1", True), (">=1.0,<2", False)]
)
def test_a_plugin_fits_the_versions_it_names(core: str, fits: bool) -> None:
    (plugin,) = parsed(core=core)
    assert plugin.fits("0.1.7") is fits


def test_search_wants_all_words_and_the_kind() -> None:
    found = search(read_list(None), ["rank", "WORDS"], None)
    assert [plugin.name for plugin in found] == ["bm25"]
    assert search(read_list(None), ["rank"], "connector") == []
    with pytest.raises(UsageError, match="named 'bm52', did you mean 'bm25'"):
        find(read_list(None), "bm52")


class ListServer(BaseHTTPRequestHandler):
    """Serves a list, and an address that sends elsewhere."""

    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/list.yaml")
            self.end_headers()
            return
        self.send_response(200 if self.path == "/list.yaml" else 404)
        self.end_headers()
        self.wfile.write(yaml.safe_dump({"distributions": [ENTRY]}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_a_list_is_read_from_an_address_over_https_or_from_this_machine() -> None:
    """Also where another address leads to one; a status and a file that is not there are told."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ListServer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}"
        assert [plugin.name for plugin in read_list(f"{origin}/list.yaml")] == ["acme"]
        for address, said in (
            (f"{origin}/nowhere", "it answers with status 404"),
            (f"{origin}/away", "over https alone"),
            ("http://example.org/plugins.yaml", "over https alone"),
            ("file:///etc/hosts", "over https alone"),
            ("nowhere.yaml", "nowhere.yaml cannot be read: No such file"),
        ):
            with pytest.raises(UsageError, match=said):
                read_list(address)
        server.shutdown()


def test_the_form_shows_an_entry_that_can_be_read() -> None:
    """And the page has a row for each plugin of the list."""
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/plugin.yml").read_text("utf-8"))
    (plugin,) = parse_list(form["body"][0]["attributes"]["placeholder"], "form", {})
    assert (plugin.name, plugin.kinds) == ("acme", ("connector",))
    page = fill((ROOT / "docs/plugins/index.md").read_text("utf-8"))
    assert [each.name for each in read_list(None) if f"| `{each.name}` |" not in page] == []


@pytest.mark.slow
def test_every_first_party_plugin_is_in_the_list_as_it_is() -> None:
    """Its kinds, its summary and its licence are what the code says; add a line to `plugins.yaml` for a new one."""
    listed = {plugin.name: plugin for plugin in read_list(None) if plugin.distribution == "contextnexus"}
    reports = [each for each in PluginRegistry.installed().reports() if each.origins[0].distribution == "contextnexus"]
    assert {report.name for report in reports} == set(listed) - {"nexus_readers"}
    for report in reports:
        told = listed[report.name]
        first = next(iter(report.components.values()))
        assert told.kinds == tuple(kind.word for kind in report.components), report.name
        assert told.summary == component_summary(first.get(report.name) or next(iter(first.values()))), report.name
        assert (told.version, told.licence) == (version("contextnexus"), metadata("contextnexus")["License-Expression"])
        assert told.fits(version("contextnexus"))


@pytest.mark.slow
def test_results_are_those_of_the_suites_there_are(tmp_path: Path) -> None:
    """Of this version, as many tests of each suite as there are now, and none failed; `make directory` renews them."""
    out = tmp_path / "now.json"
    suites = next(line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line.startswith("SUITES"))
    order = [sys.executable, "-m", RUNNER, "--collect-only", "--out", str(out), *suites.partition("= ")[2].split()]
    done = subprocess.run(order, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    now, kept = json.loads(out.read_text()), json.loads((ROOT / "nexus_core/cli/directory/results.json").read_text())
    assert kept["contextnexus"] == version("contextnexus")
    counts = [{row["where"]: row["collected"] for row in told["suites"]} for told in (now, kept)]
    assert counts[0] == counts[1]
    assert all(row["failed"] == 0 and row["passed"] > 0 for row in kept["suites"])
    assert all(row["passed"] + row["skipped"] == row["collected"] for row in kept["suites"])
    assert [plugin.name for plugin in read_list(None) if not plugin.checks] == []


def test_list_and_results_are_shipped() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    package = ROOT / "nexus_core/cli/directory"
    shipped = {path.name for pattern in data["nexus_core.cli.directory"] for path in package.glob(pattern)}
    assert shipped == {path.name for path in package.iterdir() if path.suffix not in ("", ".py")}


def test_search_and_show_tell_what_the_suites_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert nexus("directory", "search", "--kind", "template") == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[1:] if not line.startswith(" ")][:2] == ["chat", "qa"]
    assert nexus("directory", "show", "qa") == 0
    assert "TemplateContract on nexus_templates.qa:Qa: 19 passed, 0 failed" in capsys.readouterr().out
    assert nexus("directory", "search", "--json", "bm25") == 0
    assert json.loads(capsys.readouterr().out)[0]["suites"][0]["suite"] == "RankerContract"


@pytest.mark.slow
class TestRepository:
    """What `nexus new --repository` writes, up to a plugin that is installed from a list and checked."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("repository")
        assert nexus("new", "template", "house_style", "--repository", "--path", str(folder)) == 0
        own, built = folder / "contextnexus-house-style", folder / "built"
        shutil.copytree(own, built)
        with (built / "contextnexus_house_style/__init__.py").open("a", encoding="utf-8") as module:
            module.write("import os\n\nopen(os.environ['IMPORTED'], 'w').close()\n")  # tells that it was imported
        offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
        done = cls.python(folder, "pip", "wheel", *offline, "--wheel-dir", "wheels", str(built))
        assert done.returncode == 0, done.stderr
        return folder

    @staticmethod
    def python(folder: Path, *arguments: str, within: str = ".", **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a module; what is installed goes to `site`, and comes from the folder `wheels` alone."""
        environment = {
            **os.environ, "PYTHONPATH": str(folder / "site"), "PIP_TARGET": str(folder / "site"), "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(folder / "wheels"), "PIP_NO_DEPS": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "IMPORTED": str(folder / "imported"),
        }  # fmt: skip
        if "--wheel-dir" in arguments:
            del environment["PIP_TARGET"]
        return subprocess.run(
            [sys.executable, "-P", "-m", *arguments], cwd=folder / within, env=environment, capture_output=True,
            text=True, timeout=120, **more,
        )  # fmt: skip

    def test_it_is_installed_from_its_own_entry_checked_and_tested(self, folder: Path) -> None:
        """Refused without a yes; with one pip is called, and nothing of the plugin runs before it is named."""
        entry = "contextnexus-house-style/directory-entry.yaml"
        order = ("nexus_core", "directory", "install", "house_style", "--from", entry)
        asked = self.python(folder, *order, input="n\n")
        assert (asked.returncode, (folder / "site").exists()) == (1, False)
        assert f"runs: {sys.executable} -m pip install 'contextnexus-house-style>=0.1.0'" in asked.stdout

        done = self.python(folder, *order, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "pipelines name it with `use: house_style`" in done.stdout
        assert (folder / "site/contextnexus_house_style/contract.py").exists()
        assert not (folder / "imported").exists()

        checked = self.python(folder, "nexus_core", "directory", "check", "house_style", "--json")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert (folder / "imported").exists()
        (row,) = json.loads(checked.stdout)["suites"]
        assert (row["suite"], row["failed"]) == ("TemplateContract", 0)
        assert row["passed"] >= 19
        assert row["where"].endswith("::TestHouseStyleTemplate")  # the suite that the package ships, and no default one

        tested = self.python(folder, "pytest", "-p", "no:cacheprovider", within="contextnexus-house-style")
        assert tested.returncode == 0, tested.stdout
        assert "tests/test_contract.py ..." in tested.stdout

    def test_a_plugin_that_breaks_its_contract_is_told_of(self, folder: Path) -> None:
        """With exit code 1, the count, and what pytest says."""
        broken = folder / "broken"
        broken.mkdir()
        (broken / "test_suite.py").write_text(
            "from nexus_core.testing import TemplateContract\nfrom nexus_templates.qa import Qa\n\n\n"
            "class TestQa(TemplateContract):\n    absent = {'items': 'it takes none'}\n\n"
            "    def make(self):\n        return Qa()\n"
        )
        checked = self.python(folder, "nexus_core", "directory", "check", "qa", "--suites", "broken")
        assert checked.returncode == 1
        assert "declared absent and yet it works: items" in checked.stderr

    def test_its_workflow_publishes_what_has_passed_without_a_token(self, folder: Path) -> None:
        """The job that publishes needs the one that runs the suites, and has the right to an identity alone."""
        own = folder / "contextnexus-house-style"
        flow = yaml.safe_load((own / ".github/workflows/publish.yml").read_text("utf-8"))
        jobs, steps = flow["jobs"], [step.get("run", "") for step in flow["jobs"]["build"]["steps"]]
        assert [step.split(" #")[0] for step in steps].index("python -m pytest") < steps.index("python -m build")
        assert (jobs["publish"]["needs"], jobs["publish"]["permissions"]) == ("build", {"id-token": "write"})
        assert "secrets" not in (own / ".github/workflows/publish.yml").read_text("utf-8")
        (plugin,) = read_list(str(own / "directory-entry.yaml"))
        assert (plugin.name, plugin.kinds, plugin.fits(version("contextnexus"))) == ("house_style", ("template",), True)


def test_what_ships_is_not_installed_and_what_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nexus("directory", "install", "bm25") == 0
    assert "comes with ContextNexus" in capsys.readouterr().out
    file = tmp_path / "list.yaml"
    file.write_text(yaml.safe_dump({"distributions": [{**ENTRY, "core": ">=9.0,<10"}]}))
    assert nexus("directory", "install", "acme", "--yes", "--from", str(file)) == 2
    assert "works with ContextNexus >=9.0,<10" in capsys.readouterr().err
