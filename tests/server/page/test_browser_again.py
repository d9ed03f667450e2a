"""Asking again on the page, in a real browser: the new answer stands in the place of the old one, which is kept."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core import ModelNotFoundError
from tests.server.page.test_browser import ask

pytestmark = pytest.mark.slow

SHOWN = "[...document.querySelectorAll('#thread .asked, #thread .answer .md')].map((each) => each.textContent)"


async def begun(tab: Any, running: Any, fakes: Any, *replies: Any) -> None:
    """Ask two questions of a conversation."""
    fakes.connectors["own"].replies = replies
    await tab.go(running.origin + "/#ask/own/own")
    await tab.until("document.querySelector('#pipeline').value === 'own'")
    for count, query in enumerate(("Leave?", "Trains?"), 1):
        await ask(tab, query)
        await tab.until(f"document.querySelectorAll('.again').length === {count}")


def is_shown(*texts: str) -> str:
    return f"JSON.stringify({SHOWN}) === JSON.stringify({list(texts)!r})"


async def test_the_new_answer_stands_in_the_place_of_the_old_one(tab: Any, running: Any, fakes: Any) -> None:
    """Asked again as it was, and edited; arrows lead to what was answered before, also in a page opened anew."""
    await begun(tab, running, fakes, "One.", "Two.", "Anew.", "Edited.")
    await tab.click(".again")
    await tab.until(is_shown("Leave?", "Anew."))
    await tab.until("document.querySelector('.answer .foot .row')?.textContent.includes('2 of 2')")
    sent = [message.content for message in fakes.connectors["own"].prompts[2].messages]
    assert not any("Two." in each or "One." in each for each in sent)
    await tab.click(".edit")
    assert await tab.run("document.querySelector('#editing').checkVisibility()")
    assert await tab.run("document.querySelector('#query').value") == "Leave?"
    await tab.write("#query", " In weeks?")
    await tab.press("Enter")
    await tab.until(is_shown("Leave? In weeks?", "Edited."))
    address = await tab.until("location.hash.split('/').length === 4 && location.href")
    await tab.send("Page.navigate", url="about:blank")
    await tab.go(address)
    await tab.until("document.querySelector('#thread > .hint') !== null")
    assert await tab.run(is_shown("Leave? In weeks?", "Edited."))
    for count, shown in ((2, ["Leave?", "Anew."]), (1, ["Leave?", "One.", "Trains?", "Two."])):
        await tab.click(".step:enabled")
        await tab.until(is_shown(*shown))
        assert f"{count} of 3" in await tab.text(".answer .foot .row")
        await tab.until("document.activeElement.classList.contains('step')")


async def test_questions_go_on_from_the_version_that_is_shown(tab: Any, running: Any, fakes: Any) -> None:
    """With what had followed it, which is there again in a page opened anew; what followed another is not told."""
    await begun(tab, running, fakes, "One.", "Two.", "Anew.", "Other.", "On.")
    await tab.click(".again")
    await tab.until(is_shown("Leave?", "Anew."))
    await tab.until("document.querySelector('.answer .step') !== null && !document.querySelector('#send').disabled")
    await ask(tab, "Cars?")
    await tab.until(is_shown("Leave?", "Anew.", "Cars?", "Other."))
    await tab.until("!document.querySelector('#send').disabled")
    await tab.click(".step:enabled")
    await tab.until(is_shown("Leave?", "One.", "Trains?", "Two."))
    await tab.until("document.activeElement.classList.contains('step')")
    await tab.run("document.querySelector('.thumb.up').click()")
    await tab.until("document.querySelector('.thumb.up').ariaPressed === 'true'")
    await ask(tab, "Ships?")
    await tab.until(is_shown("Leave?", "One.", "Trains?", "Two.", "Ships?", "On."))
    sent = " ".join(str(message.content) for message in fakes.connectors["own"].prompts[-1].messages)
    assert [word in sent for word in ("One.", "Two.", "Anew.", "Other.")] == [True, True, False, False]
    address = await tab.until("location.hash.split('/').length === 4 && location.href")
    await tab.send("Page.navigate", url="about:blank")
    await tab.go(address)
    await tab.until(is_shown("Leave?", "One.", "Trains?", "Two.", "Ships?", "On."))


async def test_the_old_answer_is_there_where_the_new_one_fails(tab: Any, running: Any, fakes: Any) -> None:
    """Until it succeeds; what was written over the old question is in the field, and can be left."""
    down = ModelNotFoundError("is down")
    await begun(tab, running, fakes, "One.", "Two.", down)
    await tab.click(".edit")
    await tab.write("#query", " Really?")
    await tab.press("Enter")
    await tab.until("document.querySelector('#thread .problem') !== null")
    await tab.until(is_shown("Leave?", "One.", "", "Trains?", "Two."))
    assert await tab.run("document.querySelector('#query').value") == "Leave? Really?"
    assert await tab.run("document.querySelector('#editing').checkVisibility()")
    await tab.press("Escape")
    assert await tab.run("document.querySelector('#query').value") == ""
    assert await tab.run("document.querySelector('#editing').checkVisibility()") is False
    (listed,) = (await running.call("GET", "/api/conversations"))[1]["conversations"]
    _, told = await running.call("GET", f"/api/conversations/{listed['id']}")
    assert [(turn["response"], turn["version"]) for turn in told["turns"]] == [("One.", 1), ("Two.", 1)]
