"""The page in a real browser."""

from __future__ import annotations

import asyncio
import json
from math import inf
from typing import Any

import pytest
from attrs import evolve

from nexus_core import Chunk, InvalidRequestError, Item, ToolCallDelta, TruncatedError
from nexus_core.server.access.identity import Identity
from tests.server.conftest import PIPELINES

pytestmark = pytest.mark.slow

OWN = """(() => {
  const select = document.querySelector('#pipeline');
  select.value = 'own';
  select.dispatchEvent(new Event('change'));
})()"""
ANSWERED = "document.querySelector('.answer .copy') !== null"
SEEN = {
    "ask": ".answer .problem",
    "conversations": "#conversations li",
    "contexts/handbook": "#items .chip",
    "contexts/handbook/documents": "#documents-title:not(:empty)",
    "models": "#models td button",
}
"""What each address shows as its last."""


async def ask(tab: Any, question: str) -> None:
    await tab.write("#query", question)
    await tab.press("Enter")


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
    """Under the answer, one click away: what filled the window, what became of the candidates, and the attempts."""
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    assert await tab.run("document.querySelector('.answer .bar')") is None
    await tab.click(".made summary")
    await tab.until("document.querySelector('.made .bar') !== null")
    shown = await tab.text(".answer .made")
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
    await tab.click(".made summary")
    await tab.until("document.querySelector('.made').textContent.includes('main (fake-1)')")


async def test_answer_that_breaks_is_not_taken_for_whole(tab: Any, running: Any, fakes: Any) -> None:
    """What came before a failure stays, with the failure under it."""
    fakes.connectors["own"].replies = [("There are 28 ", TruncatedError("cut", provider="fake", model="fake-1"))]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until("document.querySelector('.answer .problem') !== null")
    assert "There are 28" in await tab.text(".answer")
    assert await tab.run("document.querySelector('.answer .copy')") is None


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


