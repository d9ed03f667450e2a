"""A small IMAP server on this machine, with TLS, for tests of the source `mailbox`."""

from __future__ import annotations

import re
import socketserver
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import trustme
from attrs import define, field


@define(eq=False)
class MailAccount:
    """What the server has, and what it was asked."""

    password: str = "open sesame"
    folders: dict[str, dict[int, bytes]] = field(factory=lambda: {"INBOX": {}})
    """Messages by their UIDs."""
    validity: int = 7
    deleted: set[int] = field(factory=set)
    """UIDs that are marked as deleted."""
    asked: list[str] = field(factory=list)
    fetched: list[int] = field(factory=list)
    """UIDs of the messages that were sent whole."""
    flood: bool = False
    """Answers never end."""
    fails_after: int = -1
    """The connection is lost after so many messages."""
    port: int = 0

    def post(self, uid: int, subject: str, text: str, folder: str = "INBOX") -> None:
        """Put a message into a folder."""
        head = f"From: Ada <ada@example.com>\r\nSubject: {subject}\r\nDate: Fri, 02 Jan 2026 10:00:00 +0000\r\n"
        self.folders.setdefault(folder, {})[uid] = f"{head}\r\n{text}\r\n".encode()


class _Session(socketserver.StreamRequestHandler):
    account: MailAccount
    folder = ""

    def handle(self) -> None:
        self._send(b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] ready")
        for line in self.rfile:
            tag, _, rest = line.decode().rstrip("\r\n").partition(" ")
            word, _, args = rest.partition(" ")
            self.account.asked.append(rest)
            try:
                said = getattr(self, f"_{word.lower()}", self._unknown)(args)
            except ConnectionError:
                return
            self._send(f"{tag} {said}".encode())
            if word == "LOGOUT":
                return

    def _send(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")

    def _unknown(self, args: str) -> str:
        return "BAD unknown"

    def _capability(self, args: str) -> str:
        self._send(b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2")
        return "OK done"

    def _login(self, args: str) -> str:
        return "OK in" if args.endswith(f'"{self.account.password}"') else f"NO wrong password {args}"

    def _logout(self, args: str) -> str:
        self._send(b"* BYE")
        return "OK out"

    def _list(self, args: str) -> str:
        while self.account.flood:
            self._send(b'* LIST (\\HasNoChildren) "." "' + b"x" * 10_000 + b'"')
        self._send(b'* LIST (\\Noselect) "." "Archive"')
        for name in self.account.folders:
            self._send(f'* LIST (\\HasNoChildren) "." "{name}"'.encode())
        return "OK done"

    def _examine(self, args: str) -> str:
        self.folder = args.strip('"')
        self._send(f"* {len(self._messages)} EXISTS".encode())
        self._send(f"* OK [UIDVALIDITY {self.account.validity}] valid".encode())
        return "OK [READ-ONLY] done"

    @property
    def _messages(self) -> dict[int, bytes]:
        return self.account.folders[self.folder]

    def _fetch(self, args: str) -> str:
        first, last = map(int, args.split()[0].split(":"))
        for number, (uid, data) in enumerate(sorted(self._messages.items()), 1):
            if first <= number <= last:
                flags = r"\Deleted" if uid in self.account.deleted else r"\Seen"
                date = f'"{uid:02d}-Jan-2026 10:00:00 +0000"'
                self._send(
                    f"* {number} FETCH (UID {uid} FLAGS ({flags}) INTERNALDATE {date} RFC822.SIZE {len(data)})".encode()
                )
        return "OK done"

    def _uid(self, args: str) -> str:
        assert "BODY.PEEK[]" in args
        for number, uid in enumerate(sorted(map(int, re.split(r"[ ,]", args)[1:-2])), 1):
            data = self._messages.get(uid)
            if data is None:
                continue
            if len(self.account.fetched) == self.account.fails_after:
                raise ConnectionError
            self.account.fetched.append(uid)
            self._send(f"* {number} FETCH (UID {uid} BODY[] {{{len(data)}}}".encode())
            self.wfile.write(data + b")\r\n")
        return "OK done"


class _TlsServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    context: ssl.SSLContext

    def get_request(self) -> Any:
        connection, address = super().get_request()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave what a client has broken off."""


@contextmanager
def serve_mail(folder: Path) -> Iterator[tuple[MailAccount, str]]:
    """Serve an account on this machine; gives it with the file of the authority whose certificate it shows."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    account = MailAccount()
    session = type("_AccountSession", (_Session,), {"account": account})
    with _TlsServer(("127.0.0.1", 0), session) as server:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(server.context)
        account.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield account, str(folder / "authority.pem")
        server.shutdown()
        thread.join()
