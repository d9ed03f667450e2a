"""The readers of mail: single messages, mailboxes, Outlook's files, calendars."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from nexus_readers.mail.packed_rtf import unpacked

from nexus_core import Heading, ListItem, Metadata, Paragraph, Quotation, SourceError
from nexus_core.toolkit import DocumentReader, ReadSettings
from tests.plugins.readers.compound_file import Folder, compound_file
from tests.plugins.readers.reading import blocks_of, grows_in_proportion, items_of, only, remarks, text

HEAD = "From: Ann <a@example.org>\nTo: b@example.org\nSubject: S\n"


def multipart(kind: str, *parts: str) -> str:
    """Return a message of parts."""
    body = "".join(f"--b1\n{part}\n" for part in parts)
    return f"{HEAD}MIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary=b1\n\n{body}--b1--\n"


# Headers and bodies


def test_mail_subject_and_bodies_are_decoded() -> None:
    """Encoded words, base64 and quoted-printable in several charsets become the text that people see."""
    mail = (
        "From: =?UTF-8?B?SsO8cmc=?= <desk@example.org>\n"
        "Subject: =?utf-8?B?0J/RgNC40LLQ?= =?utf-8?B?tdGC?= caf=?latin1?Q?=E9?=\n"
        "DKIM-Signature: v=1; b=abcdef\nReceived: by mx\nContent-Type: multipart/mixed; boundary=b\n\n"
        "--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nSW0gU2FhbCBaw7xyaWNoLgo=\n"
        "--b\nContent-Type: text/plain; charset=iso-8859-2\nContent-Transfer-Encoding: quoted-printable\n\n"
        "P=F8ihl=E1=B9ka kon=E8=\n=ED\n--b--\n"
    )
    (item,) = items_of(mail, "m.eml")
    assert item.title == "Привет café"
    assert item.text.startswith("From: Jürg <desk@example.org>")
    assert item.text.endswith("Im Saal Zürich.\n\nPřihláška končí")
    assert "DKIM" not in item.text
    assert "mx" not in item.text


@pytest.mark.parametrize(
    ("charset", "data", "expected"),
    [
        ("gb2312", "朱镕基".encode("gbk"), "朱镕基"),
        ("iso-8859-1", b"\x93a\x94 \x80", "“a” €"),
        ("ks_c_5601-1987", "똠방".encode("cp949"), "똠방"),
        ("x-unknown", "größe".encode(), "größe"),
        ("us-ascii", "größe".encode("cp1252"), "größe"),
        ("utf-8", "größe".encode("cp1252"), "größe"),
        ("punycode", b"plain", "plain"),
        ("unicode_escape", b"pl\\x61in", "pl\\x61in"),
    ],
)
def test_mail_charsets_are_what_senders_mean(charset: str, data: bytes, expected: str) -> None:
    """The wider charset of a name, and what the bytes look like where the name is wrong."""
    mail = f"{HEAD}Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: 8bit\n\n".encode() + data
    assert only(Paragraph, blocks_of(mail, "m.eml"))[-1].text == expected


def test_mail_values_stand_with_its_items() -> None:
    """Sender, receiver and date are metadata, too."""
    mail = f"{HEAD}Date: Mon, 5 Jan 2026 09:00:00 +0100\nMessage-ID: <x@y>\n\nHello.\n"
    (item,) = items_of(mail, "m.eml")
    assert item.metadata["from"] == "Ann <a@example.org>"
    assert item.metadata["date"] == "2026-01-05T09:00:00+01:00"
    assert item.metadata["message-id"] == "x@y"


def test_mail_of_raw_bytes_in_its_headers_is_read() -> None:
    """Old programs encode nothing."""
    blocks = blocks_of("From: Jürg <a@b>\nSubject: Grüße\n\nKöln".encode("cp1252"), "m.eml")
    assert only(Heading, blocks)[0].text == "Grüße"
    assert text(blocks).endswith("Köln")


def test_mail_lines_are_joined_as_they_were_written() -> None:
    """Flowed lines go on, replies are quotations by depth, lists are lists, signatures keep their lines."""
    body = "This line goes \non here.\n\n> quoted and \n> joined\n>> deeper\nMine.\n\n"
    body += "- one\n- two\n  more\n\n-- \nAnn\nTel. 5\n"
    blocks = blocks_of(f"{HEAD}Content-Type: text/plain; format=flowed\n\n{body}", "m.eml")
    assert [block.text for block in only(Paragraph, blocks)[1:]] == ["This line goes on here.", "Mine.", "Ann\nTel. 5"]
    assert [(block.text, block.depth) for block in only(Quotation, blocks)] == [("quoted and joined", 1), ("deeper", 2)]
    assert [block.text for block in only(ListItem, blocks)] == ["one", "two more"]


# Parts


def test_mail_reads_one_of_several_versions() -> None:
    """The plain one; another one where that says only that there is one."""
    page = "Content-Type: text/html\n\n<h1>Offer</h1><p>Price 42</p>"
    plain = blocks_of(multipart("alternative", "Content-Type: text/plain\n\nPrice 41", page), "m.eml")
    assert "41" in text(plain)
    assert "42" not in text(plain)
    for empty in ("", "Please view this in an HTML capable client."):
        rich = blocks_of(multipart("alternative", f"Content-Type: text/plain\n\n{empty}", page), "m.eml")
        assert "Price 42" in text(rich)
        assert "capable" not in text(rich)


def test_mail_attachments_are_read_by_their_readers() -> None:
    """Those of a version that is not read, too; their names are headings."""
    inner = (
        "Content-Type: multipart/mixed; boundary=b2\n\n--b2\nContent-Type: text/html\n\n<p>rich</p>\n"
        "--b2\nContent-Disposition: attachment; filename*=utf-8''pl%C3%A4ne.md\n\nRoom 77\n--b2--"
    )
    blocks = blocks_of(multipart("alternative", "Content-Type: text/plain\n\nbody", inner), "m.eml")
    assert [block.text for block in only(Heading, blocks)] == ["S", "pläne.md"]
    assert "Room 77" in text(blocks)
    assert "rich" not in text(blocks)


def test_mail_inside_of_a_mail_is_read() -> None:
    """Forwarded mails stand under their own subject, with who wrote them."""
    forwarded = "Content-Type: message/rfc822\n\nFrom: inner@example.org\nSubject: Inner\n\nFact 4711."
    blocks = blocks_of(multipart("mixed", "Content-Type: text/plain\n\nsee below", forwarded), "m.eml")
    assert [(block.text, block.level) for block in only(Heading, blocks)] == [("S", 1), ("Inner", 2)]
    assert text(blocks).endswith("From: inner@example.org\n\nFact 4711.")


PICTURE = "Content-Disposition: attachment; filename=a.bin\nContent-Transfer-Encoding: base64\n\niVBORw0KGgoAAAAN"


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nMIIB", "S/MIME"),
        ("Content-Type: multipart/encrypted; boundary=b2\n\n--b2\n\nx\n--b2--", "PGP"),
        ("Content-Type: text/plain\n\n-----BEGIN PGP MESSAGE-----\nabc\n-----END PGP MESSAGE-----", "PGP"),
        (PICTURE, "a.bin"),
    ],
    ids=["smime", "pgp", "inline pgp", "binary"],
)
def test_mail_tells_what_it_cannot_read(part: str, why: str) -> None:
    """What is encrypted or binary is no text, and reported."""
    blocks = blocks_of(multipart("mixed", "Content-Type: text/plain\n\nbody", part), "m.eml")
    assert any(why in remark for remark in remarks(blocks))
    assert text(blocks).endswith("body")


def test_mail_invitation_tells_what_when_and_where() -> None:
    """A calendar part is read as people read it."""
    event = (
        "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VEVENT\nSUMMARY:Team\\, weekly\n"
        "DTSTART;TZID=Europe/Vienna:20260105T090000\nLOCATION:Room\n  5\nDESCRIPTION:First\\n\\nSecond\n"
        "BEGIN:VALARM\nDESCRIPTION:Reminder\nEND:VALARM\nEND:VEVENT"
    )
    blocks = blocks_of(multipart("mixed", event), "m.eml")
    assert only(Heading, blocks)[-1].text == "Team, weekly"
    assert "Begins: 2026-01-05 09:00 Europe/Vienna; Place: Room 5\n\nFirst\n\nSecond" in text(blocks)
    assert "Reminder" not in text(blocks)


def test_mail_that_is_a_saved_page_is_its_page() -> None:
    """MHTML has no sender to show."""
    page = (
        "From: <Saved by Blink>\nSubject: Guide\nContent-Type: multipart/related; boundary=b\n\n"
        "--b\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n"
        "<h1>Caf=C3=A9</h1><p>Code 47=\n20</p>\n--b--"
    )
    blocks = blocks_of(page, "g.mhtml")
    assert [(block.text, block.level) for block in only(Heading, blocks)] == [("Café", 1)]
    assert text(blocks).endswith("Code 4720")


def test_mail_of_no_mail_is_text_or_refused() -> None:
    """A suffix may be wrong."""
    assert text(blocks_of("just text", "m.eml")) == "just text"
    with pytest.raises(SourceError, match="left out"):
        blocks_of(b"\0\1\2", "m.eml")


# Mailboxes

MAILBOX = """From a@b Mon Jan  5 09:00:00 2026
From: a@example.org
Subject: One

