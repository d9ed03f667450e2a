"""TLS: certificates are shown and checked, old versions and plain requests are refused, wrong files are an error."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
from attrs import frozen
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from nexus_core import UsageError

if TYPE_CHECKING:
    from tests.server.conftest import Running, Start

BODY: dict[str, Any] = {"query": "Is it so?", "contextId": "own", "pipeline": "own"}


@frozen
class Files:
    """A certificate for this machine, its key, and who has issued it."""

    certificate: str
    private_key: str
    authority: trustme.CA

    def trust(self) -> ssl.SSLContext:
        """Return what a client trusts that knows the authority and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Made by an authority of our own."""
    return made(tmp_path_factory.mktemp("tls"), "right")


@pytest.fixture
async def secure(start: Start, files: Files) -> Running:
    """A server that speaks TLS."""
    return await start(certificate=files.certificate, private_key=files.private_key)


def made(folder: Path, name: str) -> Files:
    """Make a certificate."""
    authority, certificate, private_key = trustme.CA(), folder / f"{name}.pem", folder / f"{name}.key"
    issued = authority.issue_cert("localhost", "127.0.0.1")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(certificate, append=True)
    issued.private_key_pem.write_to_path(private_key)
    return Files(str(certificate), str(private_key), authority)


async def test_questions_are_answered_over_tls(secure: Running, files: Files) -> None:
    """Whole and as a stream, by clients that check the certificate, and several over one connection."""
    assert secure.server.origin.startswith("https://127.0.0.1:")
    connector = aiohttp.TCPConnector(ssl=files.trust(), limit=1)
    async with aiohttp.ClientSession(secure.server.origin, connector=connector) as session:
        for _ in range(2):
            async with session.post("/api/queries", json=BODY) as answer:
                assert (answer.status, bool((await answer.json())["response"])) == (200, True)
        async with session.post("/api/queries", json={**BODY, "options": {"stream": True}}) as answer:
            events = [json.loads(line[6:]) async for line in answer.content if line.startswith(b"data: ")]
        assert [event["type"] for event in events] == ["start", *["chunk"] * (len(events) - 2), "end"]
        assert len(events) > 2


async def test_the_certificate_is_the_one_that_was_given(secure: Running) -> None:
    """Who trusts another authority does not talk to it."""
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await secure.session.get(f"{secure.server.origin}/healthz")


async def test_plain_http_gets_nothing(secure: Running, files: Files) -> None:
    """The connection is closed without a word of HTTP, and the server goes on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", secure.server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(10):
        assert b"HTTP" not in await reader.read()
    writer.close()
    async with secure.session.get(f"{secure.server.origin}/healthz", ssl=files.trust()) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("version", [0, 1, 2, 3], ids=["ssl-3", "tls-1.0", "tls-1.1", "tls-1.2"])
async def test_old_versions_of_tls_are_refused(secure: Running, version: int) -> None:
    """1.2 is greeted, all before it are not; the client is its first message alone, since libraries send no old one."""
    ciphers = bytes.fromhex("c02bc009c00a")
    extensions = b"".join(
        kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
        for kind, data in ((10, bytes.fromhex("0004001d0017")), (11, b"\1\0"), (13, bytes.fromhex("000404030203")))
    )  # groups, point formats, signatures
    said = bytes([3, version]) + os.urandom(32) + b"\0" + len(ciphers).to_bytes(2, "big") + ciphers + b"\1\0"
    said += len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(said).to_bytes(3, "big") + said
    reader, writer = await asyncio.open_connection("127.0.0.1", secure.server.port)
    writer.write(bytes([22, 3, version]) + len(message).to_bytes(2, "big") + message)
    async with asyncio.timeout(10):
        is_greeted = await reader.read(1) == b"\x16"
    writer.close()
    assert is_greeted is (version == 3)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_versions_of_today_are_spoken(secure: Running, files: Files, version: ssl.TLSVersion) -> None:
    """By clients that speak no other."""
    trust = files.trust()
    trust.minimum_version = trust.maximum_version = version
    async with secure.session.get(f"{secure.server.origin}/healthz", ssl=trust) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("wrong", ["pair", "swapped", "missing", "no-pem", "encrypted"])
async def test_wrong_files_are_an_error_that_names_them(start: Start, files: Files, tmp_path: Path, wrong: str) -> None:
    """Before anybody is served; a key that takes a password is one, too, since nobody is there to type it."""
    other = made(tmp_path, "other")
    (tmp_path / "none.pem").write_text("nothing")
    locked = tmp_path / "locked.key"
    key = load_pem_private_key(await asyncio.to_thread(Path(other.private_key).read_bytes), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password")))
    given = {
        "pair": (files.certificate, other.private_key),
        "swapped": (files.private_key, files.certificate),
        "missing": (files.certificate, str(tmp_path / "missing.key")),
        "no-pem": (str(tmp_path / "none.pem"), files.private_key),
        "encrypted": (other.certificate, str(locked)),
    }[wrong]
    with pytest.raises(UsageError, match="are no certificate and its private key") as caught:
        await start(certificate=given[0], private_key=given[1])
    assert all(name in str(caught.value) for name in given)
