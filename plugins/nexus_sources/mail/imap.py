"""Talks to an IMAP server with the standard library's client: bounded in bytes and time, and never changing anything.

Folders are opened by EXAMINE and messages fetched by BODY.PEEK, so that nothing is marked as seen.
"""

from __future__ import annotations

import binascii
import imaplib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any, Literal

from attrs import define, field, frozen

from nexus_core import Secret, SourceError

Encryption = Literal["tls", "starttls", "none"]
PORTS = {"tls": 993, "starttls": 143, "none": 143}
_WINDOW = 1_000
"""Messages that are listed at a time."""
_ANSWER_BYTES = 4_000_000
"""The most that an answer without messages may have: a thousand lines of a list are a tenth of it."""
_LONGEST_NAME = 500
_FOLDER = re.compile(rb'\((?P<flags>[^)]*)\) (?:"(?P<mark>\\?.)"|NIL) (?P<name>.*)', re.DOTALL)
_UID = re.compile(rb"\bUID (\d{1,10})\b")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d{1,18})\b")
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)")
_SHIFTED = re.compile("&([^-]*)-")


@frozen(kw_only=True)
class ImapSettings:
    """Whom to ask, and as whom."""

    host: str
    port: int
    user: str
    password: Secret | None = field(default=None, repr=False)
    token: Secret | None = field(default=None, repr=False)
    """Of OAuth 2, in the place of a password."""
    encryption: Encryption = "tls"
    timeout_s: float = 30.0
    """The longest wait for an answer to go on."""
    look_s: float = 600.0
    """The time of all together."""


@frozen
class ImapFolder:
    """A folder of a mailbox."""

    name: str
    """With slashes between its parts, whatever the server has there."""
    sent_name: bytes
    """As the server writes it."""


@frozen
class ListedMessage:
    """A message, unread."""

    uid: int
    size: int
    received: float
    """In seconds since the epoch."""


class _Bounded:
    """Adds a bound to what one answer may have: a server that never ends its answer is left."""

    left = _ANSWER_BYTES

    def read(self, size: int) -> bytes:
        self._take(size)
        data: bytes = super().read(size)  # type: ignore[misc]
        return data

    def readline(self) -> bytes:
        line: bytes = super().readline()  # type: ignore[misc]
        self._take(len(line))
        return line

    def _take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise SourceError("sends far more than it was asked for")


class _PlainClient(_Bounded, imaplib.IMAP4):
    """Speaks in plain text, until STARTTLS."""


class _TlsClient(_Bounded, imaplib.IMAP4_SSL):
    """Speaks TLS from the start."""


@define(eq=False, repr=False)
class ImapSession:
    """A session of one user; made by `open_session`."""

    client: Any
    now: Callable[[], float] = time.monotonic
    ends_at: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return self.now() > self.ends_at

    def folders(self) -> list[ImapFolder]:
        """Return the folders that can hold messages."""
        found = []
        for line in self._request("the list of folders", "list"):
            folder = _folder(b"".join(line) if isinstance(line, tuple) else line, isinstance(line, tuple))
            if folder is not None:
                found.append(folder)
        return found

    def examine(self, folder: ImapFolder) -> tuple[int, int]:
        """Open a folder to be read only; return its UIDVALIDITY and how many messages it has."""
        quoted = folder.sent_name.replace(b"\\", b"\\\\").replace(b'"', b'\\"').decode("ascii", "surrogateescape")
        (count, *_) = self._request(f"the folder {folder.name}", "select", f'"{quoted}"', readonly=True)
        _, said = self.client.response("UIDVALIDITY")
        if not said or not said[0]:
            raise SourceError(f"gives the messages of {folder.name} no numbers that last")
        return int(said[0]), int(count or 0)

    def listed(self, count: int) -> Iterator[ListedMessage]:
        """Yield the messages of the open folder that are not marked as deleted, the newest first."""
        for last in range(count, 0, -_WINDOW):
            window = f"{max(1, last - _WINDOW + 1)}:{last}"
            lines = self._request("the messages", "fetch", window, "(UID FLAGS INTERNALDATE RFC822.SIZE)")
            found = [message for line in lines if (message := _listed_message(line)) is not None]
            yield from sorted(found, key=lambda each: -each.uid)

    def messages(self, wanted: Sequence[ListedMessage]) -> Iterator[tuple[int, bytes]]:
        """Yield the bytes of messages of the open folder, each with its UID; those that are gone are missing."""
        self.client.left = _ANSWER_BYTES + 2 * sum(each.size for each in wanted)
        uids = ",".join(str(each.uid) for each in wanted)
        lines = self._request("messages", "uid", "FETCH", uids, "(UID BODY.PEEK[])", bounded=True)
        for line, after in zip(lines, [*lines[1:], b""], strict=True):
            if isinstance(line, tuple):
                uid = _UID.search(line[0]) or (_UID.search(after) if isinstance(after, bytes) else None)
                if uid is not None:
                    yield int(uid[1]), line[1]

    def _request(self, what: str, command: str, *args: str, bounded: bool = False, **kwargs: Any) -> list[Any]:
        if not bounded:
            self.client.left = _ANSWER_BYTES
        status, lines = getattr(self.client, command)(*args, **kwargs)
        if status != "OK":
            said = lines[0].decode("utf-8", "replace")[:200] if lines and isinstance(lines[0], bytes) else status
            raise SourceError(f"does not give {what} ({said})")
        return [line for line in lines if line is not None]


