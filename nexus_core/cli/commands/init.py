"""`nexus init`: a folder with a pipeline that answers, its tests, and a plugin to change."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from shlex import quote

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.scaffold.project import (
    ENV_EXAMPLE,
    SAMPLE_QUESTION,
    NewProject,
    has_documents,
    ignore_env,
    write_project,
)
from nexus_core.contract.components import Kind, options_of
from nexus_core.contract.errors import UsageError
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.toolkit.http.service_settings import ServiceAddress
from nexus_core.toolkit.suggest import counted, did_you_mean, listed

EPILOG = """\b
Examples:
  nexus init
  nexus init assistant --yes
  nexus init --yes --connector anthropic --documents FOLDER
  nexus init --yes --connector openai --model gpt-5-mini --force assistant.yaml
"""
QUOTES = "extractive"
"""The connector that needs no key."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}")
_FOLDER = re.compile(r"[^*?\[\]{}$\\\x00-\x1f]+")


@click.command("init", epilog=EPILOG)
@click.argument("folder", default=".", type=click.Path(file_okay=False))
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: take the options that are given, and the defaults.")
@click.option("--name", default="assistant", metavar="NAME", show_default=True, help="The name of the pipeline.")
@click.option(
    "--documents", default="documents", metavar="FOLDER", show_default=True,
    help="The folder with the documents, relative to the new one; a sample is written where there is none.",
)  # fmt: skip
@click.option(
    "--connector", default=QUOTES, metavar="NAME", show_default=True,
    help="Who answers: openai, anthropic, ... (`nexus models`); extractive quotes the documents, without a key.",
)  # fmt: skip
@click.option("--model", metavar="ID", help="The model, as its service calls it; by default a small one.")
@click.option(
    "--force", multiple=True, metavar="FILE", help="Replace this file if it is there (repeatable); no other is."
)
@click.pass_context
def command(context: click.Context, /, folder: str, yes: bool, force: tuple[str, ...], **chosen: str | None) -> None:
    """Write a pipeline, its tests and a plugin into FOLDER, by default this one.

    On a terminal it asks what no option says; elsewhere give --yes. It works without a key: the documents are quoted.
    No file that is there is changed, but for a line in .gitignore.
    """
    if not yes:
        _ask(context, chosen)
    project = _project(**chosen)
    target = Path(folder)
    try:
        written, left = _write(project, target, force)
        added = ignore_env(target)
        asked = SAMPLE_QUESTION if (target / project.sample).is_file() else "What are these documents about?"
    except OSError as error:
        raise click.UsageError(f"cannot write {error.filename or target}: {error.strerror}") from error
    echo(f"wrote to {target}:")
    width = max(map(len, written))
    for path, purpose in written.items():
        echo(f"  {path:<{width}}  {purpose}")
    if added:
        echo(f"  {'.gitignore':<{width}}  a line for .env, which holds keys")
    for path in left:
        echo(f"{path} was there and is left as it is")
    if project.key_variable and not os.environ.get(project.key_variable):
        echo(f"\nFor {project.connector} set {project.key_variable}; until then the documents are quoted.")
    shown = quote(str(target / project.pipeline))
    echo(f"\nNext:\n  nexus run {shown} {quote(asked)}\n  nexus test {shown}")


def _ask(context: click.Context, chosen: dict[str, str | None]) -> None:
    """Ask for what the command line has not said; raises UsageError where there is nobody to answer."""
    if not sys.stdin.isatty():
        raise click.UsageError("standard input is no terminal: add --yes to take the options and the defaults")
    questions: dict[str, tuple[str, Callable[[str], str]]] = {
        "name": ("Name of the pipeline", _checked_name),
        "documents": ("Folder with the documents", _checked_folder),
        "connector": (f"Who answers ({QUOTES} needs no key; others: {listed(_connectors())})", _checked_connector),
    }
    for name, (question, checked) in questions.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT:
            chosen[name] = click.prompt(question, default=chosen[name], err=True, value_proc=_asked_again(checked))
    small = _small_model(str(chosen["connector"])) if chosen["model"] is None else ""
    if small:
        chosen["model"] = click.prompt("Model", default=small, err=True)


