"""A server that runs: pipelines of fakes and of `extractive`, over a store with one small context; and an issuer."""

from __future__ import annotations

import asyncio
import json
import shutil
from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from time import time
from types import ModuleType
from typing import Any, ClassVar
from urllib.parse import unquote, urlencode

import aiohttp
import pytest
from aiohttp import web
from attrs import frozen
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from nexus_core import Item, Pipeline, Ranking, RunContext, component, hookimpl, option
from nexus_core.engine.plugins import Origin, PluginRegistry
from nexus_core.server.access.access import Verify
from nexus_core.server.server import Server
from nexus_core.server.settings import OidcSettings, ServerLimits, ServerSettings
from nexus_core.store.store import Store
from nexus_core.testing.fakes import FakeConnector

QUOTES = """name: quotes
description: Quotes a context of the store.
models: {main: {use: extractive}}
steps:
  - gather: {use: fake}
  - prompt: chat
  - generate: main
"""
TALK = """name: talk
description: Talks about a context of the store.
inputs: {systemPrompt: {default: "", description: What the model is told first.}}
models:
  main: {use: fake, to: main, aliases: [best]}
  spare: {use: fake, to: spare}
steps:
  - gather: {use: fake}
  - prompt: {template: answer.jinja, variables: {told: "{{ inputs.systemPrompt }}"}}
  - generate:
"""
OWN = """name: own
models: {main: {use: fake, to: own}}
steps:
  - gather: {use: inline, items: [{id: leave, title: Leave, text: Everybody has 28 days of leave.}]}
  - prompt: chat
  - generate: main
"""
ANSWER = """[system]
Answer. {{ told }}

[history]

[user]
{% for item in items %}{{ item.text }}
{% endfor %}{{ query }}
"""
PIPELINES = {"quotes": QUOTES, "talk": TALK, "own": OWN}
"""`quotes` is the default one; `quotes` and `talk` take a context, `own` does not."""
ITEMS = (
    Item(id="leave", title="Leave", text="Everybody has 28 days of leave a year.", tags=("time",)),
    Item(id="trains", title="Trains", text="Trains are booked in second class.", tags=("travel",), source="travel.md"),
    Item(id="flights", title="Flights", text="Flights need the consent of a manager.", tags=("travel",)),
)
"""Of the context `handbook`."""


class Fakes:
    """The connectors `main`, `spare` and `own` of the pipelines, to be set up and looked at."""

    def __init__(self) -> None:
        self.connectors = {name: FakeConnector() for name in ("main", "spare", "own")}
        self.store: Store | None = None
        """That of the running server, for the source."""


@frozen(kw_only=True)
class Running:
    """A server that listens, and a session to ask it."""

    server: Server
    store: Store
    session: aiohttp.ClientSession
    origin: str
    """Such as `http://127.0.0.1:8000`, without the prefix."""

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Return status and JSON of an answer; `None` for an empty one."""
        async with self.session.request(method, self.origin + path, **more) as response:
            data = await response.read()
            return response.status, await response.json() if data else None


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def fakes() -> Fakes:
    """The fakes behind the pipelines."""
    return Fakes()


@pytest.fixture
async def start(tmp_path: Path, fakes: Fakes) -> AsyncIterator[Start]:
    """Start a server: `start(pipelines=..., limits=..., verify=..., store=..., **settings)`, all with defaults.

    What still runs when a test is over is cut: to drain would wait 25 s for an answer that never comes.
    """
    servers: list[Server] = []
    async with AsyncExitStack() as opened:

        async def started(
            *,
            pipelines: Mapping[str, str] = PIPELINES,
            limits: ServerLimits | None = None,
            verify: Verify | None = None,
            store: Store | None = None,
            **settings: Any,
        ) -> Running:
            kept = store or Store(tmp_path / "store")
            fakes.store = kept
            loaded = load_pipelines(tmp_path, pipelines, fakes, kept)
            server = Server(
                loaded, kept, ServerSettings(port=0, limits=limits or ServerLimits(), **settings), verify=verify
            )
            servers.append(await opened.enter_async_context(server))
            session = await opened.enter_async_context(aiohttp.ClientSession())
            return Running(server=server, store=kept, session=session, origin=f"http://127.0.0.1:{server.port}")

        yield started
        for server in servers:
            server.cut()


@pytest.fixture(scope="session")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the context `handbook`, to be copied: to sync files and to build an index takes a while."""
    folder = tmp_path_factory.mktemp("handbook") / "store"

    async def fill() -> None:
        async with Store(folder) as store:
            await store.create("handbook", description="The staff handbook")
            await store.add("handbook", ITEMS)
            await store.search("handbook", "leave")

    asyncio.run(fill())
    return folder


