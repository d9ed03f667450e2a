"""`nexus secrets`: the keys of model services, stored for the user of this machine."""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

import click

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, plain, print_json, print_table
from nexus_core.contract.components import Kind
from nexus_core.contract.errors import UsageError
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.toolkit.http.service_settings import ServiceAddress
from nexus_core.toolkit.stored_secrets import (
    LONGEST,
    keyring_name,
    remove_secret,
    secrets_file,
    store_secret,
    stored_names,
)
from nexus_core.toolkit.suggest import did_you_mean, instead, listed

EPILOG = """\b
Examples:
  nexus secrets set openai
  nexus secrets set anthropic --stdin < KEY.txt
  nexus secrets set openrouter.ai
  nexus secrets list
  nexus secrets remove openai
"""


@click.group("secrets", epilog=EPILOG)
def command() -> None:
    """Store, list and remove the API keys of model services, such as OpenAI's.

    A model uses its option api_key, else the variable of its service, else the key that is stored here under the
    name of its connector, or of the host in its base_url. Keys are kept by the system's keyring (the extra `keyring`),
    else in a file that only you can read; NEXUS_SECRETS names another file. They are never printed.

    Keys of `nexus serve` are another thing: `nexus keys`.
    """


@command.command("set", epilog=EPILOG)
@click.argument("name")
@click.argument("more", nargs=-1, metavar="")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the key from standard input in place of a prompt.")
@click.option("--file", "in_file", is_flag=True, help="Store it in the file, though there is a keyring.")
def set_(name: str, more: tuple[str, ...], from_stdin: bool, in_file: bool) -> None:
    """Store the key of NAME: a connector such as openai, or the host of a base_url.

    It is asked for without being shown, or read with --stdin. The key that was stored before is replaced.
    """
    if more:
        raise UsageError(
            "a key is no argument, where other programs see it and the shell keeps it: give it at the prompt, or with "
            "--stdin; if this was a key, remove it from the shell's history or replace it"
        )
    name = name.lower()
    try:
        where = store_secret(name, _read_key(name, from_stdin=from_stdin), in_file=in_file)
    except ValueError as error:
        host = urlsplit(name).netloc.rpartition("@")[2]
        raise UsageError(f"{error}" + (f": nexus secrets set {host}" if host else "")) from None
    place = f"the keyring ({keyring_name()})" if where == "keyring" else f"{secrets_file()}, which only you can read"
    echo(f"the key of {name} is stored in {place}")
    if where == "file" and not in_file and keyring_name() is None:
        echo("there is no keyring here, or not the package for it: pip install 'contextnexus[keyring]'", err=True)
    variables = _key_variables()
    if name not in variables and not _is_host(name):
        known = sorted(variables)
        echo(
            f"no connector that is installed uses the key of {name!r}{did_you_mean(name, known)}; "
            f"there are: {listed(known)}",
            err=True,
        )
    elif instead := _set_variable(variables.get(name, ())):
        echo(f"{instead} is set, and is used in place of it", err=True)


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the names under which keys are stored, and where each is; no key is shown, and no keyring asked."""
    names, variables = stored_names(), _key_variables()
    if as_json:
        print_json([{"name": name, "where": where} for name, where in names.items()])
        return
    if not names:
        echo("no key is stored: nexus secrets set openai", err=True)
        return
    rows = [(plain(name), where, _use(name, variables)) for name, where in names.items()]
    print_table(("name", "where", "used by"), rows)
    echo(f"the file is {secrets_file()}", err=True)


@command.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove the key of NAME."""
    if not remove_secret(name.lower()):
        names = [*stored_names()]
        raise UsageError(f"no key is stored for {name!r}{instead(name, names, 'stored')}")
    echo(f"the key of {name.lower()} is removed")


def _read_key(name: str, *, from_stdin: bool) -> str:
    """Return the key that is typed or piped in; raises UsageError where there is none."""
    if from_stdin:
        key = sys.stdin.read(LONGEST + 3)
    elif sys.stdin.isatty():
        key = click.prompt(f"Key of {name} (not shown)", hide_input=True, default="", show_default=False, err=True)
    else:
        raise UsageError("standard input is no terminal: add --stdin to read the key from it")
    if not key.strip():
        raise UsageError(f"no key was given: nothing is changed; nexus secrets remove {name} removes the one there is")
    return str(key).strip()


def _key_variables() -> dict[str, tuple[str, ...]]:
    """Return the variables of the environment that hold a key, by the provider of each connector that is installed."""
    connectors = PluginRegistry.installed().all_components()[Kind.CONNECTOR].values()
    addresses = [getattr(connector, "ADDRESS", None) for connector in connectors]
    return {each.provider: each.key_variables for each in addresses if isinstance(each, ServiceAddress)}


def _use(name: str, variables: dict[str, tuple[str, ...]]) -> str:
    if name in variables:
        instead = _set_variable(variables[name])
        return f"nothing: {instead} is set" if instead else f"the connector {name}"
    return f"models with base_url https://{plain(name)}/..." if _is_host(name) else "nothing"


def _set_variable(variables: tuple[str, ...]) -> str:
    return next((variable for variable in variables if os.environ.get(variable, "").strip()), "")


def _is_host(name: str) -> bool:
    return "." in name or ":" in name or name == "localhost"
