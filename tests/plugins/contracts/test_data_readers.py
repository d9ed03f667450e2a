"""The reader suite on the readers of mail and data."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from email.message import EmailMessage
from html import escape
from io import StringIO
from typing import Any, ClassVar

from nexus_readers.code import CodeReader
from nexus_readers.data.config_file import IniReader, TomlReader, YamlReader
from nexus_readers.data.delimited import DelimitedReader
from nexus_readers.data.json_file import JsonLinesReader, JsonReader
from nexus_readers.data.notebook import NotebookReader
from nexus_readers.data.xml_file import XmlReader
from nexus_readers.mail.calendar import CalendarReader
from nexus_readers.mail.mailbox import MailboxReader
from nexus_readers.mail.message import MailReader

from nexus_core.testing import ReaderContract


class TestMailReader(ReaderContract):
    """Whole messages, their body in base64."""

    suffix: ClassVar[str] = ".eml"

    def make(self) -> Any:
        return MailReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        message = EmailMessage()
        message["Subject"] = "Subject"
        message.set_content("\n\n".join(paragraphs), cte="base64")
        return message.as_bytes()


class TestMailboxReader(ReaderContract):
    """A mail for each paragraph."""

    suffix: ClassVar[str] = ".mbox"

    def make(self) -> Any:
        return MailboxReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        head = "From a@b Mon Jan  5 09:00:00 2026\nContent-Type: text/plain; charset=utf-8\n\n"
        return "".join(f"{head}{paragraph}\n\n" for paragraph in paragraphs).encode()


class TestCalendarReader(ReaderContract):
    """An entry for each paragraph."""

    suffix: ClassVar[str] = ".ics"

    def make(self) -> Any:
        return CalendarReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        texts = (text.replace("\\", "\\\\").replace(",", "\\,") for text in paragraphs)
        return "".join(f"BEGIN:VEVENT\nDESCRIPTION:{text}\nEND:VEVENT\n" for text in texts).encode()


class TestDelimitedReader(ReaderContract):
    """A row for each paragraph, with quotes where they must be."""

    suffix: ClassVar[str] = ".csv"

    def make(self) -> Any:
        return DelimitedReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        text = StringIO()
        csv.writer(text).writerows([str(100 + number), paragraph] for number, paragraph in enumerate(paragraphs))
        return text.getvalue().encode()


class TestNotebookReader(ReaderContract):
    """A cell for each paragraph."""

    suffix: ClassVar[str] = ".ipynb"

    def make(self) -> Any:
        return NotebookReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        cells = [{"cell_type": "code", "source": paragraph, "outputs": []} for paragraph in paragraphs]
        return json.dumps({"cells": cells}, ensure_ascii=False).encode()


class TestJsonReader(ReaderContract):
    """A list of texts."""

    suffix: ClassVar[str] = ".json"

    def make(self) -> Any:
        return JsonReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return json.dumps(list(paragraphs)).encode()


class TestJsonLinesReader(ReaderContract):
    """An object for each paragraph."""

    suffix: ClassVar[str] = ".jsonl"

    def make(self) -> Any:
        return JsonLinesReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "".join(json.dumps({"x": text}) + "\n" for text in paragraphs).encode()


class TestXmlReader(ReaderContract):
    """A paragraph for each."""

    suffix: ClassVar[str] = ".xml"

    def make(self) -> Any:
        return XmlReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return f"<a>{''.join(f'<p>{escape(text)}</p>' for text in paragraphs)}</a>".encode()


class TestYamlReader(ReaderContract):
    """Comments in a file of settings."""

    suffix: ClassVar[str] = ".yaml"

    def make(self) -> Any:
        return YamlReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "".join(f"# {text}\n- \n" for text in paragraphs).encode()


class TestTomlReader(ReaderContract):
    """Comments in a file of settings."""

    suffix: ClassVar[str] = ".toml"

    def make(self) -> Any:
        return TomlReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "".join(f"# {text}\n[-]\n" for text in paragraphs).encode()


class TestIniReader(ReaderContract):
    """Comments in a file of settings."""

    suffix: ClassVar[str] = ".ini"

    def make(self) -> Any:
        return IniReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "".join(f"; {text}\n[-]\n" for text in paragraphs).encode()


class TestCodeReader(ReaderContract):
    """Comments above functions."""

    suffix: ClassVar[str] = ".py"

    def make(self) -> Any:
        return CodeReader()

    def document(self, paragraphs: Sequence[str]) -> bytes:
        return "".join(f"# {text}\n\n" for text in paragraphs).encode()
