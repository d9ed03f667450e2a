"""Documents of one question: read for it alone, beside a context or without one, whatever they hold."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from base64 import b64encode
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from attrs import evolve
from docx import Document
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from nexus_core.contract.values import Item
from nexus_core.server.errors import Failure
from nexus_core.server.files.question_documents import CHARACTERS, SECTIONS, QuestionDocument, shared_out
from nexus_core.server.settings import ServerLimits
from nexus_core.store.access.api_keys import ApiKeys

if TYPE_CHECKING:
    from tests.server.conftest import Fakes, Running, Start

pytestmark = pytest.mark.slow

LODGING = "Lodging in Reykjavik is paid up to 240 euros a night."
ASKED = "How much is paid for lodging in Reykjavik?"


def word(text: str = LODGING) -> bytes:
    document, file = Document(), io.BytesIO()
    document.add_heading("Travel", 1)
    document.add_paragraph(text)
    document.save(file)
    return file.getvalue()


def sheet() -> bytes:
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in (("City", "Euros a night"), ("Reykjavik", 240), ("Lisbon", 120)):
        book.active.append(row)
    book.save(file)
    return file.getvalue()


def pdf(**more: Any) -> bytes:
    file = io.BytesIO()
    canvas = Canvas(file, **more)
    canvas.drawString(72, 720, LODGING)
    canvas.save()
    return file.getvalue()


def bomb() -> bytes:
    """Return a Word file of some kilobytes that unpacks to 400 MB."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word())) as plain, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            if name != "word/document.xml":
                packed.writestr(name, plain.read(name))
        with packed.open("word/document.xml", "w", force_zip64=True) as out:
            for _ in range(400):
                out.write(b"<" + b"w" * 2**20)
    return file.getvalue()


def body(*files: tuple[str, bytes], query: str = ASKED, **more: Any) -> dict[str, Any]:
    documents = [{"name": name, "data": b64encode(data).decode()} for name, data in files]
    return {"query": query, "pipeline": "quotes", "documents": documents, **more}


async def ask(running: Running, told: dict[str, Any], **more: Any) -> tuple[int, Any]:
    sent = io.BytesIO(json.dumps(told).encode())
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    return await running.call("POST", "/api/queries", data=sent, headers=headers, **more)


MAIL = f"From: Ann <ann@example.org>\nSubject: Travel\n\n{LODGING}\n".encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("travel.docx", word()), ("costs.xlsx", sheet()), ("travel.pdf", pdf()), ("travel.eml", MAIL),
        ("travel.html", f"<h1>Travel</h1><p>{LODGING}".encode()), ("travel.md", f"# Travel\n\n{LODGING}\n".encode()),
        ("costs.csv", b"City,Euros a night\nReykjavik,240\n"), ("../../x", LODGING.encode()),
        ("rules.py", f'def lodging():\n    """{LODGING}"""\n'.encode()),
    ],
    ids=["docx", "xlsx", "pdf", "mail", "html", "markdown", "csv", "odd-name", "code"],
)  # fmt: skip
async def test_file_of_any_format_is_asked_about_without_a_context(running: Running, name: str, data: bytes) -> None:
    """By a pipeline that takes one, which is not searched; the answer cites the file by the name it came with."""
    status, told = await ask(running, body((name, data), options={"includeTrace": True}))
    assert (status, told["contextId"]) == (200, None), told
    assert ["240" in each["text"] for each in told["metadata"]["contextItems"]] == [True]
    assert {each["source"].partition("#")[0] for each in told["metadata"]["contextItems"]} == {name}
    [document] = told["documents"]
    assert (document["name"], document["items"], document["sent"], document["remarks"]) == (name, 1, 1, [])


