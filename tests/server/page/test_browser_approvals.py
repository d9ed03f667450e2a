"""The page in a real browser, before a tool changes something."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.page.test_browser import ANSWERED, ask, opened
from tests.server.test_approvals import BOOKED, pipelines, serving
from tests.server.test_runs import until

if TYPE_CHECKING:
    from tests.server.conftest import Start

__all__ = ["serving"]

pytestmark = pytest.mark.slow

ASKS = "document.querySelector('#approval[open]') !== null"
SHOWN = "document.querySelector('#approval-text')?.textContent ?? ''"


async def until_asked(tab: Any, about: str) -> None:
    await tab.until(f"({SHOWN}).includes({about!r})")


async def test_the_page_asks_about_each_call_by_keyboard(tab: Any, start: Start) -> None:
    """The focus is on Refuse; Tab and Enter reach Agree; the dialog has a name and a description for screen readers."""
    await opened(tab, await start(pipelines=pipelines()))
    await ask(tab, "Book.")
    await until_asked(tab, '"day": 3')
    assert BOOKED == []
    assert await tab.text("#approval-title") == "Let the model call book?"
    assert "Book a table." in await tab.text("#approval-about")
    named = await tab.run(
        "(({role, attributes}) => [role, ...['labelledby', 'describedby'].map((name) => "
        "attributes[`aria-${name}`].value.split(' ').every((id) => document.getElementById(id).textContent))])"
        "(document.querySelector('#approval'))"
    )
    assert named == ["alertdialog", True, True]
    assert await tab.faint_texts() == []
    assert await tab.run("document.activeElement.textContent") == "Refuse"
    await tab.press("Enter")
    await until_asked(tab, '"day": 4')
    await tab.press("Tab")
    assert await tab.run("document.activeElement.textContent") == "Agree"
    await tab.press("Enter")
    await tab.until(ANSWERED)
    assert BOOKED == [4]
    assert "Tools called: book: not_approved, 0 items; book: ok, 0 items" in await tab.text(".answer .row")
    assert await tab.run(ASKS) is False


async def test_escape_refuses_and_the_run_goes_on(tab: Any, start: Start) -> None:
    """It closes the question, and not the stream."""
    await opened(tab, await start(pipelines=pipelines()))
    await ask(tab, "Book.")
    for day in (3, 4):
        await until_asked(tab, f'"day": {day}')
        await tab.press("Escape")
    await tab.until(ANSWERED)
    assert BOOKED == []


async def test_a_question_outlives_a_cut_stream_and_goes_when_it_is_decided_elsewhere(tab: Any, start: Start) -> None:
    """It is there once, also when the stream was read on; what nobody can answer any more is not asked."""
    running: Any = await start(pipelines=pipelines())
    await opened(tab, running)
    await ask(tab, "Book.")
    await until_asked(tab, '"day": 3')
    [run] = running.server.runs.journal.live.values()
    run.reader.out._request.transport.abort()
    await until(lambda: any(address.endswith("/events") for address in tab.requested))
    first = min(run.waiting)
    assert (await running.call("POST", f"/api/runs/{run.id}/approvals/{first}", json={"approved": True}))[0] == 204
    await until_asked(tab, '"day": 4')
    assert BOOKED == [3]
    assert await tab.run("document.querySelectorAll('dialog[open]').length") == 1
    await running.call("DELETE", f"/api/runs/{run.id}")
    await tab.until(f"!({ASKS})")
    assert BOOKED == [3]


async def test_arguments_are_text_in_which_nothing_is_hidden(tab: Any, start: Start) -> None:
    """Markup is shown as it is, what changes the direction of writing or is invisible by its number."""
    await opened(tab, await start(pipelines=pipelines()))
    bad = "<img src=x onerror=alert(1)>\u202e\u200bend"
    asked = {"callId": "r.1", "name": "book", "description": "<b>", "arguments": {"note": bad}, "expires": 9}
    await tab.run(
        "import('/page/approvals.js').then(({ Approvals }) => "
        f"new Approvals().take({json.dumps({'type': 'approval', **asked})}))"
    )
    assert "<img src=x onerror=alert(1)>\\u{202e}\\u{200b}end" in await tab.text("#approval-text")
    assert await tab.run("document.querySelectorAll('#approval :is(img, b)').length") == 0
    assert tab.errors == []
