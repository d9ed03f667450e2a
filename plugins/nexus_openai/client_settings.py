"""From options and environment to what a client needs; pure, and no word of it imports the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, ip_address
from typing import Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from nexus_core import NotConfiguredError, Secret
from nexus_core.toolkit import Timeouts

OFFICIAL_URL = "https://api.openai.com/v1"
URL_PATTERN = r"(https?://[^\s/?#@]+(/[^\s?#]*)?)?"
"""http or https, without user, query and fragment; empty counts as not given."""

ErrorWord = Literal[
    "rate_limit", "quota", "auth", "config", "invalid_request", "context_length", "content_filter", "conflict",
    "not_ready", "overloaded", "server_error",
]  # fmt: skip
"""The kinds that a pipeline may name for a code."""
Continues = Literal["plain", "prefix", "final_message"]
"""How a service is told to go on where a last message of the assistant ends."""
CALL_ID_HEADER = "X-Client-Request-Id"


_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_SENDABLE = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")


@frozen(kw_only=True)
class ClientSettings:
    """Everything about the service, resolved."""

    model: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """What may never be shown."""
    timeouts: Timeouts = Timeouts()
    connections: int = 100
    trust_env: bool = False
    error_classes: Mapping[str, str] = field(factory=dict)
    """Kinds by code, in lower case."""
    flush_at_eof: bool = False
    complete_unconfirmed: bool = False
    continues: Continues | None = None
    thinks: bool = False
    """Whether the text of the model begins with its reasoning, also where no opening tag comes."""
    sends_call_id: bool = True
    """Whether a call's id goes with each of its requests."""


def resolve_url(base_url: str | None, environ: Mapping[str, str]) -> str:
    """Return the address: the option, else OPENAI_BASE_URL, else OpenAI; without a slash at its end."""
    return (_stripped(base_url) or _stripped(environ.get("OPENAI_BASE_URL")) or OFFICIAL_URL).rstrip("/")


def is_official(base_url: str) -> bool:
    """Tell whether an address is OpenAI's own."""
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:
        return False
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def resolve_key(api_key: Secret | None, base_url: str, environ: Mapping[str, str]) -> str:
    """Return the key, empty if there is none.

    OPENAI_API_KEY is for the address it belongs to: OpenAI's, or that in OPENAI_BASE_URL. It is never sent to another
    one that a pipeline names.
    """
    given = _stripped(api_key.reveal() if api_key else None)
    if given or not (is_official(base_url) or base_url == resolve_url(None, environ)):
        return given
    return _stripped(environ.get("OPENAI_API_KEY"))


def build_headers(
    model: str,
    key: str,
    base_url: str,
    named: Mapping[str, str | None],
    extra: Mapping[str, str],
    key_header: str | None = None,
) -> dict[str, str]:
    """Return the headers of every request; raises NotConfiguredError where one is missing or cannot be sent.

    The key goes as it is into `key_header`, by default as a bearer token into `Authorization`.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if key:
        headers[key_header or "Authorization"] = key if key_header else f"Bearer {key}"
    for name, value in (*named.items(), *extra.items()):
        if _stripped(value):
            headers[name] = _stripped(value)
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _SENDABLE.fullmatch(value):
            raise _not_configured(f"the header {name!r} (or the key in it) holds characters that no header may", model)
    if is_official(base_url) and (key_header or "authorization").lower() not in map(str.lower, headers):
        raise _not_configured(
            "no API key for OpenAI: set the variable OPENAI_API_KEY, or the option api_key of the model; "
            "for another service set base_url",
            model,
        )
    return headers


def check_url(model: str, base_url: str, *, allow_http: bool = False) -> None:
    """Raise NotConfiguredError for what can be no address, or shows key and prompt on their way."""
    if not re.fullmatch(URL_PATTERN, base_url):
        raise _not_configured(
            "base_url (or OPENAI_BASE_URL) must be http:// or https:// and a host, without user, query and fragment",
            model,
        )
    if base_url.lower().startswith("http://") and not allow_http and not is_near(urlsplit(base_url).hostname or ""):
        raise _not_configured(
            "base_url is plain http to another network, where key and prompt can be read on the way: use https://, "
            "or allow_http: true if the way is safe",
            model,
        )


def is_near(host: str) -> bool:
    """Tell by its name or address alone whether a host is this machine or in a private network."""
    try:
        address = ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith(_NEAR_ZONES)
    plain = getattr(address, "ipv4_mapped", None) or address
    return plain.is_private or (plain.version == 4 and plain in IPv4Network("100.64.0.0/10"))


_NEAR_ZONES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".svc")


def _stripped(text: str | None) -> str:
    return (text or "").strip()


def _not_configured(message: str, model: str) -> NotConfiguredError:
    return NotConfiguredError(message, provider="openai", model=model)
