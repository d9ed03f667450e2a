"""What is around a question on the page, in a real browser: examples, files, sources, the sidebar, rights."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from nexus_core import Chunk, FilePart, Item
from nexus_core.contract.prompts import PackedItem
from nexus_core.server.access.identity import Identity
from tests.server.page.test_browser import ANSWERED, ask, opened

pytestmark = pytest.mark.slow

PDF = b"%PDF-1.4\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF\n"
DROP = """(([name, type, text]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([text], name, { type }));
  const drop = new DragEvent("drop", { dataTransfer, cancelable: true, bubbles: true });
  document.querySelector("#view-ask").dispatchEvent(drop);
})"""
FILE = "#attached .chip"


async def ready(tab: Any, running: Any, pipeline: str = "talk") -> None:
    """Open a pipeline that asks the context, with its examples."""
    await tab.go(f"{running.origin}/#ask/{pipeline}/handbook")
    await tab.until("document.querySelector('#examples li') !== null")


async def reopen(tab: Any) -> None:
    """Leave the page, and open its address anew."""
    address = await tab.run("location.href")
    await tab.send("Page.navigate", url="about:blank")  # answered once the old page is gone
    await tab.go(address)


async def test_examples_are_asked_by_a_click(tab: Any, running: Any, fakes: Any) -> None:
    """They are made of titles in the context; chips choose another context, with examples of its own."""
    await running.store.create("house")
    await running.store.add("house", [Item(id="roof", title="The roof", text="It is flat.")])
    await ready(tab, running)
    assert "“Leave”" in await tab.text("#examples li")
    await tab.run("[...document.querySelectorAll('#chips .chip')].find((each) => each.textContent === 'house').click()")
    await tab.until("document.querySelector('#examples').textContent.includes('The roof')")
    assert await tab.text("#chips [aria-pressed=true]") == "house"
    assert await tab.run("location.hash") == "#ask/talk/house"
    await tab.click(".example")
    await tab.until(ANSWERED)
    assert await tab.text(".asked") == "What does “The roof” say?"
    assert await tab.run("document.querySelector('#begin').checkVisibility()") is False


async def test_no_context_is_asked_by_accident(tab: Any, running: Any) -> None:
    """Of several none is chosen but the one that was asked last in this browser, by whoever asks; a lone one is."""
    chosen = "document.querySelector('#context').value"
    await tab.go(running.origin)
    await tab.until(f"{chosen} === 'handbook'")
    await running.store.create("house")
    await running.store.add("house", [Item(id="roof", title="The roof", text="It is flat.")])
    await tab.run("localStorage.setItem('nexus.context.somebody else', 'house')")
    await tab.send("Page.navigate", url="about:blank")
    await tab.go(running.origin)
    await tab.until("document.querySelector('#about')?.textContent.includes('Choose which context')")
    assert (await tab.run(chosen), await tab.run("document.querySelectorAll('#chips [aria-pressed=true]').length")) == (
        "",
        0,
    )
    await ask(tab, "Leave?")
    assert (await tab.run("document.activeElement.id"), await tab.text(".asked")) == ("context", "")
    await tab.run("[...document.querySelectorAll('#chips .chip')].find((each) => each.textContent === 'house').click()")
    await tab.run("document.querySelector('#form').requestSubmit()")
    await tab.until(ANSWERED)
    assert await tab.run("[...document.querySelector('#context').options].map(({ value }) => value)") == [
        "handbook",
        "house",
    ]
    await tab.send("Page.navigate", url="about:blank")
    await tab.go(running.origin)
    await tab.until(f"{chosen} === 'house'")
    await running.store.delete("house")
    await running.store.create("office")
    await tab.send("Page.navigate", url="about:blank")
    await tab.go(running.origin)
    await tab.until("document.querySelector('#about')?.textContent.includes('Choose which context')")


async def test_context_of_an_address_is_the_one_that_is_pressed(tab: Any, running: Any) -> None:
    """The chips and the words in the field name what is asked, and no other context."""
    await running.store.create("attic")  # the first of the list
    await ready(tab, running)
    assert await tab.text("#chips [aria-pressed=true]") == "handbook"
    assert await tab.run("document.querySelector('#query').placeholder") == "Ask about handbook"


async def test_dropped_file_is_asked_about_once(
    tab: Any, start: Any, handbook: Path, tmp_path: Path, fakes: Any
) -> None:
    """It goes with the next question, and with no other."""
    main = fakes.connectors["main"]
    takes = frozenset({"streaming", "files"})
    main.model_info = evolve(main.model_info, capabilities=takes, file_tokens_at_most=50)
    shutil.copytree(handbook, tmp_path / "store")
    running = await start()
    await ready(tab, running)
    await tab.run(f"{DROP}(['report.pdf', 'application/pdf', {PDF.decode()!r}])")
    await tab.until(f"document.querySelector('{FILE}')?.textContent.includes('shown to the model')")
    await ask(tab, "What is in it?")
    await tab.until(ANSWERED)
    assert "report.pdf" in await tab.text(".turn")
    contents = [message.content for message in main.prompts[0].messages]
    parts = [part for content in contents if not isinstance(content, str) for part in content]
    assert [part.data for part in parts if isinstance(part, FilePart)] == [PDF]
    assert await tab.run(f"document.querySelector('{FILE}')") is None
    await ask(tab, "And now?")
    await tab.until("document.querySelectorAll('.copy').length === 2")
    assert isinstance(main.prompts[1].messages[-1].content, str)


async def test_dropped_document_is_added_where_the_key_may(tab: Any, running: Any) -> None:
    """By a button at it; then it may be asked about again and again."""
    await ready(tab, running)
    await tab.run(f"{DROP}(['parking.txt', 'text/plain', 'Parking is free on Sundays.'])")
    await tab.until(f"document.querySelector('{FILE}')?.textContent.includes('read as text')")
    label = await tab.run(f"document.querySelector('{FILE} .link').ariaLabel")
    assert label == "Add to handbook: parking.txt"  # of several files each button says which one it is of
    await tab.click(f"{FILE} .link")
    await tab.until(f"document.querySelector('{FILE}')?.textContent.includes('is in handbook: ask about it')")
    _, told = await running.call("GET", "/api/contexts/handbook/documents")
    assert [each["name"] for each in told["documents"]] == ["parking.txt"]


async def test_what_a_key_may_not_do_is_not_shown(tab: Any, start: Any, handbook: Path, tmp_path: Path) -> None:
    """With a key that may ask and read; a file is added nowhere, and a picture that no model takes is refused."""

    async def verify(key: str) -> Identity | None:
        return Identity(owner="ann", scopes=frozenset({"query", "read"})) if key == "right" else None

    shutil.copytree(handbook, tmp_path / "store")
    running = await start(verify=verify)
    await tab.send("Page.navigate", url=f"{running.origin}/#ask/talk/handbook")
    await tab.until("document.querySelector('#key-dialog')?.open === true")
    await tab.write("#key", "right")
    await tab.press("Enter")
    await tab.until("document.body.classList.contains('not-admin')")
    await tab.run(f"{DROP}(['parking.txt', 'text/plain', 'Parking is free.'])")
    assert "read as text" in await tab.until(f"document.querySelector('{FILE}')?.textContent")
    assert await tab.run(f"document.querySelector('{FILE} .link')") is None
    await tab.run(f"{DROP}(['plan.png', 'image/png', 'PNG'])")
    assert "no model here takes it" in await tab.until(f"document.querySelectorAll('{FILE}')[1]?.textContent")
    for address, seen in (
        ("contexts/handbook/documents", "#documents-title:not(:empty)"),
        ("contexts/handbook/items/leave", "#item[open]"),
        ("models", "#models td"),
    ):
        await tab.run(f"location.hash = '#{address}'")
        await tab.until(f"document.querySelector('{seen}') !== null")
        shown = "[...document.querySelectorAll('.for-admin')].filter((each) => each.checkVisibility()).length"
        assert await tab.run(shown) == 0, address
    assert (await running.call("GET", "/api/identity"))[0] == 401


async def test_a_key_that_may_not_read_is_shown_no_question(tab: Any, start: Any) -> None:
    """It may ask over HTTP; the page, which reads what there is to ask, tells what the key lacks."""

    async def verify(key: str) -> Identity | None:
        return Identity(owner="ann", scopes=frozenset({"query"})) if key == "right" else None

    running = await start(verify=verify)
    await tab.send("Page.navigate", url=running.origin)
    await tab.until("document.querySelector('#key-dialog')?.open === true")
    await tab.write("#key", "right")
    await tab.press("Enter")
    await tab.until("document.body.classList.contains('not-read')")
    assert "'read'" in await tab.text("#about .problem")
    for part in ("form", "fresh", "begin"):
        assert not await tab.run(f"document.querySelector('#{part}').checkVisibility()"), part


async def test_cited_sentence_is_marked_in_its_document(tab: Any, running: Any, fakes: Any) -> None:
    """Among the other pages: the sentence that the words before the citation are closest to."""
    pages = [
        Item(
            id=f"pay.pdf#{page}",
            title="Pay",
            text=f"Salaries of grade {page} are paid monthly. The bonus of grade {page} comes in March. Ask us.",
            source="pay.pdf",
            metadata={"page": page},
        )
        for page in (1, 2, 3)
    ]
    await running.store.add("handbook", pages)
    fakes.connectors["main"].replies = ["Nobody waits. A bonus is there in March [1]."]
    await ready(tab, running)
    await ask(tab, "When does the bonus of grade 2 come?")
    await tab.until(ANSWERED)
    assert "Pay" in await tab.text(".source")
    page = (await tab.text(".source")).rpartition("page ")[2]
    await tab.run("document.querySelector('.citation').focus()")
    await tab.press("Enter")
    await tab.until("document.querySelectorAll('#passage-text .page').length === 3")
    assert await tab.text("#passage-text mark") == f"The bonus of grade {page} comes in March."
    place = "document.querySelector('mark').getBoundingClientRect()"
    assert await tab.run(f"{place}.top >= 0 && {place}.bottom <= innerHeight")


async def test_citation_shows_its_passage_under_the_pointer(tab: Any, running: Any, fakes: Any) -> None:
    """And goes when the pointer leaves, and by Escape."""
    fakes.connectors["own"].replies = ["There are 28 days [1]."]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    at = await tab.run("(({ x, y }) => [x + 5, y + 5])(document.querySelector('.citation').getBoundingClientRect())")
    await tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
    await tab.until("!document.querySelector('#preview').hidden")
    assert "Everybody has 28 days of leave." in await tab.text("#preview")
    await tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
    await tab.until("document.querySelector('#preview').hidden")
    await tab.press("Escape")
    await tab.press("Tab")
    await tab.until("document.activeElement.matches('button, a, select, textarea, summary, input')")


async def test_sources_are_shown_before_the_answer(tab: Any, running: Any, fakes: Any) -> None:
    """With the model that is asked; when the answer is there, those that it cites alone."""
    fakes.connectors["main"].replies = [[1.5, Chunk("There are 28 days [1]."), Chunk(finish_reason="stop")]]
    await ready(tab, running)
    await ask(tab, "leave trains flights")
    await tab.until("document.querySelector('.source') !== null")
    assert await tab.text(".state") == "Asking main (fake-1) …"
    assert await tab.run("document.querySelectorAll('.source').length") == 3
    assert await tab.text(".md") == ""
    await tab.until(ANSWERED)
    assert await tab.run("document.querySelectorAll('.source').length") == 1
    assert await tab.text(".state") == ""


async def test_answer_is_rated(tab: Any, running: Any) -> None:
    """By a thumb, which is pressed also after a reload; a second press takes it back."""
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    pressed = "[...document.querySelectorAll('.thumb')].map((each) => each.getAttribute('aria-pressed')).join()"
    assert await tab.run(pressed) == "false,false"
    await tab.click(".thumb.down")
    await tab.until(f"{pressed} === 'false,true'")
    await tab.until("location.hash.split('/').length === 4")
    await reopen(tab)
    await tab.until(f"{pressed} === 'false,true'")
    (talk,) = await running.store.conversations.list()
    assert [turn.rating for turn in await running.store.conversations.turns(talk.id)] == ["down"]
    await tab.click(".thumb.down")
    await tab.until(f"{pressed} === 'false,false'")


SAVED = """{
  URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return "#"; };
  HTMLAnchorElement.prototype.click = function () { window.called = this.download; };
}"""


async def test_conversations_are_found_and_saved(tab: Any, running: Any) -> None:
    """The sidebar finds them by words of titles, questions and answers, shows where, and saves one as a file."""
    for number in range(9):
        told = {
            "query": f"Question {number}?",
            "answer": "**Yes** [1]." + " <i>Ärzte</i> too" * (number == 4),
            "model": "main",
            "run_id": f"{number}",
        }
        await running.store.conversations.add(f"c{number}", **told)
    await tab.size(1440, 900)
    await ready(tab, running)
    await tab.until("document.querySelectorAll('#conversations li').length === 9")
    shown = "[...document.querySelectorAll('#conversations bdi')].map((each) => each.textContent).join()"
    for words, title, excerpt in (("i>ärzte", "Question 4?", "**Yes** [1]. <i>Ärzte</i> too"), ("none of it", "", ""),
                                  ("question 7", "Question 7?", "")):  # fmt: skip
        await tab.run("document.querySelector('#conversation-words').select()")
        await tab.write("#conversation-words", words)
        await tab.until(f"{shown} === {json.dumps(title)}")
        assert await tab.text("#conversations .excerpt") == excerpt
        for dark in (False, True):
            await tab.size(1440, 900, dark=dark)
            assert await tab.faint_texts() == []
    assert await tab.text("#conversations .excerpt mark") == ""
    await tab.run(SAVED)
    await tab.click("#conversations .export")
    text = await tab.until("window.saved")
    seen = re.sub("^<!-- .* -->\n", "", text, flags=re.MULTILINE)
    assert seen == "# Question 7?\n\n## Question 7?\n\n**Yes** [1].\n\n"
    assert await tab.run("window.called") == "Question 7.md"


async def test_rating_is_told_why(tab: Any, running: Any) -> None:
    """In a field that a thumb opens; what is written is kept with the answer, changed, and goes with the thumb."""
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    seen = "document.querySelector('.why').checkVisibility()"
    assert await tab.run(seen) is False
    await tab.click(".thumb.down")
    await tab.until(seen)
    (talk,) = await running.store.conversations.list()

    async def kept() -> tuple[Any, Any]:
        (turn,) = await running.store.conversations.turns(talk.id)
        return turn.rating, turn.comment

    assert await kept() == ("down", None)
    await tab.write(".why input", "Of <b>last</b> year")
    await tab.press("Enter")
    await tab.until("document.querySelector('.why button').textContent === 'Kept'")
    assert await kept() == ("down", "Of <b>last</b> year")
    await tab.until("location.hash.split('/').length === 4")
    await reopen(tab)
    await tab.until("document.querySelector('.why')?.textContent === 'Why: Of <b>last</b> year'")
    await tab.click(".why button")
    assert await tab.run("document.activeElement === document.querySelector('.why input')")
    assert await tab.run("document.activeElement.value") == "Of <b>last</b> year"
    await tab.click(".thumb.up")
    await tab.until("document.querySelector('.thumb.up').getAttribute('aria-pressed') === 'true'")
    assert await kept() == ("up", "Of <b>last</b> year")
    await tab.click(".thumb.up")
    await tab.until(f"!{seen}")
    assert await kept() == (None, None)
    assert await tab.run("document.querySelector('.why input')") is None
    await running.store.conversations.delete(talk.id)
    await tab.click(".thumb.up")
    assert "no conversation" in await tab.until("document.querySelector('.answer .state .problem')?.textContent")


async def test_saved_conversation_is_imported_as_it_was(tab: Any, running: Any, tmp_path: Path) -> None:
    """Whatever its texts; another file is refused with its line, and changes nothing."""
    talks = running.store.conversations
    odd = "<!-- x answer -->\n## ü \U0001f6f6 --> <b>\r\n\n"
    items = [
        PackedItem(number=1, item=Item(id="a", title="<b>", text=odd, source="s"), text=f"{odd}\u2028x", score=0.5)
    ]
    for number in range(2):
        told = {"query": f"{number} {odd}", "answer": f"{odd}[1] {number}", "model": "main", "run_id": f"r{number}"}
        await talks.add_turn(None, "monday", contexts=["handbook"], items=items[number:], **told)
    await talks.rename("monday", "Leave --> <i>")
    await talks.rate("monday", "r1", "down", comment="Why --> this?")
    before = await talks.turns("monday")
    await tab.size(1440, 900)
    await ready(tab, running)
    await tab.until("document.querySelector('#conversations .export') !== null")
    await tab.run(SAVED)
    await tab.click("#conversations .export")
    saved = await tab.until("window.saved")
    assert "\n[1] <b>\n\n> <!-- x answer -->\n> ## ü" in saved
    (tmp_path / "saved.md").write_text(saved, "utf-8", newline="")
    (tmp_path / "notes.md").write_text("# Notes\n")
    await talks.delete("monday")
    await tab.attach("#import", tmp_path / "saved.md", tmp_path / "notes.md")
    said = await tab.until("document.querySelectorAll('#conversations-said p').length === 2 && "
                           "document.querySelector('#conversations-said').innerText")  # fmt: skip
    assert "saved.md: 1 conversation imported." in said
    assert "notes.md: nothing imported. line 1 is no JSON" in said
    assert await tab.text("#conversations a bdi") == "Leave --> <i>"
    after = await talks.turns("monday")
    told_of = [[evolve(turn, time=0.0) for turn in each] for each in (before, after)]
    assert (told_of[0], [len(turn.passages) for turn in after]) == (told_of[1], [1, 0])
    assert [round(turn.time, 2) for turn in before] == [round(turn.time, 2) for turn in after]
    await tab.attach("#import", tmp_path / "saved.md")
    await tab.until("document.querySelector('#conversations-said').textContent.includes('1 was there already')")
    assert len(await talks.list()) == 1


async def test_sidebar_of_a_phone_stands_behind_a_button(tab: Any, running: Any) -> None:
    """Out of reach of the keyboard while it is closed; Escape gives the focus back."""
    await tab.size(390, 844)
    await ready(tab, running)
    visible = "document.querySelector('#fresh').checkVisibility({ visibilityProperty: true })"
    assert await tab.run(visible) is False
    await tab.click("#menu")
    await tab.until(visible)
    assert await tab.run("document.querySelector('#menu').getAttribute('aria-expanded')") == "true"
    await tab.press("Escape")
    await tab.until(f"!{visible}")
    assert await tab.run("document.activeElement.id") == "menu"
