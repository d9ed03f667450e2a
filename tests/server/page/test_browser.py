"""The page in a real browser."""

from __future__ import annotations

import asyncio
import json
from math import inf
from pathlib import Path
from typing import Any

from nexus_core import Chunk, InvalidRequestError, TruncatedError
from nexus_core.server.identity import Identity

OWN = """(() => {
  const select = document.querySelector('#pipeline');
  select.value = 'own';
  select.dispatchEvent(new Event('change'));
})()"""
ANSWERED = "document.querySelector('.answer button.small') !== null"


async def ask(tab: Any, question: str) -> None:
    await tab.write("#query", question)
    await tab.press("Enter", ctrl=True)


async def opened(tab: Any, running: Any) -> None:
    await tab.go(running.origin)
    await tab.run(OWN)


async def test_page_shows_an_answer_while_it_comes(tab: Any, running: Any, fakes: Any) -> None:
    """The first words are there while the rest is not yet."""
    fakes.connectors["own"].replies = [[Chunk("There are "), inf]]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until("document.querySelector('.answer')?.textContent.includes('There are')")
    assert await tab.run("document.querySelector('#send').disabled") is True
    await tab.press("Escape")
    assert await tab.until("!document.querySelector('#send').disabled")


async def test_escape_ends_an_answer(tab: Any, running: Any, fakes: Any) -> None:
    """Escape closes the stream through to the model, and the page says that the answer is not whole."""
    fake = fakes.connectors["own"]
    fake.replies = [[Chunk("There are "), inf]]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until("document.querySelector('.answer')?.textContent.includes('There are')")
    await tab.press("Escape")
    await tab.until("document.querySelector('.answer').textContent.includes('not complete')")
    async with asyncio.timeout(10):
        while fake.running:  # noqa: ASYNC110 - the fake counts and has no event
            await asyncio.sleep(0.01)
    assert await tab.run("document.querySelector('#query').value") == "How much leave?"


async def test_citation_opens_what_it_cites(tab: Any, running: Any, fakes: Any) -> None:
    """A citation is a button, and the passage that it opens is the one that was sent."""
    fakes.connectors["own"].replies = ["There are 28 days [1], not 30 [7]."]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    assert await tab.run("document.querySelectorAll('.citation').length") == 1
    assert "not 30 [7]." in await tab.text(".answer")
    await tab.click(".citation")
    assert await tab.until("document.querySelector('#passage').open")
    assert await tab.text("#passage-text") == "Everybody has 28 days of leave."
    await tab.press("Escape")
    assert await tab.until("!document.querySelector('#passage').open")


async def test_window_and_attempts_are_shown(tab: Any, running: Any) -> None:
    """Beside the answer stands what filled the window, what became of the candidates, and the attempts."""
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    shown = await tab.text("#aside")
    for said in ("Reserved for the answer", "4,096", "Leave", "kept", "main (fake-1)", "7 tokens in, 3 out"):
        assert said in shown
    assert "Window of 4,096 tokens" in await tab.run("document.querySelector('.bar').ariaLabel")


async def test_failure_is_shown_with_what_to_do(tab: Any, running: Any, fakes: Any) -> None:
    """A run that fails is told as text, and the question is kept to be sent again."""
    fakes.connectors["own"].replies = [InvalidRequestError("no such thing", provider="fake", model="fake-1")]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until("document.querySelector('.answer .problem') !== null")
    assert await tab.run("document.querySelector('#query').value") == "How much leave?"
    assert "request " in await tab.text(".answer .problem")
    assert "main (fake-1)" in await tab.text("#aside")


async def test_answer_that_breaks_is_not_taken_for_whole(tab: Any, running: Any, fakes: Any) -> None:
    """What came before a failure stays, with the failure under it."""
    fakes.connectors["own"].replies = [("There are 28 ", TruncatedError("cut", provider="fake", model="fake-1"))]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until("document.querySelector('.answer .problem') !== null")
    assert "There are 28" in await tab.text(".answer")
    assert await tab.run("document.querySelector('.answer button.small')") is None


