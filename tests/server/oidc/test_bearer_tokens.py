"""Bearer tokens of an issuer: who is let in, and every way to make one that is not."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from time import time
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from nexus_core import UsageError
from nexus_core.server.access.issuer import LOOK_AGAIN_S, STALE_S, check_issuer
from nexus_core.server.settings import OidcSettings
from nexus_core.store.access.api_keys import ApiKeys

pytestmark = pytest.mark.slow

BODY = {"query": "How many days of leave?", "contextId": "own", "pipeline": "own"}
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa-1"})


async def ask(running: Any, token: str, method: str = "GET", path: str = "/api/identity", **more: Any) -> Any:
    return await running.call(method, path, headers={"Authorization": f"Bearer {token}"}, **more)


def encoded(data: dict[str, Any] | bytes) -> str:
    return urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).decode().rstrip("=")


def forged(header: dict[str, Any], issuer: Any, secret: bytes = b"") -> str:
    """Return a token with a header of one's own, signed by HMAC with a secret, or not at all."""
    claims = {"iss": issuer.url, "aud": "nexus", "sub": "1002", "exp": int(time()) + 300, "groups": ["it"]}
    body = f"{encoded(header)}.{encoded(claims)}"
    return f"{body}.{encoded(hmac.digest(secret, body.encode(), 'sha256')) if secret else ''}"


