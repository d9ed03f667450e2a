"""Where a service is and how it is spoken to, from options, environment and stored keys; it imports no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, ip_address
from typing import Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from nexus_core.contract.errors import ConnectorError, NotConfiguredError
from nexus_core.toolkit.http.bodies import Timeouts
from nexus_core.toolkit.secrets import Secret
from nexus_core.toolkit.stored_secrets import stored_secret

URL_PATTERN = r"(https?://[^\s/?#@]+(/[^\s?#]*)?)?"
"""http or https, without user, query and fragment; empty counts as not given."""

ErrorWord = Literal[
    "rate_limit", "quota", "auth", "config", "invalid_request", "unsupported", "context_length", "content_filter",
    "conflict", "not_ready", "overloaded", "server_error",
]  # fmt: skip
"""The kinds that a pipeline may name for a code of its service."""

_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_SENDABLE = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")
_NEAR_ZONES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".svc")


@frozen(kw_only=True)
class ServiceAddress:
    """Where a service is by default, and which variables of the environment belong to it."""

    provider: str
    url: str
    """The official one."""
    domain: str = ""
    """The host, and the end of hosts, to which the key in the environment may go; empty: none but `url`'s."""
    url_variable: str = ""
    key_variables: tuple[str, ...] = ()
    """The first one that is set counts."""

    def resolve_url(self, option: str | None, environ: Mapping[str, str]) -> str:
        """Return the address: the option, else the variable, else the official one; without a slash at its end."""
        variable = environ.get(self.url_variable) if self.url_variable else None
        return (stripped(option) or stripped(variable) or self.url).rstrip("/")

    def is_official(self, base_url: str) -> bool:
        """Tell whether an address is the service's own."""
        try:
            host = urlsplit(base_url).hostname or ""
        except ValueError:
            return False
        domain = self.domain or urlsplit(self.url).hostname or ""
        return host == domain or host.endswith(f".{domain}")

    def resolve_key(self, api_key: Secret | None, base_url: str, environ: Mapping[str, str]) -> str:
        """Return the key, empty if there is none: the option, else that of the environment, else the stored one.

        A key of the environment is for the address it belongs to: the service's own, or that in its variable. It is
        never sent to another one that a pipeline names. A stored key is for the service's own address, where its name
        is the provider's, and for the host that it is named after. Raises NotConfiguredError where the stored keys
        cannot be read.
        """
        named = stripped(api_key.reveal() if api_key else None)
        if named:
            return named
        variable, name = self.locate_key(base_url, environ)
        return stripped(environ.get(variable)) if variable else stored_secret(name)

    def locate_key(self, base_url: str, environ: Mapping[str, str]) -> tuple[str, str]:
        """Return the variable that has the key for an address, empty if none, and the name to look it up under else."""
        is_official = self.is_official(base_url)
        variable = ""
        if is_official or base_url == self.resolve_url(None, environ):
            variable = next((name for name in self.key_variables if stripped(environ.get(name))), "")
        return variable, self.provider if is_official else urlsplit(base_url).netloc.lower()


@frozen(kw_only=True)
class ServiceSettings:
    """Everything about the service, resolved."""

    provider: str
    model: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What may never be shown."""
    timeouts: Timeouts = Timeouts()
    connections: int = 100
    trust_env: bool = False
    error_classes: Mapping[str, str] = field(factory=dict)
    """Kinds by code, in lower case."""
    hints: Mapping[type[ConnectorError], str] = field(factory=dict)
    """What to do about an error, by its class; beside `nexus_core.toolkit.HINTS`."""
    unreached: str = "does the service run there? check base_url"
    """What to check where there is no connection."""
    call_id_header: str = ""
    """The header that carries a call's id with each of its requests; empty: none."""
    flush_at_eof: bool = False
    """Streams: the last event counts also without what ends it, if it is whole."""
    window: int = 0
    max_output: int | None = None


def check_headers(headers: Mapping[str, str], *, provider: str, model: str) -> None:
    """Raise NotConfiguredError where a header cannot be sent."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _SENDABLE.fullmatch(value):
            raise NotConfiguredError(
                f"the header {name!r} (or the key in it) holds characters that no header can carry, such as a line end "
                "or a letter that is not ASCII: set it again",
                provider=provider,
                model=model,
            )


def check_url(base_url: str, address: ServiceAddress, model: str, *, allow_http: bool = False) -> None:
    """Raise NotConfiguredError for what can be no address, or shows key and prompt on their way."""
    variable = f" (or {address.url_variable})" if address.url_variable else ""
    message = ""
    if not re.fullmatch(URL_PATTERN, base_url):
        message = f"base_url{variable} must be http:// or https:// and a host, without user, query and fragment"
    elif base_url.lower().startswith("http://") and not allow_http and not is_near(urlsplit(base_url).hostname or ""):
        message = (
            "base_url is plain http to another network, where key and prompt can be read on the way: use https://, "
            "or allow_http: true if the way is safe"
        )
    if message:
        raise NotConfiguredError(message, provider=address.provider, model=model)


def is_near(host: str) -> bool:
    """Tell by its name or address alone whether a host is this machine or in a private network."""
    try:
        address = ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith(_NEAR_ZONES)
    plain = getattr(address, "ipv4_mapped", None) or address
    return plain.is_private or (plain.version == 4 and plain in IPv4Network("100.64.0.0/10"))


def stripped(text: str | None) -> str:
    """Return a text of the environment or of an option without blanks around it, empty where there is none."""
    return (text or "").strip()