async def test_documents_are_ranked_beside_the_context_and_kept_nowhere(running: Running) -> None:
    """An item of the context with the same id stays what it is."""
    told = body(("leave", b"Leave may be carried over until March."), query="How many days of leave?")
    status, found = await ask(running, told | {"contextId": "handbook", "options": {"includeTrace": True}})
    texts = {each["text"].strip() for each in found["metadata"]["contextItems"]}
    assert (status, texts) == (
        200, {"Everybody has 28 days of leave a year.", "Leave may be carried over until March."}
    )  # fmt: skip
    assert await running.store.documents("handbook") == ()
    status, found = await ask(running, {"query": "How many days of leave?", "contextId": "handbook"})
    assert "March" not in found["response"]
    status, found = await ask(
        running, body(("a.md", LODGING.encode()), pipeline="own", query="How many days of leave?")
    )
    assert (status, found["documents"][0]["sent"]) == (200, 1)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("bomb.docx", bomb(), "'bomb.docx' cannot be read"),
        ("empty.md", b"", "'empty.md' cannot be read"),
        ("secret.pdf", pdf(encrypt=StandardEncryption("sesame")), "password"),
        ("travel.docx", b"\0\1\2\3" * 100, "'travel.docx' cannot be read"),
        ("<script>alert(1)</script>.html", b"<html></html>", "'<script>alert(1)</script>.html' cannot be read"),
        ("photo.bin", bytes(range(256)) * 8, "'photo.bin' cannot be read"),
    ],
    ids=["bomb", "empty", "password", "ending", "script", "binary"],
)
async def test_file_of_which_nothing_can_be_read_refuses_the_question(
    running: Running, fakes: Fakes, name: str, data: bytes, said: str
) -> None:
    """By its name and the reason, without a path of the server; no model is asked, though another file is good."""
    asked = body(("a.md", LODGING.encode()), (name, data), pipeline="talk")
    for stream in (False, True):
        status, told = await ask(running, asked | {"options": {"stream": stream}})
        assert (status, told["code"], said in told["error"]) == (422, "unreadable_document", True), told
        assert ": " in told["error"]
        assert "/tmp" not in told["error"]
    assert fakes.connectors["main"].prompts == []


async def test_bodies_that_break_a_limit_are_refused_with_it(start: Start) -> None:
    """Many files, much data, data that is none; and what is not a document is held to the limit of other bodies."""
    running = await start(limits=ServerLimits(body_bytes=4096, upload_bytes=16_384))
    good = ("a.md", LODGING.encode())
    assert (await ask(running, body(good, ("b.md", b"Word. " * 2000))))[0] == 200  # larger than another body may be
    for told, status, said in (
        (body(*[good] * 17), 400, "documents must contain less than or equal to 16 items"),
        (body(*[("a.md", b"x" * 6000)] * 3), 413, "the documents of one question are over 16,384 bytes together"),
        (body(("a.md", b"x" * 40_000)), 413, "bytes"),
        (body(good, query="x" * 5000), 413, "the body is over 4,096 bytes beside the data of its documents"),
        (
            body() | {"documents": [{"name": "a.md", "data": "TG9k\nZ2lu"}]},  # as the command base64 prints it
            400,
            "documents[0]: the data of 'a.md' is no base64 of A to Z, a to z, 0 to 9, + and /, filled up with =",
        ),
        (body(("\0", b"x")), 400, "the name of a file holds a control character"),
        ({"query": ASKED, "pipeline": "quotes"}, 400, "contextId is missing"),
        (body(), 400, "contextId is missing"),
    ):
        found, answer = await ask(running, told)
        assert (found, said in answer["error"]) == (status, True), answer