async def test_markup_in_answers_is_shown_as_text(tab: Any, running: Any, fakes: Any) -> None:
    """What a model writes is text, whatever it looks like."""
    fakes.connectors["own"].replies = [
        "<img src=x onerror=alert(1)> **bold <b>x</b>** `<i>`\n```\n<script>1</script>\n```"
    ]
    await opened(tab, running)
    await ask(tab, "<u>How</u>?")
    await tab.until(ANSWERED)
    assert await tab.run("document.querySelectorAll('.thread :is(img, b, i, u, script)').length") == 0
    assert "<script>1</script>" in await tab.text(".answer pre")
    assert await tab.text(".asked") == "<u>How</u>?"


async def test_page_asks_for_a_key_and_keeps_it_in_the_tab(tab: Any, start: Any) -> None:
    """Where a key is needed the page asks for it, once for all requests, again where it is wrong, and then works."""

    async def verify(key: str) -> Identity | None:
        return Identity(owner="ann", scopes=frozenset({"query", "read"})) if key == "right" else None

    running = await start(verify=verify)
    await tab.go(running.origin)
    await tab.until("document.querySelector('#key-dialog').open")
    await tab.write("#key", "wrong")
    await tab.press("Enter")
    await tab.until("document.querySelector('#key-why').textContent.includes('not valid')")
    await tab.write("#key", "right")
    await tab.press("Enter")
    await tab.until("document.querySelector('#pipeline option') !== null")
    await tab.run(OWN)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    await tab.click("#change-key")
    await tab.press("Escape")
    assert await tab.until("!document.querySelector('#key-dialog').open && sessionStorage.length === 1")
    assert await tab.run("localStorage.length") == 0
    assert await tab.run("document.cookie") == ""
    assert not any("right" in address for address in tab.requested)


async def test_page_asks_no_other_host(tab: Any, running: Any) -> None:
    """All that the page loads comes from its own server."""
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    assert {address for address in tab.requested if not address.startswith(running.origin)} <= {"about:blank"}


async def test_events_are_the_same_in_every_cut(tab: Any, running: Any) -> None:
    """The bytes of a stream may come in any pieces, cut inside a letter or the end of a line (faults 41 to 44)."""
    await opened(tab, running)
    found = await tab.run("""(async () => {
      const { events } = await import("/page/sse.js");
      const text = "\\uFEFFdata: é\\u2028\\r\\ndata:b\\r\\n\\r\\n: ping\\n\\ndata: {}\\r\\rdata: half";
      const bytes = new TextEncoder().encode(text);
      const seen = new Set();
      for (let first = 0; first <= bytes.length; first++) for (let second = first; second <= bytes.length; second++) {
        const pieces = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
        const stream = new ReadableStream({ start(to) { pieces.forEach((piece) => to.enqueue(piece)); to.close(); } });
        const told = [];
        for await (const event of events(stream)) told.push(event);
        seen.add(JSON.stringify(told));
      }
      return [...seen];
    })()""")
    assert [json.loads(told) for told in found] == [["é\u2028\nb", "{}"]]


async def test_context_is_made_filled_and_asked(tab: Any, running: Any, tmp_path: Path) -> None:
    """A new context, a document uploaded to it, found in it, opened, and quoted by an answer."""
    document = tmp_path / "canteen.md"
    document.write_text("# Canteen\n\nThe canteen opens at noon.\n")
    await tab.go(running.origin)
    await tab.click("nav a[href='#contexts']")
    await tab.until("document.querySelector('#contexts').textContent.includes('handbook')")
    await tab.write("#name", "house")
    await tab.press("Enter")
    await tab.until("document.querySelector('#opened-name').textContent === 'house'")
    await tab.attach("#files", document)
    assert "canteen.md: items: 1 new" in await tab.until(
        "document.querySelector('#items button') && document.querySelector('#uploads').textContent"
    )
    await tab.write("#words", "canteen noon")
    await tab.press("Enter")
    await tab.until("document.querySelector('#items').textContent.includes('relevance')")
    await tab.click("#items button")
    assert "opens at noon" in await tab.text("#passage-text")
    await tab.press("Escape")
    await tab.click("nav a[href='#ask']")
    await tab.until("[...document.querySelectorAll('#context option')].some((each) => each.value === 'house')")
    await tab.run("document.querySelector('#context').value = 'house'")
    await ask(tab, "When does the canteen open?")
    await tab.until(ANSWERED)
    assert "noon" in await tab.text(".answer")


