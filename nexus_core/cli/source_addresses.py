"""Addresses that stand for a source: `git+https://...`, `s3://...`, and `acme+https://...` of a plugin `acme`.

Options of the source stand beside the address as `--set KEY=VALUE`. `${NAME}` in both is what the environment says when
the source is made, so that no secret is kept with them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from nexus_core.config.components import Components
from nexus_core.config.spec import ComponentSpec, RecordSpec
from nexus_core.config.yaml.environment import interpolate
from nexus_core.config.yaml.overrides import apply
from nexus_core.config.yaml.problems import Problems
from nexus_core.config.yaml.reader import read
from nexus_core.config.yaml.tree import plain
from nexus_core.contract.components import Kind, injected_fields, options_of
from nexus_core.contract.errors import PluginError, UsageError
from nexus_core.contract.optional_protocols import AddressedDocuments
from nexus_core.contract.protocols import Documents
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.toolkit.secrets import Secret

SOURCES = {
    "s3": "objects", "s3a": "objects", "gs": "objects", "gcs": "objects", "az": "objects", "abfs": "objects",
    "abfss": "objects", "memory": "objects", "file": "objects",
    "sitemap": "site", "rss": "feed", "atom": "feed", "imaps": "mailbox", "imap": "mailbox",
    "sqlite": "sql", "postgresql": "sql", "postgres": "sql", "mysql": "sql", "mariadb": "sql", "oracle": "sql",
    "mssql": "sql",
}  # fmt: skip
"""The sources of schemes that are not called like their source."""


class AddressedSource(Documents, AddressedDocuments, Protocol):
    """What is made of an address."""


_VARIABLE = re.compile(r"\$\{[A-Za-z_]\w*(?::-[^}]*)?\}")
_CREDENTIALS = re.compile(r"://[^/?#\s:@]*:(?!\$\{)[^/?#\s@]+@")
_SECRET_KEY = re.compile(
    r"(?i)(?:secret|passw|token|credential|\bkey\b|_key\b)\w*['\"]?\s*[:=]\s*['\"]?(?!\$\{)[^\s'\"}]"
)
_PLACEHOLDER = "xyz"


def has_source(address: str) -> bool:
    """Tell whether an address is that of a source other than a single page."""
    scheme = _scheme(address)
    return "+" in scheme or scheme in SOURCES


def addressed_source(
    address: str, overrides: Sequence[str], given: Mapping[str, Any], folder: str, catalogue: PluginRegistry
) -> AddressedSource:
    """Return the source of an address, where relative paths start from a folder; raises UsageError.

    `given` are options that the command has of its own; those that the source does not take are left out.
    """
    _refuse_secrets(address, overrides)
    cls = _class(address, catalogue)
    takes = {option.name: option for option in options_of(cls)}
    try:
        options = dict(cls.address_options(address))
    except ValueError as error:
        raise UsageError(f"{address}: {error}") from error
    if given.get("prefix"):
        if "prefix" not in takes:
            raise UsageError(f"--as: the documents of {address} go by names of their own")
        options["prefix"] = given["prefix"]
    options |= {name: value for name, value in given.items() if value and name in takes and name != "prefix"}
    for text in overrides:
        name = text.partition("=")[0].strip()
        is_secret = name in takes and takes[name].annotation in (Secret, Secret | None) and not _VARIABLE.search(text)
        if is_secret or _names_secret(text):
            raise UsageError(f"--set {name}: a secret would be kept as it is: write '${{VARIABLE}}' in its place")
    source: AddressedSource = _build(_use(address), cls, options, overrides, catalogue)
    if "base_dir" in injected_fields(cls):
        setattr(source, "base_dir", folder)  # noqa: B010 - of sources that have it
    return source


def has_password(address: str) -> bool:
    """Tell whether an address holds a password that stands there as it is."""
    try:
        password = urlsplit(_VARIABLE.sub(_PLACEHOLDER, address)).password
    except ValueError:
        return False
    return password is not None and password != _PLACEHOLDER


def expand_variables(address: str) -> str:
    """Return an address with what the environment says for each `${NAME}`; raises UsageError where it says nothing."""
    problems = Problems("address")
    tree = read(json.dumps([address]), "address", problems)
    assert tree is not None
    expanded = plain(interpolate(tree, os.environ, problems))
    if problems.errors:
        raise UsageError("; ".join(problem.message for problem in problems.listed()))
    return str(expanded[0])


def mapping_of(text: str, option: str) -> dict[str, Any]:
    """Return what an option says as a mapping of YAML; raises UsageError where it is none."""
    problems = Problems(option)
    tree = read(text, option, problems)
    told = plain(tree) if tree is not None and not problems.errors else None
    if not isinstance(told, dict):
        wrong = "; ".join(problem.message for problem in problems.listed())
        raise UsageError(f"{option} {text}: is no mapping such as {{main_text: true}}" + f" ({wrong})" * bool(wrong))
    return told


def _refuse_secrets(address: str, overrides: Sequence[str]) -> None:
    for text in (address, *overrides):
        if _CREDENTIALS.search(text):
            raise UsageError(
                "an address holds a password, which would be kept as it is: set it in the environment, and write"
                " ${VARIABLE} in its place, in single quotes"
            )


def _names_secret(text: str) -> bool:
    """Tell whether an override sets a key of a mapping that is called like a secret, to more than a variable."""
    path, _, value = text.partition("=")
    is_of_mapping = "." in path or value.strip().startswith("{")
    return is_of_mapping and _SECRET_KEY.search(text) is not None


def _class(address: str, catalogue: PluginRegistry) -> Any:
    use = _use(address)
    try:
        cls = catalogue.component(Kind.SOURCE, use)
    except PluginError as error:
        raise UsageError(f"no source reads {address.partition('://')[0]}:// ({error})") from error
    if not hasattr(cls, "address_options"):
        raise UsageError(f"the source {use!r} is not made from an address: use it in a pipeline")
    return cls


def _build(use: str, cls: Any, options: Mapping[str, Any], overrides: Sequence[str], catalogue: PluginRegistry) -> Any:
    """Return the component, its options checked as those of a pipeline are."""
    problems = Problems("--set")
    tree = read(json.dumps({"use": use, **options}), "--set", problems)
    assert tree is not None
    tree = interpolate(apply(tree, overrides, problems), os.environ, problems)
    spec = Components(problems, catalogue).reference(tree, Kind.SOURCE)
    if problems.errors:
        wrong = "; ".join(problem.message for problem in problems.listed())
        raise UsageError(f"{wrong}; --set KEY=VALUE sets an option, `nexus plugins {use}` lists all")
    assert isinstance(spec, ComponentSpec)
    try:
        return cls(**{name: _value(value) for name, value in spec.options.items()})
    except ValueError as error:
        raise UsageError(f"source {use!r}: {error}") from error


def _value(value: Any) -> Any:
    if isinstance(value, RecordSpec):
        return value.cls(**{name: _value(each) for name, each in value.fields.items()})
    return value


def _use(address: str) -> str:
    scheme = _scheme(address)
    if scheme in SOURCES:
        return SOURCES[scheme]
    head = scheme.partition("+")[0]
    return SOURCES.get(head, head)


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower() if "://" in address else ""
