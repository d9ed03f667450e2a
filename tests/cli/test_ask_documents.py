"""A folder of office files, mail, notebooks and tables, asked: the fact is quoted with its file and page or row."""

from __future__ import annotations

import csv
import json
from email.message import EmailMessage
from pathlib import Path

import pytest
from docx import Document
from openpyxl import Workbook
from pptx import Presentation

from nexus_core.cli.main import main

pytestmark = pytest.mark.slow

FILLER = "Nothing else of note stands in this paragraph about the weather. "


def write_docx(path: Path) -> None:
    document = Document()
    document.add_heading("Travel rules", 1)
    document.add_paragraph(FILLER * 20)
    document.add_heading("Trains", 2)
    document.add_paragraph("Trains to Graz are booked in second class.")
    document.save(str(path))


def write_pptx(path: Path) -> None:
    slides = Presentation()
    for title, text, note in (
        ("Welcome", "Agenda of the meeting", ""),
        ("Budget", "The harbour crane costs 41,000 euros.", "Say that the lender is Lindqvist."),
    ):
        slide = slides.slides.add_slide(slides.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, text
        if note:
            slide.notes_slide.notes_text_frame.text = note
    slides.save(str(path))


def write_xlsx(path: Path) -> None:
    book = Workbook()
    sheet = book.active
    sheet.title = "Depots"
    sheet.append(["Depot", "Keeper", "Tonnes"])
    for number in range(120):
        sheet.append([f"Depot {number}", f"Keeper {number}", number * 3])
    sheet["B58"] = "Ottoline Marsh"
    book.save(str(path))


def write_eml(path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Übergabe der Schlüssel", "ada@example.org", "bo@example.org"
    mail.set_content("The spare key of the boathouse hangs behind the Größe chart.")
    mail.add_attachment(b"code,meaning\nQ7,quay is flooded\n", maintype="text", subtype="csv", filename="codes.csv")
    path.write_bytes(bytes(mail))


def write_ipynb(path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Tides\n", "\n", "The neap tide lags by 36 hours."]},
        {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": "lag = 36", "outputs": []},
    ]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}), "utf-8")


def write_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["Berth", "Ship", "Remark"])
        rows.writerows([f"B{n}", f"Ship {n}", "no remark, as on all other days"] for n in range(2, 300))
        rows.writerow(["B300", "Fair Wind", "leaks at\nthe stern"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context of all those files."""
    folder = tmp_path_factory.mktemp("files")
    for write in (write_docx, write_pptx, write_xlsx, write_eml, write_ipynb, write_csv):
        suffix = write.__name__.removeprefix("write_")
        write(folder / f"a.{suffix}")
    kept = tmp_path_factory.mktemp("kept") / "store"
    with pytest.raises(SystemExit) as ended:
        main(["context", "add", "office", str(folder), "--as", "f", "--store", str(kept)])
    assert not ended.value.code
    return kept


@pytest.mark.parametrize(
    ("question", "said", "source"),
    [
        ("In which class are trains to Graz booked?", "second class", "(f/a.docx"),
        ("What does the harbour crane cost?", "41,000 euros", "page 2"),
        ("Who is the lender?", "Lindqvist", "page 2"),
        ("Which depot does Ottoline Marsh keep?", "Depot: Depot 56", "row 58"),
        ("Where does the spare key of the boathouse hang?", "behind the Größe chart", "(f/a.eml"),
        ("What does the code Q7 mean?", "quay is flooded", "(f/a.eml"),
        ("By how many hours does the neap tide lag?", "36 hours", "(f/a.ipynb"),
        ("What is the remark on the ship Fair Wind?", "leaks at the stern", "row 300"),
    ],
)
def test_fact_is_quoted_with_its_place(
    store: Path,
    question: str,
    said: str,
    source: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the format, the answer holds the fact, and its source names the file and the page or the row."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["ask", "office", question, "--store", str(store)])
    assert not ended.value.code
    answer, _, sources = capsys.readouterr().out.partition("Sources:")
    assert said in answer
    number = answer[answer.index(said) :].split("[")[1].split("]")[0]
    line = next(line for line in sources.splitlines() if f"[{number}]" in line)
    assert source in line
