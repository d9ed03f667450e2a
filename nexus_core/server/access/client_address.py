"""Addresses of clients: which of them count as one."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

HERE = ""
"""What this machine's own addresses count as: a proxy on it brings everybody from there."""


def origin_of(address: str) -> str:
    """Return what an address counts as: itself, `HERE`, or of IPv6 its network, all of which one client may have."""
    if address.startswith("127."):  # nearly always, behind a proxy
        return HERE
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_loopback:
        return HERE
    return str(found) if found.version == 4 else str(ip_network((int(found) >> 64 << 64, 64)))
