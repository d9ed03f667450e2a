"""Lists of plugins, read, checked and searched: the one that ships beside this module, or another of its format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

import yaml
from attrs import frozen

from nexus_core.contract.errors import UsageError
from nexus_core.toolkit.suggest import did_you_mean, listed

KINDS = ("connector", "ranker", "template", "sink", "source", "tool", "reader", "embedder", "store", "engine")
_LARGEST = 4 * 2**20
"""Bytes of a list."""
_WAIT_S = 30.0
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"\d+(\.\d+)*([A-Za-z0-9.+-]*)")
_CORE = re.compile(r">=(\d+)\.(\d+),<(\d+)(?:\.(\d+))?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FIELDS = ("distribution", "version", "core", "licence", "plugins")
"""What each distribution says."""


@frozen(kw_only=True)
class ListedPlugin:
    """A plugin in a list."""

    name: str
    """As pipelines say it after `use:`; of readers, embedders, stores and engines the name of their package."""
    kinds: tuple[str, ...]
    summary: str
    distribution: str
    """What pip installs."""
    version: str
    """The one that the entry was written for."""
    core: str
    """The versions of ContextNexus that it works with, as `>=0.1,<0.2`."""
    licence: str
    """An SPDX expression, as `MIT`."""
    url: str = ""
    checks: tuple[SuiteCheck, ...] = ()

    @property
    def checked(self) -> str:
        """What the suites say, in a few words."""
        if not self.checks:
            return "not checked"
        passed, failed = (sum(getattr(each, name) for each in self.checks) for name in ("passed", "failed"))
        last = max(self.checks, key=lambda each: each.date)
        told = f"{failed} of {passed + failed} failed" if failed else f"{passed} passed"
        return f"{told}, {last.date}, core {last.core}"

    def fits(self, installed: str) -> bool:
        """Tell whether it works with a version of ContextNexus."""
        found = _CORE.fullmatch(self.core)
        assert found is not None, self.core
        first, before = (int(found[1]), int(found[2])), (int(found[3]), int(found[4] or 0))
        major, minor = (int(part) for part in re.findall(r"\d+", installed)[:2])
        return first <= (major, minor) < before


@frozen(kw_only=True)
class SuiteCheck:
    """What one contract suite said of one component, the last time it was run for the list."""

    suite: str
    component: str
    date: str
    core: str
    passed: int
    failed: int
    skipped: int
    """Tests for what the component declares that it does not do, each with its reason."""


def read_list(source: str | None) -> list[ListedPlugin]:
    """Return the plugins of a list, by name: of a file, of an address, or of the one that ships; raises UsageError."""
    if source is None:
        home = files(__package__)
        checks = json.loads(home.joinpath("results.json").read_text("utf-8"))
        return parse_list(home.joinpath("plugins.yaml").read_text("utf-8"), "the directory", checks)
    return parse_list(_read(source), source, {})


def parse_list(text: str, where: str, results: Mapping[str, Any]) -> list[ListedPlugin]:
    """Return the plugins of the text of a list with the results of suites; raises UsageError for what is none."""
    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is no YAML, so it is no list of plugins") from error
    if not isinstance(told, dict) or not isinstance(told.get("distributions"), list):
        raise UsageError(f"{where} is no list of plugins: it has no `distributions`")
    checks = _checks_of(results)
    found: dict[str, ListedPlugin] = {}
    for number, each in enumerate(told["distributions"]):
        place = f"{where}: distributions[{number}]"
        for plugin in _plugins(place, each):
            if plugin["name"] in found:
                raise UsageError(f"{place}: there is a plugin {plugin['name']!r} already")
            found[plugin["name"]] = ListedPlugin(
                **plugin, checks=checks.get((plugin["distribution"], plugin["name"]), ())
            )
    return [found[name] for name in sorted(found)]


def search(plugins: Iterable[ListedPlugin], words: Sequence[str], kind: str | None) -> list[ListedPlugin]:
    """Return the plugins of a kind whose name, summary or distribution holds all of the words."""

    def text(plugin: ListedPlugin) -> str:
        return f"{plugin.name} {listed(plugin.kinds)} {plugin.summary} {plugin.distribution}".casefold()

    return [
        plugin for plugin in plugins
        if (kind is None or kind in plugin.kinds) and all(word.casefold() in text(plugin) for word in words)
    ]  # fmt: skip


def find(plugins: Sequence[ListedPlugin], name: str) -> ListedPlugin:
    """Return the plugin of a name; raises UsageError with one that is nearly it."""
    for plugin in plugins:
        if plugin.name == name:
            return plugin
    hint = did_you_mean(name, [plugin.name for plugin in plugins])
    raise UsageError(f"no plugin of the list is named {name!r}{hint}; `nexus directory search` lists them")


def _plugins(place: str, told: Any) -> Iterable[dict[str, Any]]:
    """Yield the fields of each plugin of a distribution."""
    if not isinstance(told, dict):
        raise UsageError(f"{place} is no mapping")
    for name in _FIELDS:
        if name not in told:
            raise UsageError(f"{place}.{name} is missing")
    shared = {name: _text(place, told, name) for name in ("distribution", "version", "core", "licence", "url")}
    for name, pattern in (("distribution", _DISTRIBUTION), ("version", _VERSION), ("core", _CORE)):
        if not pattern.fullmatch(shared[name]):
            hint = ", as `>=0.1,<0.2`" if name == "core" else ""
            raise UsageError(f"{place}.{name} is {shared[name]!r}, which cannot be{hint}")
    if not isinstance(told["plugins"], list) or not all(isinstance(each, dict) for each in told["plugins"]):
        raise UsageError(f"{place}.plugins is no list of mappings")
    for number, each in enumerate(told["plugins"]):
        where = f"{place}.plugins[{number}]"
        kinds = each.get("kinds")
        if not isinstance(kinds, list) or not kinds or not set(map(str, kinds)) <= set(KINDS):
            raise UsageError(f"{where}.kinds must be a list of these: {listed(KINDS)}")
        yield {
            **shared,
            "name": _text(where, each, "name"),
            "summary": _text(where, each, "summary"),
            "kinds": (*kinds,),
        }


def _text(place: str, told: Mapping[str, Any], name: str) -> str:
    value = told.get(name, "" if name == "url" else None)
    if not isinstance(value, str) or not (value or name == "url"):
        raise UsageError(f"{place}.{name} must be a text")
    return value


def _checks_of(results: Mapping[str, Any]) -> dict[tuple[str, str], tuple[SuiteCheck, ...]]:
    """Return what the suites say of each plugin, by distribution and name."""
    found: dict[tuple[str, str], tuple[SuiteCheck, ...]] = {}
    for row in results.get("suites", ()):
        check = SuiteCheck(
            suite=row["suite"], component=row["component"], date=results["date"], core=results["contextnexus"],
            passed=row["passed"], failed=row["failed"], skipped=row["skipped"],
        )  # fmt: skip
        key = (row["distribution"], row["plugin"])
        found[key] = (*found.get(key, ()), check)
    return found


def _read(source: str) -> str:
    try:
        data = _fetch(source) if "://" in source else Path(source).read_bytes()
    except HTTPError as error:
        raise UsageError(f"{source} cannot be read: it answers with status {error.code}") from error
    except OSError as error:
        why = error.strerror or str(getattr(error, "reason", "")) or type(error).__name__
        raise UsageError(f"{source} cannot be read: {why}") from error
    if len(data) > _LARGEST:
        raise UsageError(f"{source} is larger than {_LARGEST} bytes, which no list of plugins is")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is no text in UTF-8") from error


class _CheckedRedirects(HTTPRedirectHandler):
    """Follows no redirection from https to what anybody on the way can change."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(address: str) -> bytes:
    _check_address(address)
    with build_opener(_CheckedRedirects).open(address, timeout=_WAIT_S) as answer:
        return bytes(answer.read(_LARGEST + 1))


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise UsageError(f"{address}: a list says what is installed, so it is read over https alone")
