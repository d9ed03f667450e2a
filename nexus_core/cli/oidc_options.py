"""Options of `nexus serve` by which people of an OpenID Connect issuer are let in, each also an environment variable.

The client's secret is no option, since arguments are seen by everybody on a machine: it is in a file, or in
NEXUS_OIDC_CLIENT_SECRET.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeVar

import click

from nexus_core.cli.option_types import SectionedOption, duration
from nexus_core.contract.errors import UsageError
from nexus_core.server.settings import OidcSettings

SECRET = "NEXUS_OIDC_CLIENT_SECRET"
_Function = TypeVar("_Function", bound=Callable[..., Any])
_LONGEST_SECRET = 4096


def _option(name: str, help: str, **more: Any) -> Callable[[_Function], _Function]:
    variable = "NEXUS_" + name.removeprefix("--").upper().replace("-", "_")
    about = {"section": "Sign-in (OpenID Connect)", "metavar": "NAME", "envvar": variable, "default": ""}
    if more.get("multiple"):
        about["default"] = ()  # type: ignore[assignment]  # click wants a tuple here
    return click.option(name, cls=SectionedOption, help=help, **{**about, **more})


_OPTIONS = (
    _option("--oidc-issuer", "The OpenID Connect issuer whose accounts and tokens are accepted.", metavar="URL"),
    _option("--oidc-client-id", "This client's id at the issuer; without it only tokens are accepted.", metavar="ID"),
    _option(
        "--oidc-client-secret-file", f"A file with the client's secret; the variable {SECRET} is the other way.",
        metavar="FILE",
    ),
    _option("--oidc-audience", "The audience that tokens must have (repeatable); by default the client id.",
            multiple=True),
    _option("--oidc-groups-claim", "The claim with the groups: `hr` there is group:hr here.", default="groups",
            show_default=True),
    _option("--oidc-admin-group", "A group whose members have all rights (repeatable).", multiple=True),
    _option("--oidc-allow-group", "Accept only members of this group (repeatable).", multiple=True),
    _option("--oidc-scope", "A scope to request besides openid, profile and email (repeatable).",
            multiple=True),
    _option("--oidc-session", "How long somebody stays signed in to the page.", default="8h", show_default=True,
            metavar="DURATION", callback=duration("1m", "90d")),
)  # fmt: skip


def oidc_options(function: _Function) -> _Function:
    """Add the options; a command is given them by their names, for `oidc_of`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def oidc_of(given: MutableMapping[str, Any]) -> OidcSettings | None:
    """Take these options out of what a command is given, and return what they say; raises UsageError."""
    told = {name.removeprefix("oidc_"): given.pop(name) for name in [*given] if name.startswith("oidc_")}
    if not told.get("issuer"):
        needed = next((name for name in ("client_id", "audience", "admin_group", "allow_group") if told.get(name)), "")
        if needed:
            raise UsageError(f"--oidc-{needed.replace('_', '-')} is about an issuer: give --oidc-issuer")
        return None
    return OidcSettings(
        issuer=told["issuer"],
        client_id=told["client_id"],
        client_secret=_read_secret(told["client_secret_file"]),
        audiences=told["audience"],
        groups_claim=told["groups_claim"],
        admin_groups=told["admin_group"],
        allowed_groups=told["allow_group"],
        scopes=tuple(dict.fromkeys((*OidcSettings(issuer="").scopes, *told["scope"]))),
        session_s=told["session"],
    )


def _read_secret(file: str) -> str:
    if not file:
        return os.environ.get(SECRET, "").strip()
    try:
        text = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the client's secret cannot be read from {file}: {error}") from error
    if not text or len(text) > _LONGEST_SECRET:
        raise UsageError(f"{file} holds no secret: write the client's secret into it, and nothing else")
    return text