@pytest.mark.parametrize("key", ["rsa", "ec"])
async def test_a_token_of_the_issuer_lets_in(guarded: Any, issuer: Any, key: str) -> None:
    """As issuer and subject, with the groups that it tells, by RSA and by an elliptic curve."""
    issuer.signs_with = issuer.keys[0 if key == "rsa" else 1]
    status, told = await ask(guarded, issuer.token())
    assert (status, told["owner"], told["groups"]) == (200, f"{issuer.url}#1001", ["group:hr"])
    assert told["scopes"] == ["query", "read"]
    assert (await ask(guarded, issuer.token("bob")))[1]["scopes"] == ["query", "read", "admin"]
    assert (await ask(guarded, issuer.token(), "POST", "/api/queries", json=BODY))[0] == 200


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(lambda i: i.token(aud="others"), "made out for others", id="aud"),
        pytest.param(lambda i: i.token(aud=["a", "b"]), "made out for others", id="aud-list"),
        pytest.param(lambda i: i.token(aud=None), "made out for others", id="no-aud"),
        pytest.param(lambda i: i.token(aud={"nexus": 1}), "made out for others", id="aud-object"),
        pytest.param(lambda i: i.token(iss="https://id.example.com"), "another issuer", id="iss"),
        pytest.param(lambda i: i.token(iss=i.url + "/"), "another issuer", id="iss-with-slash"),
        pytest.param(lambda i: i.token(iss=None), "another issuer", id="no-iss"),
        pytest.param(lambda i: i.token(exp=int(time()) - 60), "has expired", id="expired"),
        pytest.param(lambda i: i.token(exp=None), "lacks a claim", id="no-exp"),
        pytest.param(lambda i: i.token(exp="never"), "lacks a claim", id="odd-exp"),
        pytest.param(lambda i: i.token(nbf=int(time()) + 600), "does not hold yet", id="not-yet"),
        pytest.param(lambda i: i.token(iat=int(time()) + 600), "does not hold yet", id="of-the-future"),
        pytest.param(lambda i: i.token(sub=None), "lacks a claim", id="no-sub"),
        pytest.param(lambda i: i.token(sub=""), "", id="empty-sub"),
        pytest.param(lambda i: i.token(sub="a\nb"), "names nobody", id="control-sub"),
        pytest.param(lambda i: i.token(sub="x" * 300), "names nobody", id="long-sub"),
        pytest.param(lambda i: i.token(header={"typ": "logout+jwt"}), "a kind", id="typ"),
        pytest.param(lambda i: i.token(key=STRANGER), "not signed by the issuer", id="another-key-of-that-name"),
        pytest.param(lambda i: i.token(header={"kid": "oct"}), "not signed by the issuer", id="secret-key"),
        pytest.param(lambda i: i.token(header={"kid": "ec-1"}), "not signed by the issuer", id="key-of-another-kind"),
        pytest.param(lambda i: i.token()[:-4] + "AAAA", "not signed by the issuer", id="signature"),
        pytest.param(lambda i: i.token().rpartition(".")[0] + ".", "not signed by the issuer", id="no-signature"),
        pytest.param(lambda i: forged({"alg": "none"}, i), "an algorithm", id="alg-none"),
        pytest.param(lambda i: forged({"alg": "NoNe"}, i), "an algorithm", id="alg-none-in-letters"),
        pytest.param(lambda i: forged({"alg": ["RS256"]}, i), "an algorithm", id="alg-list"),
        pytest.param(lambda i: forged({"alg": "HS256", "kid": "oct"}, i, b"secret"), "an algorithm", id="hmac"),
        pytest.param(
            lambda i: forged({"alg": "HS256", "kid": "rsa-1"}, i, i.keys[0].as_pem(private=False)), "an algorithm",
            id="public-key-as-secret",
        ),
        pytest.param(lambda i: forged({"alg": "RS256", "kid": "rsa-1"}, i, b"x"), "not signed", id="hmac-as-rsa"),
        pytest.param(
            lambda i: forged({"alg": "RS256", "jwk": STRANGER.as_dict(private=False)}, i, b"x"), "not signed",
            id="own-key-in-header",
        ),
        pytest.param(lambda i: forged({"alg": "RS256", "crit": ["b64"], "b64": False}, i, b"x"), "a kind", id="crit"),
        pytest.param(lambda i: forged({"alg": "RS256", "kid": 1}, i, b"x"), "a kind", id="kid-number"),
        pytest.param(lambda i: "a.b.c", "cannot be read", id="letters"),
        pytest.param(lambda i: "..", "cannot be read", id="dots"),
        pytest.param(lambda i: encoded(b"[" * 5000) + ".e30.x", "cannot be read", id="deep"),
    ],
)  # fmt: skip
async def test_no_other_token_lets_in(guarded: Any, issuer: Any, make: Callable[[Any], str], said: str) -> None:
    """401, with the reason in the body and the header, and no word of the token."""
    async with guarded.session.get(
        guarded.origin + "/api/identity", headers={"Authorization": f"Bearer {make(issuer)}"}
    ) as answer:
        told = await answer.json()
        assert (answer.status, told["code"]) == (401, "invalid_token")
        assert said in told["error"]
        assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        ({"groups": "hr"}, ["group:hr"]),
        ({"groups": ["hr", 7, None, "", "it", "hr", "nobody", "a\nb"]}, ["group:hr", "group:it"]),
        ({"groups": {"hr": True}}, []),
        ({"groups": None}, []),
    ],
    ids=["text", "list", "object", "none"],
)
async def test_groups_are_those_that_can_be_groups(guarded: Any, issuer: Any, claims: Any, groups: list[str]) -> None:
    """What cannot be one is passed over, and nobody is in `group:nobody`."""
    assert (await ask(guarded, issuer.token(**claims)))[1]["groups"] == groups


async def test_groups_stand_in_the_claim_that_the_settings_name(start: Any, issuer: Any) -> None:
    """With dots it is one in another, unless a claim has that very name."""
    running = await start(oidc=issuer.settings(groups_claim="realm_access.roles"))
    inside = issuer.token(groups=None, realm_access={"roles": ["it"]})
    assert (await ask(running, inside))[1]["groups"] == ["group:it"]
    assert (await ask(running, issuer.token(**{"realm_access.roles": ["hr"]})))[1]["groups"] == ["group:hr"]


async def test_members_of_some_groups_alone_are_let_in(start: Any, issuer: Any) -> None:
    """And administrators; the others are told why."""
    running = await start(oidc=issuer.settings(allowed_groups=("hr",)))
    assert [(await ask(running, issuer.token(name)))[0] for name in ("ann", "bob", "eve")] == [200, 200, 403]
    assert (await ask(running, issuer.token("eve")))[1]["code"] == "not_in_a_group"


async def test_groups_of_tokens_open_what_is_granted_to_them(guarded: Any, issuer: Any) -> None:
    """As groups of keys do: what is granted to another one is not there."""
    await guarded.store.create("payroll", readers=["group:hr"])
    path = "/api/contexts/payroll"
    found = [(await ask(guarded, issuer.token(name), "GET", path))[0] for name in ("ann", "bob", "eve")]
    assert found == [200, 200, 404]


