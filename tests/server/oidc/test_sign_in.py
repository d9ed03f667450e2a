"""Signing in to the page: the way to the issuer and back, sessions, and what attackers try on that way."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from nexus_core import StoreBusyError
from nexus_core.server.access.session_cookies import SEEN_S
from nexus_core.server.access.sign_in_state import LIVES_S, SignInState

pytestmark = pytest.mark.slow

STATE, SESSION = "nexus-sign-in", "nexus-session"
BODY = {"query": "How many days of leave?", "contextId": "own", "pipeline": "own"}


class Browser:
    """Holds cookies and follows no redirect by itself."""

    def __init__(self, running: Any) -> None:
        self.running = running
        self.cookies: dict[str, str] = {}
        self.told: aiohttp.ClientResponse | Any = None

    async def send(self, method: str, address: str, **headers: str) -> tuple[int, str]:
        """Return the status of an answer, and where it sends the browser on or what it holds."""
        url = self.running.origin + address if address.startswith("/") else address
        held = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, url, headers={**held, **headers}, allow_redirects=False) as answer,
        ):
            self.told = answer
            for line in answer.headers.getall("Set-Cookie", ()):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name] = morsel.value
                    if morsel["max-age"] == "0":
                        del self.cookies[name]
            return answer.status, answer.headers.get("Location") or await answer.text()

    async def go_to_issuer(self, next: str = "") -> str:
        """Begin, and return the address that the issuer sends the browser back to."""
        status, there = await self.send("GET", "/auth/login" + (f"?next={next}" if next else ""))
        assert status == 303
        status, back = await self.send("GET", there)
        assert status == 302
        return back

    async def sign_in(self, next: str = "") -> str:
        """Sign in, and return where the browser is sent then."""
        status, found = await self.send("GET", await self.go_to_issuer(next))
        assert status == 303, found
        return found

    async def who(self, **headers: str) -> Any:
        """Return the status of an address that needs somebody."""
        return (await self.send("GET", "/api/identity", **headers))[0]


async def test_who_comes_back_from_the_issuer_is_signed_in(guarded: Any, issuer: Any) -> None:
    """By a cookie that no script reads; then the page goes on where it was, and the API knows them."""
    browser = Browser(guarded)
    assert await browser.who() == 401
    assert await browser.sign_in("%23contexts/handbook") == "/#contexts/handbook"
    cookie = SimpleCookie(browser.told.headers.getall("Set-Cookie")[0])[SESSION]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Lax", "/", "")
    assert STATE not in browser.cookies
    assert await browser.who() == 200
    _, told = await guarded.call("GET", "/auth/session", headers={"Cookie": f"{SESSION}={cookie.value}"})
    assert (told["signIn"], told["person"]["name"], told["person"]["isAdmin"]) == (True, "ann", False)


@pytest.mark.parametrize(
    "next",
    [
        "https://evil.example", "//evil.example", "/%5Cevil.example", "%5C%5Cevil.example", "javascript:alert(1)",
        "%23%0d%0aSet-Cookie:x=1", "%23//evil.example%3Cscript%3E", "/api/keys", "%23" + "a" * 2000,
    ],
)  # fmt: skip
async def test_nobody_is_sent_elsewhere_after_signing_in(guarded: Any, issuer: Any, next: str) -> None:
    """`next` is a view of the page; whatever else it says is left out."""
    assert await Browser(guarded).sign_in(next) == "/"


async def test_administrators_are_those_of_a_group(guarded: Any, issuer: Any) -> None:
    """And may do what a key with the scope `admin` may."""
    issuer.person = "bob"
    browser = Browser(guarded)
    await browser.sign_in()
    assert (await browser.send("GET", "/api/keys"))[0] == 200
    issuer.person = "ann"
    await browser.sign_in()
    assert (await browser.send("GET", "/api/keys"))[0] == 403


async def test_groups_that_the_id_token_lacks_are_asked_for(guarded: Any, issuer: Any) -> None:
    """Some issuers tell them beside it alone."""
    issuer.groups_beside, issuer.person = True, "bob"
    browser = Browser(guarded)
    await browser.sign_in()
    assert (await browser.send("GET", "/api/keys"))[0] == 200


async def test_a_sign_in_is_finished_in_the_browser_that_began_it(guarded: Any, issuer: Any) -> None:
    """A link with somebody else's answer signs nobody in (forged sign-in)."""
    attacker, victim = Browser(guarded), Browser(guarded)
    back = await attacker.go_to_issuer()
    assert (await victim.send("GET", back))[0] == 400
    await victim.go_to_issuer()
    status, told = await victim.send("GET", back, Accept="text/html")
    assert (status, "not begun in this browser" in told, SESSION in victim.cookies) == (400, True, False)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda back, state: back.replace("state=", "state=x"), id="another-state"),
        pytest.param(lambda back, state: back.partition("&state=")[0], id="no-state"),
        pytest.param(lambda back, state: back.replace("code=", "code=x"), id="another-code"),
        pytest.param(lambda back, state: back.replace("code=", "kode="), id="no-code"),
        pytest.param(lambda back, state: back + "&iss=https://evil.example", id="another-issuer"),
        pytest.param(lambda back, state: back.replace("code=", "error=access_denied&code="), id="error"),
    ],
)
async def test_an_answer_that_was_changed_signs_nobody_in(guarded: Any, issuer: Any, change: Any) -> None:
    """Whatever was changed in it."""
    browser = Browser(guarded)
    back = change(await browser.go_to_issuer(), "")
    assert (await browser.send("GET", back))[0] == 400
    assert SESSION not in browser.cookies