async def test_huge_file_never_overflows_a_prompt_and_says_what_was_left_out(running: Running, fakes: Fakes) -> None:
    """Of the sections that are read those stand in the prompt that fit; the answer tells both."""
    sections = [f"## Rule {number}\n\n{'Nothing of note is said here. ' * 45}\n" for number in range(2 * SECTIONS)]
    sections[SECTIONS // 2] = f"## Lodging\n\n{LODGING}\n"
    asked = body(("rules.md", "\n".join(sections).encode()), ("b.md", b"Trains."), pipeline="talk")
    status, told = await ask(running, asked)
    assert status == 200, told
    long, short = told["documents"]
    assert long["items"] == SECTIONS - 1
    assert 0 < long["sent"] < 50
    assert long["remarks"] == [
        f"only its first {SECTIONS - 1} sections are read for one question: add it to a context to ask about all of it"
    ]
    assert (short["items"], short["remarks"]) == (1, [])
    [prompt] = fakes.connectors["main"].prompts
    assert prompt.tokens_at_most <= prompt.window
    assert LODGING in prompt.messages[-1].text


def test_long_sections_are_held_to_the_characters_of_a_question() -> None:
    """The longest documents lose their ends, short ones nothing; of which nothing is left, that is refused."""

    def document(*lengths: int) -> QuestionDocument:
        items = [Item(id=str(place), text="x" * length) for place, length in enumerate(lengths)]
        return QuestionDocument(name=f"{len(lengths)}.md", items=tuple(items))

    tenth = CHARACTERS // 10
    assert [len(each.items) for each in shared_out([document(*[tenth] * 9), document(tenth)])] == [9, 1]
    long, longer, short = shared_out([document(*[tenth] * 8), document(*[tenth] * 11), document(tenth, tenth)])
    assert [len(each.items) for each in (long, longer, short)] == [4, 4, 2]
    assert [each.is_whole for each in (long, longer, short)] == [False, False, True]
    assert longer.remarks[0].startswith("only its first 4 sections are read")
    with pytest.raises(Failure, match=r"'1.md' cannot be read: its first section has 4,000,001 characters") as failed:
        shared_out([document(1, 1), document(CHARACTERS + 1)])
    assert failed.value.code == "unreadable_document"


async def test_partly_read_file_is_asked_about_and_tells_what_is_missing(running: Running) -> None:
    """As the document of a context would."""
    mail = EmailMessage()
    mail.set_content(LODGING)
    mail.add_attachment(bytes(range(256)) * 8, maintype="application", subtype="octet-stream", filename="photo.bin")
    status, told = await ask(running, body(("travel.eml", mail.as_bytes())))
    assert (status, "240" in told["response"]) == (200, True)
    assert ["photo.bin" in each for each in told["documents"][0]["remarks"]] == [True], told["documents"]


async def test_turn_keeps_names_and_cited_passages_of_files_and_nothing_else(running: Running) -> None:
    """A question after it does not have the file; nobody finds its text in a context."""
    options = {"conversationId": "c", "stream": True}
    async with running.session.post(
        running.origin + "/api/queries", json=body(("travel.docx", word()), options=options)
    ) as response:
        events = [json.loads(line[6:]) for line in (await response.text()).splitlines() if line.startswith("data: ")]
    assert events[-1]["documents"] == [{"name": "travel.docx", "items": 1, "sent": 1, "whole": 1, "remarks": []}]
    later = {"query": "What is paid for lodging in Lisbon?", "contextId": "handbook", "pipeline": "talk"}
    assert (await ask(running, later | {"options": {"conversationId": "c"}}))[0] == 200
    _, told = await running.call("GET", "/api/conversations/c")
    first, second = told["turns"]
    assert (first["files"], second["files"]) == (["travel.docx"], [])
    assert (first["contextId"], LODGING in first["contextItems"][0]["text"]) == (None, True)


async def test_same_key_with_another_document_is_another_request(running: Running) -> None:
    """And with the same one it is the same run, whole or streamed on."""
    key = {"headers": {"Idempotency-Key": "k"}}
    first = await ask(running, body(("a.md", LODGING.encode())), **key)
    assert first[0] == 200
    assert await ask(running, body(("a.md", LODGING.encode())), **key) == first
    status, told = await ask(running, body(("a.md", b"Lodging is free.")), **key)
    assert (status, told["code"]) == (422, "idempotency_key_reused")
    asked = body(("b.md", LODGING.encode()), options={"stream": True})
    async with running.session.post(running.origin + "/api/queries", json=asked) as response:
        whole = await response.text()
    id = next(line[4:] for line in whole.splitlines() if line.startswith("id: "))
    again = {"Last-Event-ID": id}
    async with running.session.post(running.origin + "/api/queries", json=asked, headers=again) as response:
        rest = [line for line in (await response.text()).splitlines() if line.startswith("data: ")]
    assert rest == [line for line in whole.splitlines() if line.startswith("data: ")][1:]


CACHED = """name: quotes
models: {main: {use: fake, to: main, cache: {expires: 1h}}}
steps:
  - gather: {use: fake}
  - prompt: chat
  - generate: main
"""


async def test_kept_answer_is_given_for_the_same_documents_alone(start: Start, fakes: Fakes) -> None:
    """Also where another one has its name."""
    running = await start(pipelines={"quotes": CACHED})
    for text, asked in ((LODGING, 1), (LODGING, 1), (LODGING.replace("240", "250"), 2)):
        assert (await ask(running, body(("a.md", text.encode()))))[0] == 200
        assert len(fakes.connectors["main"].prompts) == asked


async def test_narrow_key_asks_about_its_files_and_sees_its_turn(start: Start) -> None:
    """Whatever the front matter says of readers and tags; nothing that is hidden is found by it, or hides the turn."""
    running = await start()
    await running.store.create("handbook", readers=["group:hr"])
    await running.store.create("open")
    _, key = await ApiKeys(running.store).new("site", ("query",), contexts=["open"], tags=["public"])
    head = {"headers": {"X-Api-Key": key}}
    text = f"---\nreaders: [group:hr]\ntags: [secret]\n---\n# Travel\n\n{LODGING}\n".encode()
    asked = body(("leave", text), options={"conversationId": "c", "includeTrace": True})
    status, told = await ask(running, asked, **head)
    assert (status, "240" in told["response"]) == (200, True), told
    assert (await ask(running, asked | {"contextId": "handbook"}, **head))[0] == 404
    _, told = await running.call("GET", "/api/conversations/c", **head)
    assert [each["files"] for each in told["turns"]] == [["leave"]]
    status, _ = await running.call("POST", "/api/contexts/open/documents", data=b"x", params={"name": "a.md"}, **head)
    assert status == 403


async def test_documents_of_many_questions_are_read_a_few_at_a_time(running: Running) -> None:
    """Each is answered by its own."""
    asked = [body((f"{number}.md", LODGING.replace("240", f"24{number}").encode())) for number in range(6)]
    found = await asyncio.gather(*(ask(running, each) for each in asked))
    assert [(status, f"24{number}" in told["response"]) for number, (status, told) in enumerate(found)] == [
        (200, True)
    ] * 6


async def test_documents_go_beside_what_the_model_takes_itself(start: Start, fakes: Fakes) -> None:
    """The picture to the model, the file into the prompt as text; the turn names what has a name."""
    main = fakes.connectors["main"]
    main.model_info = evolve(
        main.model_info, capabilities=frozenset({"streaming", "files"}), window=100_000, file_tokens_at_most=1000
    )
    running = await start()
    attachment = {"data": b64encode(pdf()).decode(), "filename": "plan.pdf"}
    told = body(("a.md", LODGING.encode()), pipeline="talk", attachments=[attachment])
    status, found = await ask(running, told | {"options": {"conversationId": "c"}})
    assert status == 200, found
    parts = main.prompts[-1].messages[-1].content
    assert [type(part).__name__ for part in parts] == ["FilePart", "TextPart"]
    assert LODGING in main.prompts[-1].messages[-1].text
    _, found = await running.call("GET", "/api/conversations/c")
    assert found["turns"][0]["files"] == ["a.md", "plan.pdf"]