@pytest.fixture
async def running(start: Start, handbook: Path, tmp_path: Path) -> Running:
    """A server with all pipelines, and the context `handbook`."""
    shutil.copytree(handbook, tmp_path / "store")
    return await start()


def load_pipelines(folder: Path, texts: Mapping[str, str], fakes: Fakes, store: Store) -> dict[str, Pipeline]:
    """Load pipelines whose plugin `fake` is made of the fakes."""
    (folder / "answer.jinja").write_text(ANSWER)
    catalogue = PluginRegistry.installed()
    origins = [origin for group in catalogue._origins.values() for origin in group]
    fake = Origin(name="fake", target="fake", load=lambda: fake_plugin(fakes))
    loaded = {}
    for name, text in texts.items():
        file = folder / f"{name}.yaml"
        file.write_text(text)
        pipeline = Pipeline.load(
            file,
            catalogue=PluginRegistry([*origins, fake]),
            environment={},
            conversations=store.conversations,
            answers=store.answers,
        )
        loaded[pipeline.name] = pipeline
    return loaded


def fake_plugin(fakes: Fakes) -> Any:
    """Return a plugin module: a connector in front of each fake, and a source that searches the server's store."""

    @component
    class Connector:
        """Answers as the test says."""

        to: str = option("main", help="Which fake connector.")

        @property
        def model_info(self) -> Any:
            """The fake's."""
            return fakes.connectors[self.to].model_info

        def send_prompt(self, prompt: Any, options: Any) -> Any:
            """Ask the fake."""
            return fakes.connectors[self.to].send_prompt(prompt, options)

        def stream_response(self, prompt: Any, options: Any) -> Any:
            """Ask the fake."""
            return fakes.connectors[self.to].stream_response(prompt, options)

    @component
    class Source:
        """Searches the context that the caller chooses."""

        takes_context: ClassVar[bool] = True

        async def gather(self, query: str, run: RunContext) -> Ranking:
            """Return what the search finds."""
            assert fakes.store is not None
            return await fakes.store.search(run.context_id or "", query, limit=50)

    module: Any = ModuleType("fake")
    module.nexus_connectors = hookimpl(lambda: [Connector], specname="nexus_connectors")
    module.nexus_sources = hookimpl(lambda: [Source], specname="nexus_sources")
    return module


CLIENT, SECRET = "nexus", "s3cret:with/odd chars"
PEOPLE: dict[str, dict[str, Any]] = {
    "ann": {"sub": "1001", "preferred_username": "ann", "groups": ["hr"]},
    "bob": {"sub": "1002", "preferred_username": "bob", "groups": ["it"]},
    "eve": {"sub": "1003", "preferred_username": "<b>eve</b>", "groups": []},
}
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig", "alg": "RS256"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"})


