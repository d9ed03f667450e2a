"""The source `mailbox`: messages of an IMAP server on this machine, over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Documents, RunContext, Secret, SourceError
from nexus_core.cli.main import main
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry
from tests.plugins.sources.imap_server import MailAccount, serve_mail

pytestmark = pytest.mark.slow

MAILBOX: Any = PluginRegistry.installed().component(Kind.SOURCE, "mailbox")


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailAccount]:
    """An account with two messages, on a server whose certificate is trusted."""
    with serve_mail(tmp_path) as (account, authority):
        monkeypatch.setenv("SSL_CERT_FILE", authority)
        monkeypatch.setenv("MAIL_PASSWORD", account.password)
        account.post(5, "Lift", "The lift is out of order.")
        account.post(6, "Printer", "The printer has no paper.")
        yield account


@pytest.fixture
def mailbox(account: MailAccount, tmp_path: Path) -> Any:
    """Make a source of that account."""

    def make(**options: Any) -> Any:
        secret = {} if {"password", "token"} & options.keys() else {"password": Secret(account.password)}
        told = {"host": "localhost", "user": "ada", "port": account.port, "cache": str(tmp_path / "cache")}
        return MAILBOX(**{**told, **secret, **options})

    return make


def subjects(source: Any) -> list[str]:
    return [item.title for mark in source.documents() for item in source.read(mark).items]


def test_messages_become_items_and_none_is_marked_as_seen(account: MailAccount, mailbox: Any) -> None:
    """The newest first, known by UIDVALIDITY and UID; the folder is opened to be read only."""
    source = mailbox(prefix="desk/")
    assert isinstance(source, Documents)
    marks = list(source.documents())
    assert [mark.name for mark in marks] == ["desk/INBOX/7-6.eml", "desk/INBOX/7-5.eml"]
    (item,) = source.read(marks[0]).items
    assert "no paper" in item.text
    assert not any(asked.startswith("SELECT") for asked in account.asked)
    assert any(asked.startswith("EXAMINE") for asked in account.asked)


def test_messages_that_are_known_are_not_fetched_again(account: MailAccount, mailbox: Any) -> None:
    """Only what is new is; what is deleted, or only marked so, is gone."""
    assert len(subjects(mailbox())) == 2
    account.post(7, "Key", "The key is at the desk.")
    del account.folders["INBOX"][5]
    account.deleted.add(6)
    assert [mark.name for mark in mailbox().documents()] == ["INBOX/7-7.eml"]
    assert account.fetched == [5, 6, 7]


def test_another_uidvalidity_makes_all_messages_new(account: MailAccount, mailbox: Any) -> None:
    """The same numbers are other messages then."""
    list(mailbox().documents())
    account.validity = 8
    assert [mark.name for mark in mailbox().documents()] == ["INBOX/8-6.eml", "INBOX/8-5.eml"]
    assert account.fetched == [5, 6, 5, 6]


def test_an_interrupted_look_goes_on_where_it_was(account: MailAccount, mailbox: Any) -> None:
    """A connection that is lost loses no message that has come."""
    for uid in range(8, 70):
        account.post(uid, f"Note {uid}", "text")
    account.fails_after = 55
    with pytest.raises(SourceError, match="mailbox: localhost cannot be read"):
        mailbox().documents()
    account.fails_after = -1
    assert len(list(mailbox().documents())) == 64
    assert len(account.fetched) < 2 * 64 - 40


def test_folders_are_chosen_by_patterns(account: MailAccount, mailbox: Any) -> None:
    """With slashes whatever the server has; a name outside of ASCII is read as it is meant."""
    account.post(1, "Old", "text", "Archive.2025")
    account.post(2, "Draft", "text", "Entw&APw-rfe")
    assert subjects(mailbox(folders="Archive/*")) == ["Old"]
    assert subjects(mailbox(folders="*", exclude="Entw\u00fcrfe")) == ["Printer", "Lift", "Old"]
    assert subjects(mailbox(folders=("Entw\u00fcrfe",))) == ["Draft"]
    source = mailbox(folders=("inbox", "Nothing"))
    assert len(subjects(source)) == 2
    assert source.problems == ("there is no folder Nothing",)
    with pytest.raises(SourceError, match=r"has no folder Nothing; its folders: INBOX, Archive/2025"):
        mailbox(folders="Nothing").documents()


def test_what_is_read_is_bounded(account: MailAccount, mailbox: Any) -> None:
    """By day, by number (which is told, so that nothing is taken for gone), and by size without being fetched."""
    assert subjects(mailbox(since="2026-01-06")) == ["Printer"]
    source = mailbox(most=1)
    assert subjects(source) == ["Printer"]
    assert source.problems == ("INBOX has more messages than most: 1; the oldest are left out",)
    account.fetched.clear()
    account.post(9, "Large", "word " * 1000)
    marks = {mark.name: mark.left_out for mark in mailbox(max_bytes=1000).documents()}
    assert "more than the 1,000 that are taken" in marks["INBOX/7-9.eml"]
    assert 9 not in account.fetched


def test_a_server_that_never_ends_its_answer_is_left(account: MailAccount, mailbox: Any) -> None:
    """After some megabytes."""
    account.flood = True
    with pytest.raises(SourceError, match="sends far more than it was asked for"):
        mailbox().documents()


def test_certificates_are_checked_and_passwords_told_to_nobody(
    account: MailAccount, mailbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS is what there is by default; an error has the server's words without the secret."""
    with pytest.raises(SourceError, match="wrong password") as refused:
        mailbox(password=Secret("sesame")).documents()
    assert "sesame" not in str(refused.value)
    with pytest.raises(SourceError, match="needs `password`, or `token`"):
        MAILBOX(host="localhost", user="ada", port=account.port).documents()
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SourceError, match="certificate verify failed"):
        mailbox().documents()


async def test_a_pipeline_gathers_messages(account: MailAccount, mailbox: Any) -> None:
    """In another process, which gets no secret; the same tuple while nothing has changed."""
    source = mailbox(refresh_s=0)
    first = await source.gather("", RunContext())
    assert [item.title for item in first] == ["Printer", "Lift"]
    assert await source.gather("", RunContext()) is first


def test_a_context_is_synced_with_a_mailbox(
    account: MailAccount, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """New messages come, deleted ones go and are reported, unchanged ones are not read; no secret is kept."""
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    address = f"imaps://ada@localhost:{account.port}/INBOX"
    secret, cache = "password=${MAIL_PASSWORD}", f"cache={tmp_path / 'cache'}"
    assert run("context", "add", "mail", address, "--set", secret, "--set", cache) == 0
    account.post(7, "Key", "The key is at the desk.")
    del account.folders["INBOX"][5]
    capsys.readouterr()
    assert run("context", "sync", "mail") == 0
    assert "1 unchanged" in capsys.readouterr().out
    assert run("context", "search", "mail", "key lift") == 0
    found = capsys.readouterr().out
    assert "at the desk" in found
    assert "out of order" not in found
    assert not any(account.password.encode() in path.read_bytes() for path in (tmp_path / "store").rglob("*.db*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "imaps://mail"}, "name of a server"),
        ({"since": "yesterday"}, "no day such as 2026-01-31"),
        ({"user": "ada\r\nx"}, "printable"),
    ],
)
def test_wrong_options_are_found_when_they_are_declared(options: dict[str, str], said: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(ValueError, match=said):
        MAILBOX(**{"host": "localhost", "user": "ada", **options})


def run(*arguments: str) -> int:
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)