async def test_documents_are_dropped(tab: Any, running: Any) -> None:
    """Files dropped on the page go to the context that is open; one that cannot be read is told with its reason."""
    await tab.go(running.origin + "/#contexts")
    await tab.until("document.querySelector('#contexts button') !== null")
    await tab.click("#contexts button")
    await tab.until("document.querySelectorAll('#items li').length === 3")
    await tab.run("""(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["Parking is free."], "parking.txt"));
      dataTransfer.items.add(new File([new Uint8Array([0, 1, 2, 255, 0])], "noise.txt"));
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
    })()""")
    await tab.until("document.querySelectorAll('#items li').length === 4")
    assert "parking.txt: items: 1 new" in await tab.text("#uploads")
    assert await tab.run("document.querySelectorAll('#uploads .problem').length") == 1


async def test_conversation_goes_on(tab: Any, running: Any, fakes: Any) -> None:
    """Questions of a thread are one conversation, which is listed and can be taken up again; a new one begins empty."""
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    await ask(tab, "And trains?")
    await tab.until("document.querySelectorAll('.answer button.small').length === 2")
    messages = [message.content for message in fakes.connectors["own"].prompts[1].messages]
    assert any("How much leave?" in content for content in messages[:-1])
    await tab.until("document.querySelector('#conversation').selectedOptions[0].textContent.includes('2 asked')")
    await tab.click("#fresh")
    assert await tab.run("document.querySelectorAll('.answer').length") == 0
    await tab.run("""(() => {
      const select = document.querySelector("#conversation");
      select.selectedIndex = 1;
      select.dispatchEvent(new Event("change"));
    })()""")
    await tab.until("document.querySelectorAll('.answer').length === 2")


async def test_models_are_shown_with_their_figures(tab: Any, running: Any) -> None:
    """The view of models shows each with its window and what it has done."""
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    await tab.click("nav a[href='#models']")
    row = "[...document.querySelectorAll('#models tr')].find((row) => row.textContent.includes('own'))"
    assert await tab.until(f"{row}?.textContent.includes('100.0 %')")
    assert await tab.run("document.querySelector('nav a[aria-current]').textContent") == "Models"


async def test_page_is_used_by_keyboard_alone(tab: Any, running: Any) -> None:
    """The first Tab reaches the link over the navigation, and every field and button has a name."""
    await opened(tab, running)
    await tab.press("Tab")
    assert await tab.run("document.activeElement.className") == "skip"
    nameless = "[...document.querySelectorAll('input, select, textarea')].filter((one) => !one.labels.length).length"
    assert await tab.run(nameless) == 0


async def test_focus_stays_where_work_goes_on(tab: Any, running: Any, fakes: Any) -> None:
    """After the button Stop, which goes away, the focus is in the field of the question."""
    fakes.connectors["own"].replies = [[Chunk("There are "), inf]]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until("document.querySelector('.answer')?.textContent.includes('There are')")
    await tab.run("document.querySelector('#stop').focus()")
    await tab.press("Enter")
    await tab.until("document.querySelector('#stop').hidden")
    assert await tab.until("document.activeElement.id === 'query'")
    assert await tab.text("#said") == "Stopped."


async def test_page_fits_a_phone(tab: Any, running: Any) -> None:
    """At 390 pixels nothing is wider than the screen, in any view."""
    await tab.size(390, 844)
    await opened(tab, running)
    await ask(tab, "How much leave? " + "x" * 300)
    await tab.until(ANSWERED)
    for view in ("ask", "contexts", "models"):
        await tab.run(f"location.hash = '{view}'")
        await tab.until(f"!document.querySelector('#view-{view}').hidden")
        assert await tab.run("document.documentElement.scrollWidth") <= 390