def _asked_again(checked: Callable[[str], str]) -> Callable[[str], str]:
    """Let what cannot be taken be asked for once more, with the reason."""

    def take(answer: str) -> str:
        try:
            return checked(answer.strip())
        except UsageError as error:
            raise click.UsageError(str(error)) from error

    return take


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a pipeline's name: use letters, digits, - and _; begin with a letter")
    return name


def _checked_folder(documents: str) -> str:
    documents = documents.replace(os.sep, "/").rstrip("/") or "."
    if not _FOLDER.fullmatch(documents):
        raise UsageError(f"{documents!r} cannot be the folder of the documents: it may hold no * ? [ ] {{ }} $ or \\")
    return documents


def _checked_connector(name: str) -> str:
    there = [QUOTES, *_connectors()]
    if name not in there:
        raise UsageError(f"no connector is named {name!r}{did_you_mean(name, there)}; installed: {listed(there)}")
    return name


def _connectors() -> list[str]:
    """Return the connectors that are installed, but for those that answer without a model."""
    found = PluginRegistry.installed().all_components()[Kind.CONNECTOR]
    return sorted(name for name in found if name != QUOTES)


def _small_model(connector: str) -> str:
    cls = _connector(connector)
    return str(getattr(cls, "SMALL_MODEL", ""))


def _connector(name: str) -> type:
    return PluginRegistry.installed().component(Kind.CONNECTOR, name)


def _project(*, name: str | None, documents: str | None, connector: str | None, model: str | None) -> NewProject:
    """Return what is to be written; raises UsageError, and PluginError for a connector that is not there."""
    name, documents = _checked_name(name or ""), _checked_folder(documents or "")
    if connector in (None, "", QUOTES):
        if model:
            raise UsageError(f"--model {model} needs a --connector, such as openai: {QUOTES} has no models")
        return NewProject(name=name, documents=documents)
    assert connector is not None
    cls = _connector(connector) if "." in connector else _connector(_checked_connector(connector))
    variables = _key_variables(cls)
    takes_model = any(option.name == "model" for option in options_of(cls))
    model = (model or _small_model(connector)) if takes_model else ""
    if takes_model and not model:
        raise UsageError(f"say which model of {connector}: --model ID")
    return NewProject(
        name=name,
        documents=documents,
        connector=connector,
        model=model,
        key_variable=variables[0] if variables else "",
    )


def _key_variables(connector: type) -> tuple[str, ...]:
    """Return the variables that may hold the key, none for a service that wants none at its usual address."""
    address = getattr(connector, "ADDRESS", None)
    if not isinstance(address, ServiceAddress) or not getattr(connector, "NEEDS_KEY", False):
        return ()
    return address.key_variables if address.is_official(address.resolve_url(None, {})) else ()


def _write(project: NewProject, folder: Path, force: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """Write the files; return those written with their purposes, and those left. Raises UsageError where some exist."""
    new = project.files(sample=not has_documents(folder / project.documents))
    names = [file.path for file in new]
    if unknown := [name for name in force if name not in names]:
        raise UsageError(f"--force {unknown[0]}: no such file is written here; there are: {listed(names)}")
    there = [name for name in names if os.path.lexists(folder / name) and name not in force]
    left = [name for name in there if name == ENV_EXAMPLE]
    if clashes := [name for name in there if name not in left]:
        rest = f" and {counted(len(clashes) - 1, 'more file')}" if clashes[1:] else ""
        raise UsageError(
            f"{folder / clashes[0]}{rest} would be overwritten: nothing was written; choose another --name or FOLDER, "
            f"or add --force {clashes[0]}{', and so for the others' if rest else ''}"
        )
    writes = [file for file in new if file.path not in left]
    write_project(writes, folder, replace=force)
    return {file.path: file.purpose for file in writes}, left
