"""`nexus models available`: the connectors that are installed, where the key of each is, and which models are known."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import click
from attrs import frozen

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.tables import json_option, print_json, print_table
from nexus_core.contract.components import Kind, component_summary
from nexus_core.contract.errors import UsageError
from nexus_core.contract.models import ModelInfo, ModelPrices
from nexus_core.engine.json_shapes import prices_json
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.toolkit.http.service_connector import ServiceConnector
from nexus_core.toolkit.stored_secrets import stored_names
from nexus_core.toolkit.suggest import instead, listed

EPILOG = """\b
Examples:
  nexus models
  nexus models --connector openai
  nexus models --all --json
"""
KeyState = Literal["set", "stored", "missing", "none"]


@frozen(kw_only=True)
class InstalledConnector:
    """A connector that is installed, and the key that it would use at its usual address."""

    name: str
    cls: type
    base_url: str = ""
    """Empty where it asks no service."""
    key: KeyState = "none"
    """`none`: it needs none there."""
    place: str = ""
    """The variable, or `keyring` or `file`; where the key is missing, the variable that it would be read from."""

    @property
    def key_text(self) -> str:
        """Where the key is, in words."""
        match self.key:
            case "set":
                return f"set: {self.place}"
            case "stored":
                return f"stored: {self.place}"
            case "missing":
                return f"missing: set {self.place}, or run nexus secrets set {self.name}"
        return "none needed"

    def known_models(self) -> Sequence[str]:
        """Return the ids of the models whose figures are known."""
        return self.cls.known_models() if issubclass(self.cls, ServiceConnector) else ()

    def figures(self, model: str) -> tuple[ModelInfo, ModelPrices | None]:
        """Return what is known of a model, and its prices."""
        assert issubclass(self.cls, ServiceConnector)
        connector = self.cls(model=model)
        return connector.model_info, connector.find_prices()


def installed_connectors(environment: Mapping[str, str] = os.environ) -> list[InstalledConnector]:
    """Return the connectors, by name; raises NotConfiguredError where the stored keys cannot be read."""
    found, stored = PluginRegistry.installed().all_components()[Kind.CONNECTOR], stored_names()
    return [_connector(name, cls, environment, stored) for name, cls in sorted(found.items())]


def connectors_named(names: Sequence[str]) -> list[InstalledConnector]:
    """Return some connectors by their names, all without any; raises UsageError for one that is not there."""
    found = {each.name: each for each in installed_connectors()}
    for name in names:
        if name not in found:
            raise UsageError(f"no connector is named {name!r}{instead(name, found, 'installed')}")
    return [found[name] for name in names or found]


@click.command("available", epilog=EPILOG)
@click.option("--connector", "names", multiple=True, metavar="NAME", help="Only this connector (repeatable).")
@click.option("--all", "everything", is_flag=True, help="List the models of connectors without a key, too.")
@json_option
def available(names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """List the connectors that are installed, the key that each would use, and the models that are known.

    Keys are never shown. Nothing is called: the figures are those of the connectors' own tables, in which not every
    model is; prices, in $ for a million tokens, are those of the package genai-prices where it is installed.
    Models are listed for connectors that have a key.
    """
    connectors = connectors_named(names)
    shown = [each for each in connectors if names or everything or each.key in ("set", "stored")]
    if as_json:
        print_json([_as_json(each, with_models=each in shown) for each in connectors])
        return
    rows = [(each.name, each.key_text, each.base_url or "-", _count(each), _summary(each)) for each in connectors]
    print_table(("connector", "key", "address", "models", "what it is"), rows)
    models = [_row(each, model) for each in shown for model in each.known_models()]
    if models:
        echo()
        headers = ("model", "connector", "window", "max output", "$ in", "$ out", "for")
        print_table(headers, models, right=frozenset({2, 3, 4, 5}))
    if left := [each.name for each in connectors if each not in shown and each.known_models()]:
        echo(f"models of {listed(left)}: --all, or --connector {left[0]}", err=True)
    echo("models that run on this machine: nexus models installed", err=True)


def _connector(name: str, cls: type, environment: Mapping[str, str], stored: Mapping[str, str]) -> InstalledConnector:
    if not issubclass(cls, ServiceConnector):
        return InstalledConnector(name=name, cls=cls)
    address = cls.ADDRESS
    base_url = address.resolve_url(None, environment)
    variable, named = address.locate_key(base_url, environment)
    state: KeyState = "none"
    if variable:
        state = "set"
    elif named in stored:
        state = "stored"
    elif cls.NEEDS_KEY and address.is_official(base_url):
        state = "missing"
    place = {"set": variable, "stored": stored.get(named, ""), "missing": next(iter(address.key_variables), "")}
    return InstalledConnector(name=name, cls=cls, base_url=base_url, key=state, place=place.get(state, ""))


def _count(connector: InstalledConnector) -> str:
    return str(len(connector.known_models()) or "-")


def _summary(connector: InstalledConnector) -> str:
    return component_summary(connector.cls)


def _row(connector: InstalledConnector, model: str) -> tuple[str, ...]:
    info, prices = connector.figures(model)
    return (
        model,
        connector.name,
        f"{info.window:,}",
        f"{info.max_output:,}" if info.max_output else "-",
        f"{prices.input:,.6g}" if prices else "unknown",
        f"{prices.output:,.6g}" if prices else "unknown",
        "answers" if "generate" in info.capabilities else "vectors",
    )


def _as_json(connector: InstalledConnector, *, with_models: bool) -> dict[str, Any]:
    models = [(model, *connector.figures(model)) for model in connector.known_models()] if with_models else []
    return {
        "name": connector.name,
        "baseUrl": connector.base_url or None,
        "key": {"state": connector.key, "place": connector.place or None},
        "models": [
            {
                "id": model,
                "window": info.window,
                "maxOutput": info.max_output,
                "prices": prices_json(prices),
                "capabilities": sorted(info.capabilities),
            }
            for model, info, prices in models
        ],
    }