@contextmanager
def open_session(settings: ImapSettings) -> Iterator[ImapSession]:
    """Give a session of a user who is logged in; whatever goes wrong in it is a SourceError, without secrets."""
    if not (settings.password or settings.token):
        raise SourceError("needs `password`, or `token`")
    client: Any = None
    timer: Timer | None = None
    try:
        client = _connected(settings)
        session = ImapSession(client)
        session.ends_at = session.now() + settings.look_s
        # A server that sends a byte now and then comes to an end, too.
        timer = Timer(settings.look_s + settings.timeout_s, _cut, [client.sock])
        timer.daemon = True
        timer.start()
        _log_in(client, settings)
        yield session
    except (imaplib.IMAP4.error, OSError, ValueError) as error:
        raise SourceError(f"cannot be read ({_said(error, settings)})") from error
    finally:
        if timer is not None:
            timer.cancel()
        if client is not None:
            with suppress(Exception):  # it is over, whatever the server says to it
                client.logout()
            with suppress(Exception):
                client.shutdown()


def _connected(settings: ImapSettings) -> Any:
    place = (settings.host, settings.port)
    if settings.encryption == "tls":
        return _TlsClient(*place, ssl_context=ssl.create_default_context(), timeout=settings.timeout_s)
    return _PlainClient(*place, timeout=settings.timeout_s)


def _log_in(client: Any, settings: ImapSettings) -> None:
    if settings.encryption == "starttls":
        client.starttls(ssl.create_default_context())
    if settings.token:
        said = f"user={settings.user}\x01auth=Bearer {settings.token.reveal()}\x01\x01".encode()
        answers = iter([said])
        client.authenticate("XOAUTH2", lambda challenge: next(answers, b""))
    else:
        secret = settings.password.reveal() if settings.password else ""
        if settings.user.isascii() and secret.isascii():
            client.login(settings.user, secret)
        else:  # LOGIN is ASCII alone
            client.authenticate("PLAIN", lambda challenge: f"\0{settings.user}\0{secret}".encode())


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _said(error: Exception, settings: ImapSettings) -> str:
    """Return what an error says, without the password."""
    said = str(error) or type(error).__name__
    if isinstance(error, imaplib.IMAP4.error) and error.args and isinstance(error.args[0], bytes):
        said = error.args[0].decode("utf-8", "replace")
    for secret in (settings.password, settings.token):
        said = said.replace(secret.reveal(), "***") if secret else said
    return said[:300]


def _folder(line: bytes, is_literal: bool) -> ImapFolder | None:
    """Return the folder of a line of the list, None for one that holds no messages."""
    said = _FOLDER.match(line)
    if said is None or b"\\noselect" in said["flags"].lower() or b"\\nonexistent" in said["flags"].lower():
        return None
    name = said["name"].strip()
    if is_literal:
        name = re.sub(rb"^\{\d+\}", b"", name)
    elif name.startswith(b'"') and name.endswith(b'"'):
        name = re.sub(rb"\\(.)", rb"\1", name[1:-1])
    if len(name) > _LONGEST_NAME or b"\r" in name or b"\n" in name or b"\0" in name:
        return None
    mark = (said["mark"] or b"")[-1:].decode("ascii", "replace")
    shown = decoded_name(name.decode("utf-8", "replace"))
    if mark and mark != "/":
        shown = shown.replace("/", "\N{DIVISION SLASH}").replace(mark, "/")
    return ImapFolder(shown, name)


def _listed_message(line: Any) -> ListedMessage | None:
    if not isinstance(line, bytes):
        return None
    uid, size, flags = _UID.search(line), _SIZE.search(line), _FLAGS.search(line)
    if uid is None or size is None or (flags is not None and b"\\deleted" in flags[1].lower()):
        return None
    received = imaplib.Internaldate2tuple(line)
    return ListedMessage(int(uid[1]), int(size[1]), time.mktime(received) if received else 0.0)


def decoded_name(name: str) -> str:
    """Return the name of a folder that is written in the modified UTF-7 of IMAP."""

    def letters(shifted: re.Match[str]) -> str:
        if not shifted[1]:
            return "&"
        packed = shifted[1].replace(",", "/")
        try:
            return binascii.a2b_base64(packed + "=" * (-len(packed) % 4)).decode("utf-16-be")
        except ValueError:
            return shifted[0]

    return _SHIFTED.sub(letters, name)


def in_batches(messages: Iterable[ListedMessage], most: int, most_bytes: int) -> Iterator[list[ListedMessage]]:
    """Yield messages some at a time: so many, and so many bytes, but one at least."""
    batch: list[ListedMessage] = []
    size = 0
    for message in messages:
        if batch and (len(batch) >= most or size + message.size > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message.size
    if batch:
        yield batch