class LoopbackIssuer:
    """The issuer; `person` is who is signed in there."""

    def __init__(self) -> None:
        self.keys: list[Any] = [RSA, EC]
        self.signs_with: Any = RSA
        self.person = "ann"
        self.count: Counter[str] = Counter()
        self.id_claims: dict[str, Any] = {}
        """Claims of ID tokens that are not as they should be."""
        self.groups_beside = False
        """Whether groups are told beside the ID token alone."""
        self.redirects: tuple[str, ...] = ()
        """The addresses that are registered for the client; any on loopback without one."""
        self.port = 0
        self._codes: dict[str, dict[str, Any]] = {}
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Its name, as in `iss`."""
        return f"http://127.0.0.1:{self.port}/realm"

    def settings(self, **more: Any) -> OidcSettings:
        """Return what a server is told of it."""
        return OidcSettings(**{
            "issuer": self.url, "client_id": CLIENT, "client_secret": SECRET, "admin_groups": ("it",), **more,
        })  # fmt: skip

    def token(self, person: str = "ann", key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return an access token; a claim that is `None` is left out."""
        key, now = key or self.signs_with, int(time())
        told = {
            "iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, **PEOPLE[person], **claims,
        }  # fmt: skip
        algorithm = "ES256" if isinstance(key, ECKey) else "RS256"
        head = {"alg": algorithm, "kid": key.as_dict().get("kid"), "typ": "at+jwt", **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        told = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(head, told, key, algorithms=[head["alg"]])

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        application = web.Application()
        for method, path, handler in (
            ("GET", "/realm/.well-known/openid-configuration", self.describe),
            ("GET", "/realm/keys", self.show_keys),
            ("GET", "/realm/authorize", self.authorize),
            ("POST", "/realm/token", self.exchange),
            ("GET", "/realm/userinfo", self.tell),
        ):
            application.router.add_route(method, path, handler)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Be unreachable."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def describe(self, request: web.Request) -> web.Response:
        """The document of discovery."""
        self.count["describe"] += 1
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys",
                 "userinfo_endpoint": "userinfo"}  # fmt: skip
        return web.json_response({"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in names.items()}})

    async def show_keys(self, request: web.Request) -> web.Response:
        """The public keys, with one for no signatures and one that is a secret."""
        self.count["keys"] += 1
        public = [key.as_dict(private=False) for key in self.keys]
        odd = [{"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}, {"kty": "RSA", "kid": "broken"}, "no key"]
        return web.json_response({"keys": [*odd, *public]})

    async def authorize(self, request: web.Request) -> web.Response:
        """Send the browser back with a code for who is signed in here."""
        self.count["authorize"] += 1
        asked = dict(request.query)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        assert not self.redirects or asked["redirect_uri"] in self.redirects, asked
        code = token_urlsafe(16)
        self._codes[code] = {**asked, "person": self.person}
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def exchange(self, request: web.Request) -> web.Response:
        """Tokens for a code, once, to who began and knows the secret."""
        self.count["token"] += 1
        form = await request.post()
        name, _, secret = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
        asked = self._codes.pop(str(form["code"]), None)
        challenge = urlsafe_b64encode(sha256(str(form["code_verifier"]).encode()).digest()).decode().rstrip("=")
        known = (unquote(name), unquote(secret)) == (CLIENT, SECRET)
        if not known or asked is None or asked["code_challenge"] != challenge:
            return web.json_response({"error": "invalid_grant"}, status=400)
        assert form["redirect_uri"] == asked["redirect_uri"]
        hidden = {"groups": None} if self.groups_beside else {}
        told = {"nonce": asked["nonce"], **hidden, **self.id_claims}
        access = self.token(asked["person"], aud="userinfo")
        id_token = self.token(asked["person"], header={"typ": "JWT"}, **told)
        return web.json_response({"access_token": access, "id_token": id_token, "token_type": "Bearer"})

    async def tell(self, request: web.Request) -> web.Response:
        """What is known of who an access token is of."""
        self.count["userinfo"] += 1
        body = request.headers["Authorization"].removeprefix("Bearer ").split(".")[1]
        subject = json.loads(b64decode(body + "=" * (-len(body) % 4), altchars=b"-_"))["sub"]
        return web.json_response(next(person for person in PEOPLE.values() if person["sub"] == subject))


@pytest.fixture
async def issuer() -> AsyncIterator[LoopbackIssuer]:
    """An issuer that listens."""
    found = LoopbackIssuer()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def guarded(start: Any, issuer: LoopbackIssuer, handbook: Path, tmp_path: Path) -> Any:
    """A server with the context `handbook` that lets people of the issuer in."""
    shutil.copytree(handbook, tmp_path / "store")
    return await start(oidc=issuer.settings())