async def test_keys_go_on_beside_tokens(guarded: Any, issuer: Any) -> None:
    """And without any of them nobody is let in, although the store has no key."""
    assert (await guarded.call("GET", "/api/identity"))[0] == 401
    _, key = await ApiKeys(guarded.store).new("ann")
    guarded.server.keys._read_at = None
    assert (await ask(guarded, key))[1]["owner"] == "ann"


async def test_expired_tokens_are_no_guesses(guarded: Any, issuer: Any) -> None:
    """Those of strangers are, and are slowed down as wrong keys are."""
    expired, wrong = issuer.token(exp=int(time()) - 60), issuer.token(key=STRANGER)
    assert {(await ask(guarded, expired))[0] for _ in range(25)} == {401}
    assert [(await ask(guarded, wrong))[0] for _ in range(22)][-1] == 429


async def test_a_new_key_of_the_issuer_is_looked_up(guarded: Any, issuer: Any) -> None:
    """Once, however many tokens name it; and unknown names ask the issuer for nothing for a while."""
    await ask(guarded, issuer.token())
    clock = guarded.server.sign_in.issuer
    now = clock._clock()
    clock._clock = lambda: now + LOOK_AGAIN_S
    issuer.keys = [*issuer.keys, ECKey.generate_key("P-256", {"kid": "ec-2"})]
    assert (await ask(guarded, issuer.token(key=issuer.keys[-1])))[0] == 200
    assert issuer.count["keys"] == 2
    strangers = [RSAKey.generate_key(2048, {"kid": f"rsa-{number}"}) for number in range(3)]
    assert {(await ask(guarded, issuer.token(key=key)))[0] for key in strangers} == {401}
    assert issuer.count["keys"] == 2


async def test_a_withdrawn_key_of_the_issuer_opens_nothing(guarded: Any, issuer: Any) -> None:
    """Once its keys were read anew, which happens beside requests."""
    token = issuer.token()
    assert (await ask(guarded, token))[0] == 200
    issuer.keys = issuer.keys[1:]
    known = guarded.server.sign_in.issuer
    known._tried_at = None
    await known._read()
    assert (await ask(guarded, token))[0] == 401


async def test_an_issuer_that_is_gone_lets_known_keys_go_on(guarded: Any, issuer: Any) -> None:
    """For an hour; what needs to ask it is 503 with the time to wait, and comes back with it."""
    known, other = issuer.token(), ECKey.generate_key("P-256", {"kid": "ec-9"})
    assert (await ask(guarded, known))[0] == 200
    await issuer.stop()
    clock = guarded.server.sign_in.issuer
    now = clock._clock()
    clock._clock = lambda: now + LOOK_AGAIN_S
    assert (await ask(guarded, issuer.token(key=other)))[0] == 503
    assert (await ask(guarded, known))[0] == 200
    clock._clock = lambda: now + STALE_S + 1
    async with guarded.session.get(
        guarded.origin + "/api/identity", headers={"Authorization": f"Bearer {known}"}
    ) as answer:
        told = await answer.json()
        assert (answer.status, told["code"]) == (503, "issuer_unreachable")
        assert int(answer.headers["Retry-After"]) > 0
        assert str(issuer.port) not in told["error"]
    await issuer.start()
    clock._clock = lambda: now + STALE_S + 1 + LOOK_AGAIN_S
    assert (await ask(guarded, known))[0] == 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (OidcSettings(issuer="http://id.example.com", client_id="x"), "https://"),
        (OidcSettings(issuer="id.example.com", client_id="x"), "https://"),
        (OidcSettings(issuer="https://id.example.com?a=b", client_id="x"), "without"),
        (OidcSettings(issuer="https://id.example.com"), "--oidc-audience"),
    ],
    ids=["clear", "no-scheme", "query", "no-audience"],
)
def test_an_issuer_that_cannot_be_trusted_is_refused(settings: OidcSettings, said: str) -> None:
    """Before anything is served."""
    with pytest.raises(UsageError, match=said):
        check_issuer(settings)