async def test_models_are_shown_with_their_figures(tab: Any, running: Any) -> None:
    """The view of models shows each with its window and what it has done."""
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    await tab.click("nav a[href='#models']")
    row = "[...document.querySelectorAll('#models tr')].find((row) => row.children[1]?.textContent === 'own')"
    assert await tab.until(f"{row}?.textContent.includes('100.0 %')")
    assert await tab.run("document.querySelector('nav a[aria-current]').textContent") == "Models"
    assert await tab.run(f"{row}.querySelector('[data-name=Cost]').textContent") == "unknown"


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
    for view in ("ask", "conversations", "contexts", "models"):
        await tab.run(f"location.hash = '{view}'")
        await tab.until(f"document.querySelector('#view-{view}').checkVisibility({{ visibilityProperty: true }})")
        assert await tab.run("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("size", [(1440, 900), (390, 700)], ids=str)
async def test_answer_is_shown_from_its_beginning(tab: Any, running: Any, fakes: Any, size: tuple[int, int]) -> None:
    """Each question stands at the top with its answer below, above the box; who reads elsewhere is left there."""
    fakes.connectors["own"].replies = ["A line.\n" * 80] * 2
    await tab.size(*size)
    await opened(tab, running)
    top = "[...document.querySelectorAll('{}')].at(-1).getBoundingClientRect().top"
    for question in ("How much leave?", "And trains?"):
        await ask(tab, question)
        await tab.until("!document.querySelector('#send').disabled")
        assert 0 <= await tab.run(top.format(".turn")) < 120
        assert await tab.run(f"{top.format('.md')} < {top.format('#form')}")
        assert await tab.run("document.querySelector('#form').getBoundingClientRect().bottom <= innerHeight")
    fakes.connectors["own"].replies = [[Chunk("A line.\n" * 80), inf]]
    await ask(tab, "And flights?")
    await tab.until("document.querySelector('.growing')?.textContent.includes('A line.')")
    await tab.run("window.scrollTo(0, 0)")
    await tab.press("Escape")
    await tab.until("!document.querySelector('#send').disabled")
    assert await tab.run("window.scrollY") == 0


async def test_enter_sends_and_shift_enter_breaks_the_line(tab: Any, running: Any, fakes: Any) -> None:
    """An Enter that ends the composition of a character does neither."""
    await opened(tab, running)
    await tab.write("#query", "How much")
    await tab.press("Enter", shift=True)
    await tab.send("Input.insertText", text="leave?")
    await tab.run("""document.querySelector('#query').dispatchEvent(
        new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true }))""")
    assert await tab.run("document.querySelector('#query').value") == "How much\nleave?"
    assert await tab.run("document.querySelectorAll('.answer').length") == 0
    await tab.press("Enter")
    await tab.until(ANSWERED)
    assert await tab.text(".asked") == "How much\nleave?"
    assert len(fakes.connectors["own"].prompts) == 1


async def test_model_and_system_prompt_are_the_chosen_ones(tab: Any, running: Any, fakes: Any) -> None:
    """The page offers the models of a pipeline, and a system prompt where the pipeline takes one."""
    await tab.go(running.origin + "/#ask/talk/handbook")
    await tab.until("document.querySelector('#pipeline').value === 'talk' && !document.querySelector('#system').hidden")
    await tab.run("document.querySelector('#model').value = 'spare'")
    await tab.click("#system summary")
    await tab.write("#system-prompt", "Be short.")
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    assert fakes.connectors["main"].prompts == []
    assert "Be short." in fakes.connectors["spare"].prompts[0].messages[0].content
    await tab.run(OWN)
    assert await tab.run("document.querySelector('#system').hidden") is True
    assert await tab.run("document.querySelector('#models-offered').hidden") is True


async def test_address_leads_back_to_what_is_chosen(tab: Any, running: Any) -> None:
    """What is chosen stands in the address; what an address names that is not there any more is told."""
    await tab.go(running.origin + "/#ask/quotes/handbook")
    await tab.until("document.querySelector('#pipeline').value === 'quotes'")
    await tab.run(OWN)
    assert await tab.run("location.hash") == "#ask/own/own"
    await tab.run("location.hash = '#ask/talk/gone'")
    assert "no context “gone”" in await tab.until("document.querySelector('#about .problem')?.textContent")


async def test_title_of_a_conversation_ends_before_its_buttons_on_a_phone(tab: Any, running: Any) -> None:
    """Where they are always seen, as nothing hovers there."""
    await tab.size(390, 844)
    await opened(tab, running)
    await ask(tab, "How much leave is there for whoever has begun in the middle of a year?")
    await tab.until(ANSWERED)
    await tab.run("location.hash = 'conversations'")
    await tab.until("document.querySelector('#conversations .share')?.checkVisibility({ visibilityProperty: true })")
    each = "[...document.querySelectorAll('#conversations li:first-child {}')]"
    sides = each + ".map((one) => one.getBoundingClientRect().{})"
    assert max(await tab.run(sides.format(":is(bdi, .hint)", "right"))) <= min(
        await tab.run(sides.format("button", "left"))
    )


async def test_address_is_opened_though_another_has_taken_its_place(tab: Any, running: Any) -> None:
    """What was opened before may write its own address between the one that is asked for and its event."""
    await tab.size(390, 844)
    await opened(tab, running)
    there = "{ newURL: `${location.origin}/#conversations` }"
    await tab.run(f"dispatchEvent(new HashChangeEvent('hashchange', {there}))")
    await tab.until("document.querySelector('#view-conversations').checkVisibility({ visibilityProperty: true })")


async def test_answer_is_copied_as_it_was_written(tab: Any, running: Any, fakes: Any) -> None:
    """With its marks, and not as it is drawn."""
    fakes.connectors["own"].replies = ["There are **28** days [1]."]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    await tab.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    await tab.click(".copy")
    assert await tab.until("window.copied") == "There are **28** days [1]."
    assert await tab.until("document.querySelector('.copy').textContent") == "Copied"


async def test_answer_of_many_pieces_is_drawn_by_blocks(tab: Any, running: Any, fakes: Any) -> None:
    """Ten thousand pieces: what is settled is put into the page once, and one block at most is drawn anew at a time."""
    pieces = [Chunk(f"Word {number}.\n") for number in range(10_000)]
    fakes.connectors["own"].replies = [[*pieces, Chunk(finish_reason="stop")]]
    await opened(tab, running)
    await tab.run("""(() => {
      const texts = (nodes) => [...nodes].reduce((sum, node) => sum + node.textContent.length, 0);
      window.anew = [];
      let settled = 0;
      new MutationObserver((changes) => {
        const found = changes.filter(({ target }) => target.closest(".growing"));
        const put = found.reduce((sum, { addedNodes }) => sum + texts(addedNodes), 0);
        const whole = document.querySelector(".growing")?.textContent.length ?? settled;
        window.anew.push(put - (whole - settled));
        settled = whole;
      }).observe(document.querySelector("#thread"), { childList: true, subtree: true });
    })()""")
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    assert await tab.run("Math.max(...window.anew)") <= 5_000
    assert await tab.run("document.querySelector('.answer .text').textContent.split('\\n').length") == 10_000
    said = await tab.run("[...document.querySelectorAll('#said p')].map((each) => each.textContent).join('')")
    assert said == "".join(piece.text for piece in pieces)


async def test_foreign_text_stays_text_and_in_its_place(tab: Any, start: Any, fakes: Any) -> None:
    """Markup, turned directions and endless words in names, titles, tags, answers: nothing runs, nothing overflows."""
    bad = "<script>document.title = 'x'</script>\u202ednettirw " + "W" * 300
    running = await start()
    await running.store.create("a" * 150 + "\u202e<b>", description=bad)
    item = Item(id="<i>\u202e/%2F#?", title=bad, text="leave " + bad, tags=("<u>", "t" * 150), source="\u202ecrs")
    await running.store.add("a" * 150 + "\u202e<b>", [item])
    fakes.connectors["main"].replies = [f"{bad} [1]\n```\n{bad}\n```"]
    await tab.size(390, 844)
    await tab.go(running.origin)
    await tab.run(OWN.replace("'own'", "'talk'"))
    await ask(tab, "leave")
    await tab.until(ANSWERED)
    await tab.click(".citation")
    await tab.click("#passage-whole")
    await tab.until("document.querySelector('#item').open")
    assert await tab.text("#item-title") == bad
    assert await tab.text("#item-text") == "leave " + bad
    assert await tab.run("document.querySelector('#passage').open") is False
    for address in (None, "#contexts", "#conversations", "#ask"):
        if address:
            await tab.run(f"location.hash = '{address}'")
            await tab.until(f"!document.querySelector('#view-{address[1:]}').hidden")
        assert await tab.run("document.documentElement.scrollWidth") <= 390
    assert (
        await tab.run("document.querySelectorAll('main :is(b, i, u, script), dialog :is(b, i, u, script)').length") == 0
    )
    assert await tab.run("document.title") == "Ask · ContextNexus"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_text_stands_out_from_its_ground(tab: Any, running: Any, fakes: Any, dark: bool) -> None:
    """All text has the contrast of WCAG 2.2 AA, 4.5 to 1, in every view and both lights."""
    await tab.size(1280, 800, dark=dark)
    await opened(tab, running)
    fakes.connectors["own"].replies = ["There are `28` days [1].", InvalidRequestError("no", provider="f", model="f")]
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    await ask(tab, "And trains?")
    await tab.until("document.querySelector('.answer .problem') !== null")
    for address, seen in SEEN.items():
        await tab.run(f"location.hash = '#{address}'")
        await tab.until(f"document.querySelector('{seen}') !== null")
        assert await tab.faint_texts() == [], address


async def test_a_stream_that_is_cut_is_read_on(tab: Any, running: Any, fakes: Any) -> None:
    """By the page itself, from the last event that it had; the model is asked once."""
    fake = fakes.connectors["own"]
    fake.replies = [[Chunk("There are "), 0.5, Chunk("28 days."), Chunk(finish_reason="stop")]]
    await opened(tab, running)
    await ask(tab, "How much leave?")
    await tab.until("document.querySelector('.answer')?.textContent.includes('There are')")
    [run] = running.server.runs.journal.live.values()
    run.reader.out._request.transport.abort()
    await tab.until(ANSWERED)
    assert "There are 28 days." in await tab.text(".answer .text")
    assert len(fake.prompts) == 1


async def test_answer_tells_which_tools_were_called(tab: Any, start: Any, fakes: Any) -> None:
    """By name, with what came of it and how many items it found; what was said beside the call is no answer."""
    own = fakes.connectors["own"]
    own.model_info = evolve(own.model_info, capabilities=frozenset({"streaming", "tools"}))
    call = ToolCallDelta(index=0, id="s1", name="search", arguments='{"query": "leave"}')
    own.replies = [[Chunk("Let me look."), Chunk(tool_calls=(call,)), Chunk(finish_reason="tool_calls")], "28 [101]."]
    text = PIPELINES["own"].replace("generate: main", "generate: {tools: [search]}")
    await opened(tab, await start(pipelines={"own": text.replace("  - prompt", "  - rank: bm25\n  - prompt")}))
    await ask(tab, "How much leave?")
    await tab.until(ANSWERED)
    assert "Tools called: search: ok, 1 item" in await tab.text(".answer .row")
    assert "Let me look" not in await tab.text(".answer")
    assert await tab.text(".answer .citation") == "101"