async def test_a_cookie_of_a_sign_in_holds_as_it_was_made_alone(guarded: Any, issuer: Any) -> None:
    """Neither changed nor after its time."""
    browser = Browser(guarded)
    back = await browser.go_to_issuer()
    made = browser.cookies[STATE]
    for odd in (made[:-1] + ("0" if made[-1] != "0" else "1"), "A" + made[1:], made.partition(".")[0] + ".", "x", "é."):
        browser.cookies[STATE] = odd
        assert (await browser.send("GET", back))[0] == 400
    browser.cookies[STATE] = made
    now = guarded.server.sign_in.wall()
    guarded.server.sign_in.wall = lambda: now + LIVES_S + 1
    assert (await browser.send("GET", back))[0] == 400


async def test_an_answer_of_the_issuer_signs_in_once(guarded: Any, issuer: Any) -> None:
    """Who repeats it with all its cookies gets nothing, also where an issuer takes a code twice."""
    browser = Browser(guarded)
    back = await browser.go_to_issuer()
    held = dict(browser.cookies)
    assert (await browser.send("GET", back))[0] == 303
    browser.cookies = dict(held)
    assert (await browser.send("GET", back))[0] == 400
    code = parse_qs(urlsplit(back).query)["code"][0]
    issuer._codes[code] = {**await asked_before(held, guarded), "person": "ann"}
    assert "used already" in (await browser.send("GET", back))[1]


async def asked_before(held: dict[str, str], running: Any) -> dict[str, str]:
    """Return what an issuer remembers of a sign-in, by the cookie of the browser."""
    state = SignInState.read(held[STATE], await running.store.read_secret(), running.server.sign_in.wall())
    assert state is not None
    challenge = urlsafe_b64encode(sha256(state.verifier.encode()).digest()).decode().rstrip("=")
    return {
        "code_challenge": challenge, "nonce": state.nonce, "redirect_uri": f"{running.origin}/auth/callback",
    }  # fmt: skip


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"}, {"nonce": None}, {"aud": "others"}, {"aud": ["nexus", "others"]}, {"azp": "others"},
        {"exp": 1}, {"iss": "https://id.example.com"}, {"sub": None}, {"iat": None},
    ],
    ids=str,
)  # fmt: skip
async def test_an_id_token_of_something_else_signs_nobody_in(guarded: Any, issuer: Any, claims: dict[str, Any]) -> None:
    """Of another sign-in, client or time."""
    issuer.id_claims = claims
    browser = Browser(guarded)
    status, told = await browser.send("GET", await browser.go_to_issuer())
    assert (status, SESSION in browser.cookies) == (400, False), told


async def test_guesses_at_a_sign_in_are_slowed_down(guarded: Any, issuer: Any) -> None:
    """As those at keys are."""
    browser = Browser(guarded)
    back = await browser.go_to_issuer()
    found = [(await browser.send("GET", back.replace("code=", "code=x")))[0] for _ in range(22)]
    assert (found[0], found[-1]) == (400, 429)


async def test_who_signs_out_is_out(guarded: Any, issuer: Any) -> None:
    """Wherever the cookie was copied to; other sessions go on."""
    browser, other = Browser(guarded), Browser(guarded)
    await browser.sign_in()
    await other.sign_in()
    held = dict(browser.cookies)
    assert (await browser.send("DELETE", "/auth/session", Origin=guarded.origin))[0] == 204
    assert SESSION not in browser.cookies
    browser.cookies = held
    assert [await each.who() for each in (browser, other)] == [401, 200]


