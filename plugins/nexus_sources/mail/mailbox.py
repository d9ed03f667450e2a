"""The source `mailbox`: the messages of folders of an IMAP server, each a document."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal
from urllib.parse import quote, unquote, urlsplit

from platformdirs import user_cache_path

from nexus_core import DocumentMark, DocumentRead, Secret, SourceError, component, hookimpl, option
from nexus_core.toolkit import FileOrigin, counted
from nexus_sources.ingestible import read_bytes, too_large
from nexus_sources.mail.imap import (
    PORTS,
    ImapFolder,
    ImapSession,
    ImapSettings,
    ListedMessage,
    in_batches,
    open_session,
)
from nexus_sources.mail.message_cache import MessageCache
from nexus_sources.remote.documents import RemoteDocuments
from nexus_sources.remote.selection import as_tuple

_TOGETHER, _TOGETHER_BYTES = 50, 2_000_000
"""Messages that are fetched by one request."""
_DAYS = re.compile(r"(\d{1,5})d")
_SUFFIX = ".eml"


@component
class Mailbox(RemoteDocuments):
    """Reads the messages of a mailbox over IMAP, with what is attached to them; nothing in it is changed."""

    name: ClassVar[str] = "mailbox"

    host: str = option(help="The server, such as `imap.example.com`.")
    user: str = option(help="The name to log in with.")
    password: Secret | None = option(None, help="The password, as `${MAIL_PASSWORD}`; often one made for programs.")
    token: Secret | None = option(None, help="In its place an access token of OAuth 2 (XOAUTH2).")
    folders: str | tuple[str, ...] = option(
        "INBOX", help="Folders, or patterns of them such as `Archive/*`, with slashes between parts."
    )
    exclude: str | tuple[str, ...] = option((), help="Patterns of folders that are left out.")
    since: str = option("", help="Only messages that came since a day, `2026-01-31`, or in the last days, `90d`.")
    most: int = option(50_000, help="So many messages of a folder are read at most, the newest.", ge=1)
    tls: Literal["tls", "starttls", "none"] = option(
        "tls",
        help="How the connection is encrypted; `none`: not at all, so that anybody on the way reads the password.",
    )
    port: int = option(0, help="By default 993, and 143 with `starttls` or `none`.", ge=0, le=65535)
    timeout_s: float = option(30.0, help="The longest wait for the server, in seconds.", gt=0)
    look_s: float = option(
        600.0, help="The time that one look may fetch messages, in seconds; the next one goes on.", gt=0
    )
    prefix: str = option("", help="What stands before the names of folders in ids and sources, such as `support/`.")
    cache: str = option("", help="The folder where fetched messages are kept; by default in your cache folder.")

    def _check(self) -> None:
        if not self.host.strip() or "/" in self.host or "@" in self.host:
            raise ValueError("the host is the name of a server, such as imap.example.com")
        if any(ord(letter) < 32 for letter in self.user + self.host):
            raise ValueError("the names of host and user are printable")
        self._earliest()

    @classmethod
    def address_options(cls, address: str) -> Mapping[str, Any]:
        """Return the options of `imaps://user@host/Folder`; raises ValueError."""
        parts = urlsplit(address.partition("+")[2] if address.lower().startswith("mailbox+") else address)
        user = unquote(parts.username or "")
        if parts.password is not None:
            raise ValueError("the password does not belong into the address: --set 'password=${MAIL_PASSWORD}'")
        if not user or not parts.hostname:
            raise ValueError("write it as imaps://user@host/INBOX, with %40 for an @ in the name of the user")
        folder = unquote(parts.path.strip("/"))
        told = {
            "host": parts.hostname, "user": user, "port": parts.port or 0, "folders": folder,
            "tls": "starttls" if parts.scheme.lower() == "imap" else "",
            "prefix": f"{user if '@' in user else f'{user}@{parts.hostname}'}/",
        }  # fmt: skip
        return {name: value for name, value in told.items() if value}

    @property
    def origin(self) -> str:
        """What the messages are known by as a whole."""
        folders = ",".join(quote(each) for each in as_tuple(self.folders))
        return f"imaps://{quote(self.user)}@{self.host}/{folders}"

    @property
    def within(self) -> str:
        """What the names of all messages begin with."""
        return self.prefix

    def documents(self) -> Iterable[DocumentMark]:
        """Return the messages; those that are new are fetched for it, and kept."""
        problems: list[str] = []
        marks: list[DocumentMark] = []
        settings = ImapSettings(
            host=self.host,
            port=self.port or PORTS[self.tls],
            user=self.user,
            password=self.password,
            token=self.token,
            encryption=self.tls,
            timeout_s=self.timeout_s,
            look_s=self.look_s,
        )
        try:
            with open_session(settings) as session:
                for folder in self._selected(session.folders(), problems):
                    marks += self._looked(session, folder, problems)
        except SourceError as error:
            raise SourceError(f"mailbox: {self.host} {error}") from error
        self._found_wrong = tuple(problems)
        return marks

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of one message, as it was fetched."""
        folder, _, id = mark.place.rpartition("/")
        data = self._cache(folder).message(id)
        if data is None:
            return DocumentRead(problems=["was fetched, and is no longer in the cache folder: try again"])
        return read_bytes(data, FileOrigin(name=mark.name, suffix=_SUFFIX), self._document_reader(), known)

    def _selected(self, folders: list[ImapFolder], problems: list[str]) -> list[ImapFolder]:
        """Return the folders that are wanted, and note those that are named and not there."""
        wanted, excluded = as_tuple(self.folders), as_tuple(self.exclude)
        chosen = [each for each in folders if _matches(each.name, wanted) and not _matches(each.name, excluded)]
        missing = [name for name in wanted if not any(_matches(each.name, (name,)) for each in folders)]
        if not chosen:
            there = ", ".join(each.name for each in folders[:20]) or "none"
            raise SourceError(f"has no folder {' or '.join(wanted)}; its folders: {there}")
        problems += [f"there is no folder {name}" for name in missing]
        return chosen

    def _looked(self, session: ImapSession, folder: ImapFolder, problems: list[str]) -> list[DocumentMark]:
        """Return the messages of one folder, after those that are new were fetched."""
        validity, count = session.examine(folder)
        earliest = self._earliest()
        listed: dict[str, ListedMessage] = {}
        for message in session.listed(count):
            if message.received < earliest:
                continue
            if len(listed) >= self.most:
                problems.append(f"{folder.name} has more messages than most: {self.most:,}; the oldest are left out")
                break
            listed[f"{validity}-{message.uid}"] = message
        cache = self._cache(folder.name)
        known = cache.known()
        due = {id: each for id, each in listed.items() if id not in known and each.size <= self.max_bytes}
        fetched = self._fetched(session, cache, validity, list(due.values()))
        if session.is_over and len(fetched) < len(due):
            missing = len(due) - len(fetched)
            problems.append(
                f"{folder.name}: {counted(missing, 'message has', 'messages have')} not come"
                f" within {self.look_s:g} s; sync again"
            )
        cache.forget(known - listed.keys())
        # What was listed and has not come has been deleted meanwhile.
        return [
            self._mark(folder, id, message)
            for id, message in listed.items()
            if id in known or id in fetched or message.size > self.max_bytes
        ]

    def _fetched(
        self, session: ImapSession, cache: MessageCache, validity: int, due: list[ListedMessage]
    ) -> frozenset[str]:
        """Fetch messages while there is time, and return the ids of those that have come."""
        fetched = set()
        for batch in in_batches(due, _TOGETHER, _TOGETHER_BYTES):
            if session.is_over:
                break
            for uid, data in session.messages(batch):
                cache.keep(f"{validity}-{uid}", data)
                fetched.add(f"{validity}-{uid}")
        return frozenset(fetched)

    def _mark(self, folder: ImapFolder, id: str, message: ListedMessage) -> DocumentMark:
        name = f"{self.prefix}{folder.name}/{id}{_SUFFIX}"
        place = f"{folder.name}/{id}"
        if message.size > self.max_bytes:
            why = too_large(message.size, self.max_bytes)
            return DocumentMark(name=name, place=place, stamp=id, size=message.size, left_out=why)
        mark = DocumentMark(name=name, place=place, stamp=id, size=message.size, apart=True)
        return self._with_reader(mark, FileOrigin(name=name, suffix=_SUFFIX))

    def _earliest(self) -> float:
        """Return since when messages are read, in seconds since the epoch; raises ValueError."""
        if not self.since:
            return float("-inf")
        if days := _DAYS.fullmatch(self.since):
            return (datetime.now(UTC) - timedelta(days=int(days[1]))).timestamp()
        try:
            day = datetime.fromisoformat(self.since)
        except ValueError as error:
            raise ValueError(f"since {self.since!r} is no day such as 2026-01-31, and no 90d") from error
        return (day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp()

    def _cache(self, folder: str) -> MessageCache:
        root = os.path.expanduser(self.cache) if self.cache else str(user_cache_path("contextnexus") / "mail")
        return MessageCache.of(os.path.abspath(os.path.join(self.base_dir, root)), self.host, self.user, folder)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a folder is meant; INBOX is the same however it is written."""
    name = f"INBOX{name[5:]}" if name[:5].upper() == "INBOX" else name
    return any(fnmatchcase(name, f"INBOX{each[5:]}" if each[:5].upper() == "INBOX" else each) for each in patterns)


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `mailbox`."""
    return [Mailbox]
