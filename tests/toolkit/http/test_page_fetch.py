"""Pages that are fetched: which addresses are called, and what is told where nothing comes."""

from __future__ import annotations

import socket
import ssl

import pytest

from nexus_core.toolkit import is_public
from nexus_core.toolkit.http.page_fetch import _checked, _reason, _said


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("168.63.129.16", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fc00::1", False),
        ("fe80::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("::7f00:1", False),
    ],
)
def test_an_address_is_public_however_it_is_written(host: str, public: bool) -> None:
    """Also an IPv4 address within an IPv6 one: mapped, by NAT64, 6to4, or in the old writing."""
    assert is_public(host) is public


@pytest.mark.parametrize("host", ["10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1"])
def test_a_redirect_from_outside_leads_into_no_private_network(host: str) -> None:
    """The sockets of later hops are made for open addresses alone."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    info = (family, socket.SOCK_STREAM, 6, "", (host, 80))
    with pytest.raises(OSError, match="private network"):
        _checked([], open_only=True)(info)
    seen: list[str] = []
    _checked(seen, open_only=False)(info).close()
    assert seen == [host]


def test_a_metadata_address_is_called_by_nobody() -> None:
    """Whoever names it: there is nothing but credentials."""
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))
    with pytest.raises(OSError, match="never called"):
        _checked([], open_only=False)(info)


@pytest.mark.parametrize(
    ("error", "said", "why"),
    [
        (ssl.SSLCertVerificationError(1, "certificate of evil.org"), "certificate of evil.org", "the TLS connection"),
        (socket.gaierror(-2, "Name of evil.org not known"), "Name of evil.org not known", "there is no such host"),
        (ConnectionRefusedError(111, "evil.org"), "Connection refused", "Connection refused"),
        (ValueError("evil.org"), "evil.org", "not valid HTTP"),
        (RuntimeError("evil.org"), "evil.org", "cannot be fetched"),
    ],
    ids=["tls", "lookup", "system", "value", "other"],
)
def test_the_reason_has_no_text_of_the_other_side(error: Exception, said: str, why: str) -> None:
    """A log shows what was said; a model is told the kind of the failure alone."""
    assert _said(error) == said
    assert why in _reason(error)
    assert "evil" not in _reason(error)
