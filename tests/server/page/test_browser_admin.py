"""The page of keys and spend, and signing in, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core.store.access.api_keys import ApiKeys

pytestmark = pytest.mark.slow

BODY = {"query": "How many days of leave?", "contextId": "own", "pipeline": "own"}
OPEN = "document.querySelector('#{}')?.open"
STATUS = "fetch('/api/identity', {{headers: {{Authorization: 'Bearer {}'}}}}).then((told) => told.status)"


async def opened(tab: Any, running: Any) -> str:
    """Open the page of keys with one that administrates, and return its name."""
    key, text = await ApiKeys(running.store).new("root", ("admin",))
    await running.server.keys.renew()
    await tab.send("Page.navigate", url=running.origin + "/admin")
    await tab.until(OPEN.format("key-dialog"))
    await tab.write("#key", text)
    await tab.press("Enter")
    await tab.until("document.querySelector('#keys td') !== null")
    return str(key.id)


async def make(tab: Any, owner: str) -> str:
    """Make a key by hand, and return what the page shows once."""
    await tab.click("#new")
    await tab.write("#owner", owner)
    await tab.write("#groups", "group:hr, group:it")
    await tab.press("Enter")
    text = await tab.until("document.querySelector('#once').open && document.querySelector('#once-text').textContent")
    await tab.press("Escape")
    await tab.until(f"document.querySelector('#keys td')?.textContent.includes({owner!r})")
    return str(text)


async def press(tab: Any, verb: str, id: str) -> None:
    """Press a button of a key."""
    await tab.click(f"tr[data-key='{id}'] button[aria-label^='{verb}']")


async def test_a_key_is_made_shown_once_changed_and_revoked(tab: Any, running: Any) -> None:
    """By keyboard where there is a form; what was shown is in the page no more, and each change holds at once."""
    await opened(tab, running)
    text = await make(tab, "<i>ann</i>")
    id = text[4:12]
    assert text not in await tab.run("document.documentElement.outerHTML")
    assert "group:hr · group:it" in await tab.text(f"tr[data-key='{id}']")
    assert await tab.run(STATUS.format(text)) == 200
    await press(tab, "Limits", id)
    await tab.write("#requests", "6")
    await tab.press("Enter")
    await tab.until(f"document.querySelector('tr[data-key=\"{id}\"]').textContent.includes('6 requests/min')")
    assert [await tab.run(STATUS.format(text)) for _ in range(2)] == [200, 429]
    await press(tab, "Access", id)
    await tab.write("#see-tags", "time")
    await tab.press("Enter")
    await tab.until(f"document.querySelector('tr[data-key=\"{id}\"]').textContent.includes('tag time')")
    await press(tab, "Revoke", id)
    await tab.until(OPEN.format("sure"))
    await tab.click("#sure-yes")
    await tab.until(f"document.querySelector('#keys-said').textContent === 'Revoked {id}.'")
    assert await tab.run(STATUS.format(text)) == 401
    await tab.click("#ended")
    await tab.until(f"document.querySelector('tr[data-key=\"{id}\"]')?.textContent.includes('revoked')")


async def test_a_key_without_admin_is_shown_nothing_to_do(tab: Any, running: Any) -> None:
    """Neither a button nor a field of what it may not do: it is told what it lacks."""
    await ApiKeys(running.store).new("root", ("admin",))
    _, text = await ApiKeys(running.store).new("ann", ("query", "read"))
    await running.server.keys.renew()
    shown = "[...document.querySelectorAll('main :is(button, input, select)')].some((each) => each.checkVisibility())"
    for part in ("keys", "spend"):
        await tab.send("Page.navigate", url=f"{running.origin}/admin#{part}")
        if part == "keys":
            await tab.until(OPEN.format("key-dialog"))
            await tab.write("#key", text)
            await tab.press("Enter")
        await tab.until(f"document.querySelector('#{part}-said').textContent.includes('admin')")
        assert await tab.until(f"!{shown}")


async def test_a_key_is_rotated(tab: Any, running: Any) -> None:
    """The page says until when the old one goes on."""
    await opened(tab, running)
    old = await make(tab, "ann")
    await press(tab, "Rotate", old[4:12])
    await tab.press("Enter")
    new = await tab.until("document.querySelector('#once').open && document.querySelector('#once-text').textContent")
    assert f"replaces {old[4:12]}, which is valid until" in await tab.text("#once-about")
    assert [await tab.run(STATUS.format(text)) for text in (old, new)] == [200, 200]


LINES = "new Set([...document.querySelectorAll(\"tr[data-key='{}'] button\")].map((each) => each.offsetTop)).size"
WITHIN = """[...document.querySelectorAll("#keys button")].every((each) =>
  each.checkVisibility() && each.getBoundingClientRect().right <= innerWidth)"""


async def test_keys_are_seen_on_a_screen_of_any_width(tab: Any, running: Any) -> None:
    """Each with its actions in a line or two, and nothing is wider than the screen."""
    await ApiKeys(running.store).new("site-of-the-company", ("query",), contexts=("handbook",), lives_s=9e6)
    id = await opened(tab, running)
    for width, most in ((390, 1), (820, 1), (1000, 1), (1280, 2)):
        await tab.size(width, 844)
        assert await tab.run(LINES.format(id)) <= most, width
        assert await tab.run(WITHIN), width
        assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), width


async def test_what_cannot_be_made_is_said_where_it_was_asked_for(tab: Any, running: Any) -> None:
    """The dialog stays with what was written."""
    await opened(tab, running)
    await tab.click("#new")
    await tab.write("#owner", "ann")
    await tab.write("#groups", "hr")
    await tab.press("Enter")
    assert "names no group" in await tab.until("document.querySelector('#new-said').textContent")
    assert await tab.run("document.querySelector('#owner').value") == "ann"


async def test_spend_is_shown_by_key_owner_and_group(tab: Any, running: Any) -> None:
    """Beside the key, and by day."""
    await opened(tab, running)
    text = await make(tab, "ann")
    headers = {"Authorization": f"Bearer {text}"}
    assert (await running.call("POST", "/api/queries", json=BODY, headers=headers))[0] == 200
    await tab.send("Page.navigate", url=running.origin + "/admin#spend")
    await tab.until(f"document.querySelector('#spend')?.textContent.includes('{text[4:12]}')")
    for by, name in (("owner", "ann"), ("group", "group:hr")):
        await tab.run(
            f"(() => {{ const by = document.querySelector('#by'); by.value = '{by}';"
            " by.dispatchEvent(new Event('change')); })()"
        )
        await tab.until(f"document.querySelector('#spend td:nth-child(2)')?.textContent === '{name}'")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_page_of_keys_is_readable_and_fits_a_phone(tab: Any, running: Any, dark: bool) -> None:
    """Enough contrast in both lights, and nothing wider than a phone."""
    await opened(tab, running)
    await make(tab, "ann")
    await tab.size(1200, 800, dark=dark)
    assert await tab.faint_texts() == []
    await tab.size(390, 844, dark=dark)
    assert await tab.run("document.documentElement.scrollWidth") <= 390


async def test_page_of_keys_asks_no_other_host(tab: Any, running: Any) -> None:
    """It loads its own files and asks its own server."""
    await opened(tab, running)
    assert {address.partition(running.origin)[0] for address in tab.requested} == {""}


async def test_who_signs_in_uses_the_page(tab: Any, guarded: Any, issuer: Any) -> None:
    """From the page to the issuer and back to the same view, without a key; out again by a button."""
    issuer.person = "bob"
    await tab.go(guarded.origin + "/#contexts/handbook")
    await tab.until(OPEN.format("key-dialog"))
    await tab.until("!document.querySelector('#key-dialog .sign-in').hidden")
    await tab.click("#key-dialog .sign-in a")
    await tab.until("document.querySelector('#person')?.textContent === 'bob'")
    assert await tab.run("location.hash") == "#contexts/handbook"
    await tab.until("document.querySelector('#opened-name')?.textContent === 'handbook'")
    assert await tab.run("document.cookie") == ""
    assert not await tab.run("document.querySelector('#to-admin').hidden")
    await tab.click("#to-admin")
    await tab.until("document.querySelector('#view-keys')?.textContent.includes('There is no key')")
    key = await make(tab, "ann")
    assert await tab.run(STATUS.format(key)) == 200
    await tab.click("#sign-out")
    await tab.until(OPEN.format("key-dialog"))
    assert (await guarded.call("GET", "/api/keys"))[0] == 401


async def test_the_name_of_who_signs_in_is_shown_as_text(tab: Any, guarded: Any, issuer: Any) -> None:
    """Whatever they call themselves; who does not administrate has no way to the keys."""
    issuer.person = "eve"
    await tab.send("Page.navigate", url=guarded.origin + "/auth/login")
    await tab.until("document.querySelector('#person')?.textContent === '<b>eve</b>'")
    assert await tab.run("document.querySelector('#to-admin').hidden")
    await tab.send("Page.navigate", url=guarded.origin + "/admin")
    assert "403" not in await tab.until("document.querySelector('#keys-said .problem')?.textContent")
    assert await tab.run("document.querySelectorAll('#keys td').length") == 0