>From the start.

From Paris with love at 9:30 in 2024
we write.

From - Mon Jan  5 09:01:00 2026
From: c@example.org
Subject: Two

Second.
"""


def test_mailbox_is_an_item_for_each_mail() -> None:
    """Each with its own sender and line, however short; sentences that begin with From are text."""
    first, second = items_of(MAILBOX, "m.mbox")
    assert (first.title, first.metadata["from"], first.metadata["line"]) == ("m.mbox > One", "a@example.org", 2)
    assert first.text.endswith("From the start.\n\nFrom Paris with love at 9:30 in 2024\nwe write.")
    assert (second.title, second.metadata["from"]) == ("m.mbox > Two", "c@example.org")


def test_mailbox_beyond_the_limit_is_read_from_the_disk(tmp_path: Path) -> None:
    """`max_bytes` bounds one mail, not the mailbox; the one that is longer is read up to there, and told."""
    from nexus_sources.ingestible import find, read
    from nexus_sources.walking.globs import patterns

    mails = [MAILBOX] * 40 + ["From a@b Mon Jan  5 09:00:00 2026\nSubject: Long\n\n" + "word " * 3000 + "\n\n"]
    (tmp_path / "m.mbox").write_text("\n".join([*mails, MAILBOX]))
    root = str(tmp_path)
    (mark,), _ = find(patterns("m.mbox", root), (), (), root=root, follows=False)
    reader = DocumentReader(ReadSettings(max_bytes=8_000))
    found = read(mark, reader)
    items = list(found.items)
    assert len({item.id for item in items}) == len(items) >= 83
    assert [remark for remark in found.remarks if "'Long'" in remark and "8,000 bytes" in remark]
    assert read(mark, reader, found.digest).same


def test_mailbox_limits_hold_for_each_mail() -> None:
    """Many attachments in a mailbox are not too many, as long as no mail has too many."""
    attached = "--b\nContent-Disposition: attachment; filename=a.txt\n\nfact {0}\n"
    mail = "From a@b Mon Jan  5 09:00:00 2026\nSubject: S\nContent-Type: multipart/mixed; boundary=b\n\n{0}--b--\n\n"
    box = "".join(mail.format("".join(attached.format(n) for n in range(9))) for _ in range(300))
    blocks = blocks_of(box, "m.mbox")
    assert remarks(blocks) == []
    assert text(blocks).count("fact") == 2_700


# Outlook


def outlook(body: Folder) -> bytes:
    """Return a mail as Outlook saves it."""
    ticks = 133_000_000_000_000_000
    fixed = b"\0" * 32 + struct.pack("<IIQ", 0x00390040, 6, ticks)
    head = {"0037001F": "Grüße", "0C1A001F": "Jürg", "5D01001F": "j@example.org", "0E04001F": "Ann"}
    texts = {f"__substg1.0_{tag}": value.encode("utf-16-le") for tag, value in head.items()}
    return compound_file({"__properties_version1.0": fixed, **texts, **body})


def test_outlook_mail_is_read_with_what_is_attached() -> None:
    """Properties in both forms of text, files and mails inside."""
    inner: Folder = {
        "__properties_version1.0": b"\0" * 24 + struct.pack("<IIQ", 0x3FFD0003, 6, 1252),
        "__substg1.0_0037001F": "Inner".encode("utf-16-le"),
        "__substg1.0_1000001E": "Köln 4711".encode("cp1252"),
    }
    table: Folder = {
        "__properties_version1.0": b"\0" * 8,
        "__substg1.0_3707001F": "t.md".encode("utf-16-le"),
        "__substg1.0_37010102": b"Room 77\n" * 600,
    }
    mail: Folder = {"__properties_version1.0": b"\0" * 8, "__substg1.0_3701000D": inner}
    blocks = blocks_of(
        outlook(
            {
                "__substg1.0_1000001F": "Body 4411".encode("utf-16-le"),
                "__attach_version1.0_#00000000": table,
                "__attach_version1.0_#00000001": mail,
            }
        ),
        "m.msg",
    )
    assert (only(Metadata, blocks)[0].title, only(Metadata, blocks)[0].author) == ("Grüße", "Jürg <j@example.org>")
    assert [block.text for block in only(Heading, blocks)] == ["Grüße", "t.md", "Inner"]
    assert "Date: 2022-06-18" in text(blocks)
    assert all(fact in text(blocks) for fact in ("Body 4411", "Room 77", "Köln 4711"))


def test_outlook_mail_in_html_is_read_as_such() -> None:
    """Where it has no plain body."""
    blocks = blocks_of(outlook({"__substg1.0_10130102": b"<h2>Offer</h2><p>Price 42</p>"}), "m.msg")
    assert "Price 42" in text(blocks)
    assert "body.html" not in [block.text for block in only(Heading, blocks)]


def test_outlook_rich_text_is_unpacked() -> None:
    """The example of the specification, MS-OXRTFCP 3.1.1.1."""
    packed = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
    )
    assert unpacked(packed, 1000) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"


@pytest.mark.parametrize("data", [b"text", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 2000])
def test_outlook_mail_that_is_none_is_refused(data: bytes) -> None:
    """With the reason."""
    with pytest.raises(SourceError, match="left out"):
        blocks_of(data, "m.msg")


# Growth

SHAPES = {
    "parts": f"{HEAD}Content-Type: multipart/mixed; boundary=b\n\n|--b\nContent-Type: text/plain\n\nhello\n",
    "addresses": f'{HEAD}Cc: |"A B" <a@b.c>, ',
    "words": f"{HEAD}Cc: |=?utf-8?q?a?= ",
    "parameters": f'{HEAD}Content-Type: text/plain|; a=";"',
    "quotes": f"{HEAD}\n|> a\n>> b\n",
    "marks": f"{HEAD}\n|>",
    "lists": f"{HEAD}\n|- a\n",
    "flowed": f"{HEAD}Content-Type: text/plain; format=flowed\n\n|a \n",
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_mail_cost_grows_in_proportion(shape: str) -> None:
    """Twice the mail costs twice as much."""
    before, again = SHAPES[shape].split("|")
    assert grows_in_proportion("m.eml", lambda size: before + again * (size // len(again)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "again", [MAILBOX + "\n", "\nFrom 1:00 2020\n", ">From a\n"], ids=["mails", "no mails", "marks"]
)
def test_mailbox_cost_grows_in_proportion(again: str) -> None:
    """Twice the mailbox costs twice as much."""
    assert grows_in_proportion("m.mbox", lambda size: MAILBOX + "\n" + again * (size // len(again)))


def test_mail_with_parts_in_parts_without_end_is_told() -> None:
    """No stack is exhausted; a mailbox goes on with the next mail."""
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3_000))
    box = f"From - Mon Jan  5 09:00:00 2026\nSubject: S\n{deep}\n\n{MAILBOX}"
    blocks = blocks_of(box, "m.mbox")
    assert remarks(blocks)
    assert "Second." in text(blocks)


def test_mail_ends_quotation_before_signature_and_leaves_seal_out() -> None:
    """The line that sets a signature apart is no word, also right below a quotation; a signature of PGP is no text."""
    mail = (
        "From: a@x.org\nContent-Type: text/plain; charset=utf-8; format=flowed; delsp=yes\n\nFine.\n> When?\n-- \nAnn\n"
        "-----BEGIN PGP SIGNATURE-----\niQFOO\n-----END PGP SIGNATURE-----\n"
    )
    assert text(blocks_of(mail, "a.eml")[-3:]) == "Fine.\n\n> When?\n\nAnn"


def test_mail_is_not_told_to_have_lost_its_seal() -> None:
    """The signature of a mail, which mail programs send as a file, is nothing that people miss."""
    seal = (
        "Content-Type: application/pkcs7-signature; name=smime.p7s\n"
        "Content-Disposition: attachment; filename=smime.p7s\nContent-Transfer-Encoding: base64\n\nMIAGAA==\n"
    )
    blocks = blocks_of(multipart("mixed", "Content-Type: text/plain\n\nAgreed.\n", seal), "a.eml")
    assert remarks(blocks) == []
    assert text(blocks).endswith("Agreed.")