async def test_a_session_ends(guarded: Any, issuer: Any) -> None:
    """After its time, whoever uses it."""
    browser = Browser(guarded)
    await browser.sign_in()
    sessions = guarded.server.sign_in.cookies.sessions
    now = sessions._wall()
    sessions._wall = lambda: now + 8 * 3600 + 1
    assert await browser.who() == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "SELF", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "SELF"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "SELF", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
    ids=lambda value: "-".join(value.values()) or "nothing" if isinstance(value, dict) else None,
)
async def test_a_cookie_changes_nothing_without_the_proof_of_the_page(
    guarded: Any, issuer: Any, headers: dict[str, str], status: int
) -> None:
    """Another page can make a browser send its cookie, and never these headers (CSRF)."""
    browser = Browser(guarded)
    await browser.sign_in()
    sent = {name: value.replace("SELF", guarded.origin) for name, value in headers.items()}
    sent |= {"Cookie": f"{SESSION}={browser.cookies[SESSION]}"}
    assert (await guarded.call("POST", "/api/queries", json=BODY, headers=sent))[0] == status
    if status == 403:
        assert (await guarded.call("DELETE", "/auth/session", headers=sent))[0] == 403
        assert await browser.who() == 200


async def test_a_key_goes_before_a_cookie(guarded: Any, issuer: Any) -> None:
    """Who shows both means the key: the page has a field for it."""
    browser = Browser(guarded)
    await browser.sign_in()
    assert await browser.who(Authorization="Bearer nobody") == 401
    assert await browser.who(Authorization=f"Bearer {issuer.token('bob')}") == 200


async def test_sessions_go_on_without_the_issuer(guarded: Any, issuer: Any) -> None:
    """Nobody new signs in meanwhile: 503, on a page that says so."""
    browser, late = Browser(guarded), Browser(guarded)
    await browser.sign_in()
    back = await late.go_to_issuer()
    await issuer.stop()
    assert await browser.who() == 200
    status, told = await late.send("GET", back, Accept="text/html")
    assert (status, "cannot be reached" in told, late.told.headers["Retry-After"]) == (503, True, "10")


async def test_sessions_go_on_for_a_while_without_the_store(guarded: Any, issuer: Any) -> None:
    """Of those that were just seen; strangers get 503 and never 401."""
    browser, cookies = Browser(guarded), guarded.server.sign_in.cookies
    await browser.sign_in()
    assert await browser.who() == 200

    async def lost(id: str) -> None:
        raise StoreBusyError("no database")

    cookies.sessions.find = lost
    assert await browser.who() == 200
    now = cookies._clock()
    cookies._clock = lambda: now + SEEN_S + 1
    assert await browser.who() == 503
    browser.cookies[SESSION] = "stranger"
    assert await browser.who() == 503


async def test_https_keeps_cookies_for_this_host(start: Any, issuer: Any) -> None:
    """Behind a proxy that speaks it, and the way back is by the name that people know."""
    running = await start(
        oidc=issuer.settings(), tls_elsewhere=True, public_url="https://nexus.example.com/ask", require_keys=True
    )
    browser = Browser(running)
    _, there = await browser.send("GET", "/auth/login", Host="nexus.example.com")
    cookie = SimpleCookie(browser.told.headers["Set-Cookie"])["__Host-nexus-sign-in"]
    assert (cookie["secure"], cookie["httponly"], cookie["path"]) == (True, True, "/")
    assert parse_qs(urlsplit(there).query)["redirect_uri"] == ["https://nexus.example.com/ask/auth/callback"]


async def test_a_server_without_an_issuer_has_no_sign_in(running: Any) -> None:
    """And says so; a cookie is nothing there."""
    for method, path in (("GET", "/auth/login"), ("GET", "/auth/callback"), ("DELETE", "/auth/session")):
        status, told = await running.call(method, path)
        assert (status, told["code"]) == (404, "no_sign_in")
    assert await running.call("GET", "/auth/session") == (200, {"signIn": False, "person": None})


async def test_what_a_person_is_called_is_text(guarded: Any, issuer: Any) -> None:
    """An issuer lets anybody choose a name."""
    issuer.person = "eve"
    browser = Browser(guarded)
    await browser.sign_in()
    _, told = await guarded.call("GET", "/auth/session", headers={"Cookie": f"{SESSION}={browser.cookies[SESSION]}"})
    assert told["person"]["name"] == "<b>eve</b>"


async def test_conversations_belong_to_issuer_and_subject(guarded: Any, issuer: Any) -> None:
    """By cookie and by token alike, and to nobody else."""
    browser = Browser(guarded)
    await browser.sign_in()
    kept = {**BODY, "options": {"conversationId": "talk"}}
    headers = {"Cookie": f"{SESSION}={browser.cookies[SESSION]}", "Origin": guarded.origin}
    assert (await guarded.call("POST", "/api/queries", json=kept, headers=headers))[0] == 200
    for name, status in (("ann", 200), ("bob", 404)):
        token = {"Authorization": f"Bearer {issuer.token(name)}"}
        assert (await guarded.call("GET", "/api/conversations/talk", headers=token))[0] == status
