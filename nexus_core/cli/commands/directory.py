"""`nexus directory`: plugins to be found, installed and held to the contract suites."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points, version
from pathlib import Path
from shlex import join
from typing import Any

import click

from nexus_core.cli.directory.listing import KINDS, ListedPlugin, find, read_list, search
from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, plain, print_json, print_table
from nexus_core.contract.errors import UsageError
from nexus_core.contract.hookspecs import ENTRY_POINT_GROUP
from nexus_core.toolkit.suggest import did_you_mean, listed

OWN = "contextnexus"
EPILOG = """\b
Examples:
  nexus directory search rank
  nexus directory search --kind connector
  nexus directory show bm25
  nexus directory install acme --from PLUGINS.yaml
  nexus directory check bm25
"""
_from = click.option(
    "--from", "source", metavar="FILE|URL", help="Another list of the same format (the one of this package)."
)


@click.group("directory", epilog=EPILOG)
def command() -> None:
    """Search the directory of plugins, install one, and run the contract suites on it."""


@command.command("search")
@click.argument("words", nargs=-1)
@click.option("--kind", type=click.Choice(KINDS), help="Of one kind alone.")
@_from
@json_option
def search_command(words: tuple[str, ...], kind: str | None, source: str | None, as_json: bool) -> None:
    """List the plugins whose name, kind, summary or distribution holds all WORDS; without any, all of them."""
    found = search(read_list(source), words, kind)
    if as_json:
        print_json([_as_json(plugin) for plugin in found])
    elif found:
        rows = [
            (plain(each.name), listed(each.kinds), f"{each.distribution} {each.version}", each.licence, each.checked,
             plain(each.summary))
            for each in found
        ]  # fmt: skip
        print_table(("use", "kind", "distribution", "licence", "contract suites", "what it is"), rows)
    else:
        raise UsageError("no plugin of the list has all of these words; `nexus directory search` lists all")


@command.command("show")
@click.argument("name")
@_from
@json_option
def show(name: str, source: str | None, as_json: bool) -> None:
    """Show what the list says of a plugin, and what each contract suite said of it."""
    plugin = find(read_list(source), name)
    if as_json:
        print_json(_as_json(plugin))
        return
    echo(f"{listed(plugin.kinds)} {plain(plugin.name)}: {plain(plugin.summary)}")
    echo(f"  distribution  {plugin.distribution} {plugin.version}{_installed(plugin.distribution)}")
    echo(f"  core          {plugin.core}{'' if plugin.fits(version(OWN)) else f' (this is {version(OWN)})'}")
    echo(f"  licence       {plain(plugin.licence)}")
    if plugin.url:
        echo(f"  home          {plain(plugin.url)}")
    echo(f"  suites        {plugin.checked}")
    for check in plugin.checks:
        counts = f"{check.passed} passed, {check.failed} failed, {check.skipped} skipped"
        echo(f"    {check.suite} on {check.component}: {counts}")


@command.command("install")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Install without asking.")
@_from
def install(name: str, yes: bool, source: str | None) -> None:
    """Install the distribution of a plugin with pip, once you have seen what that is and agreed.

    Nothing of the plugin is imported: a pipeline that names it does that.
    """
    plugin = find(read_list(source), name)
    if plugin.distribution == OWN:
        echo(f"{plugin.name} comes with ContextNexus: pipelines name it with `use: {plugin.name}`")
        return
    if not plugin.fits(version(OWN)):
        raise UsageError(f"{plugin.name} works with ContextNexus {plugin.core}, and this is {version(OWN)}")
    order = [sys.executable, "-m", "pip", "install", f"{plugin.distribution}>={plugin.version}"]
    echo(f"{listed(plugin.kinds)} {plugin.name}: {plain(plugin.summary)}")
    echo(f"  licence {plain(plugin.licence)}; contract suites: {plugin.checked}")
    echo(f"  runs: {join(order)}")
    if not yes and not click.confirm("Install it?", default=False):
        raise SystemExit(1)
    if subprocess.run(order, check=False).returncode:
        raise UsageError(f"pip did not install {plugin.distribution}; what it says stands above")
    echo(f"\ninstalled: pipelines name it with `use: {plugin.name}`; `nexus directory check {plugin.name}` tests it")


@command.command("check")
@click.argument("name")
@click.option(
    "--suites", "paths", multiple=True, metavar="PATH", type=click.Path(exists=True),
    help="A file or folder with suites, as in a checkout (those that the plugin names).",
)  # fmt: skip
@json_option
def check(name: str, paths: tuple[str, ...], as_json: bool) -> None:
    """Run the contract suites on an installed plugin, in a process of its own; needs `contextnexus[testing]`.

    The suites are those of the module that the plugin names in the entry-point group `contextnexus.contracts`. Rankers
    and templates of a plugin that names none are held to the suite of their kind, with the defaults of their options.
    """
    names = sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)})
    if name not in names:
        raise UsageError(
            f"no plugin that is installed is named {name!r}{did_you_mean(name, names)}; `nexus plugins` lists them"
        )
    told, said = _run_suites(name, paths)
    rows, failed = told["suites"], any(row["failed"] for row in told["suites"])
    if as_json:
        print_json({"plugin": name, **told})
    else:
        columns = ("suite", "component", "passed", "failed", "skipped")
        if rows:
            print_table(columns, [[str(row[column]) for column in columns] for row in rows], right=frozenset({2, 3, 4}))
        for why in told["without"]:
            echo(f"not checked: {why}")
    if failed or not rows:
        if failed:
            echo(said, err=True)
        else:
            echo(
                f"no suite was run: {name} names none in `contextnexus.contracts`; --suites tells where some are",
                err=True,
            )
        raise SystemExit(1)


def _run_suites(name: str, paths: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """Return the results of the suites and what pytest has said."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "results.json")
        order = [
            sys.executable,
            "-m",
            "nexus_core.testing.suite_runner",
            "--out",
            str(out),
            "--plugin",
            name,
            "--",
            *paths,
        ]
        done = subprocess.run(order, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if not out.exists():
            if "No module named 'pytest'" in said or "No module named 'hypothesis'" in said:
                raise UsageError("the suites need pytest and hypothesis: pip install 'contextnexus[testing]'")
            raise UsageError(f"the suites did not run:\n{said[-2000:]}")
        return json.loads(out.read_text("utf-8")), said


def _installed(name: str) -> str:
    found = {each for each in (entry.dist for entry in entry_points(group=ENTRY_POINT_GROUP)) if each}
    return next((f" (installed: {each.version})" for each in found if each.name == name), "")


def _as_json(plugin: ListedPlugin) -> dict[str, Any]:
    fields = ("name", "kinds", "summary", "distribution", "version", "core", "licence", "url")
    told: dict[str, Any] = {field: getattr(plugin, field) for field in fields}
    names = ("suite", "component", "date", "core", "passed", "failed", "skipped")
    told["suites"] = [{each: getattr(check, each) for each in names} for check in plugin.checks]
    return told
