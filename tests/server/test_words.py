"""The words of errors: in the log always, in answers where the client is the operator, and never elsewhere."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus_core.contract import errors as known
from nexus_core.contract.errors import ConnectorError, NexusError, NoAnswerError, PromptTooLongError, TruncatedError
from nexus_core.server.access.identity import Identity
from nexus_core.server.errors import Failure, failure_of, shape

pytestmark = pytest.mark.slow

SERVER = Path(__file__).parent.parent.parent / "nexus_core" / "server"
CANARY = "c4n4ry in /srv/secret/docs: sk-upstream"
BROKEN = f'''"""Fails where it is told to, with words that nobody else may read."""

from nexus_core import Chunk, ConnectorError, ModelInfo, component, hookimpl, option

CANARY = "{CANARY}"


@component
class Source:
    """Fails."""

    async def gather(self, query, run):
        raise OSError(2, CANARY, CANARY)


@component
class Ranker:
    """Fails."""

    async def rank(self, query, items, run):
        raise RuntimeError(CANARY)


@component
class Template:
    """Fails."""

    variables = ()

    def render(self, variables):
        raise ValueError(CANARY)


@component
class Connector:
    """Fails, before a first text or after."""

    after: str = option("", help="What is said before.")

    @property
    def model_info(self):
        return ModelInfo(id="broken", provider="broken", window=8192)

    async def send_prompt(self, prompt, options):
        raise ConnectorError(CANARY, code=CANARY)

    async def stream_response(self, prompt, options):
        if self.after:
            yield Chunk(self.after)
        raise ConnectorError(CANARY, code=CANARY)


nexus_sources = hookimpl(lambda: [Source], specname="nexus_sources")
nexus_rankers = hookimpl(lambda: [Ranker], specname="nexus_rankers")
nexus_templates = hookimpl(lambda: [Template], specname="nexus_templates")
nexus_connectors = hookimpl(lambda: [Connector], specname="nexus_connectors")
'''
GOOD = {
    "gather": "{use: inline, items: [{id: leave, text: Everybody has 28 days of leave.}]}",
    "rank": "bm25",
    "prompt": "chat",
    "model": "{use: fake, to: own, retry: false, breaker: false}",
}
BREAKS = {
    "gather": {"gather": "{use: broken}"},
    "rank": {"rank": "{use: broken}"},
    "prompt": {"prompt": "{template: broken}"},
    "model": {"model": "{use: broken, retry: false, breaker: false}"},
    "model-late": {"model": "{use: broken, after: Some words, retry: false, breaker: false}"},
}
ASK = {"query": "How many days of leave?"}


def pipeline(name: str, parts: dict[str, str]) -> str:
    """Return a pipeline out of these parts."""
    steps = "".join(f"  - {verb}: {parts[verb]}\n" for verb in ("gather", "rank", "prompt"))
    head = f"name: {name}\nplugins: [./broken.py]\nmodels: {{main: {parts['model']}}}\nsteps:\n"
    return f"{head}{steps}  - generate: main\n"


async def _by_scope(text: str) -> Identity | None:
    return Identity(owner="ann", scopes=frozenset(text.split("+")))


def requests(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the ways to ask a pipeline: both APIs, whole and as a stream, with all that may be told."""
    for options in ({}, {"includeTrace": True}, {"stream": True}, {"stream": True, "includeTrace": True}):
        yield "/api/queries", {**ASK, "pipeline": name, "contextId": name, "options": options}
    for stream in (False, True):
        messages = [{"role": "user", "content": ASK["query"]}]
        yield "/v1/chat/completions", {"model": f"nexus/{name}", "messages": messages, "stream": stream}


async def heard(running: Any, name: str, scopes: str) -> list[tuple[str, str]]:
    """Return the request id and the text of every answer to these requests, heads included."""
    found = []
    for number, (path, body) in enumerate(requests(name)):
        headers = {"Authorization": f"Bearer {scopes}", "X-Request-Id": f"{scopes}-{name}-{number}"}
        async with running.session.post(running.origin + path, json=body, headers=headers) as answer:
            found.append((answer.headers["X-Request-Id"], f"{answer.headers} {await answer.text()}"))
    return found


@pytest.fixture
async def broken(start: Any, tmp_path: Path) -> Any:
    """A server with one pipeline for each part that fails, and keys by their scopes."""
    (tmp_path / "broken.py").write_text(BROKEN)
    pipelines = {name: pipeline(name, GOOD | parts) for name, parts in BREAKS.items()}
    return await start(pipelines={**pipelines, "own": pipeline("own", GOOD)}, verify=_by_scope)


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize(("scopes", "sees"), [("query", False), ("query+read", False), ("admin", True)])
async def test_words_of_plugins_are_for_operators(
    broken: Any, caplog: pytest.LogCaptureFixture, name: str, scopes: str, sees: bool
) -> None:
    """Whatever part fails and whichever way is asked: the log has them under the id that the client was told."""
    caplog.set_level(logging.INFO)
    for request_id, text in await heard(broken, name, scopes):
        assert ("c4n4ry" in text, "/srv" in text) == (sees, sees), text
        assert f"request {request_id}" in caplog.text
    logged = [line for line in caplog.text.split("request ") if line.startswith(f"{scopes}-{name}-")]
    assert [line for line in logged if "c4n4ry" not in line and "nexus_core.access" not in line] == []


def errors() -> list[type[ConnectorError]]:
    """Return all classes of errors of connectors."""
    found, left = [], [ConnectorError]
    while left:
        found.append(left.pop())
        left += found[-1].__subclasses__()
    return [each for each in found if each.__module__ == known.__name__]


@pytest.mark.parametrize("kind", errors(), ids=lambda kind: kind.kind)
@pytest.mark.parametrize(("scopes", "sees"), [("query", False), ("admin", True)])
async def test_words_of_services_are_for_operators(
    broken: Any, fakes: Any, caplog: pytest.LogCaptureFixture, kind: type[ConnectorError], scopes: str, sees: bool
) -> None:
    """The code that the service gives among them; our own codes and statuses are the same for all."""
    caplog.set_level(logging.INFO)
    error = kind(CANARY, provider="fake", model="fake-1")
    error.code = "c4n4ry_code"
    fakes.connectors["own"].replies = [error]
    for request_id, text in await heard(broken, "own", scopes):
        assert ("c4n4ry" in text) == sees, text
        assert failure_of(error).code in text or '"no_answer"' in text
        assert [line for line in caplog.messages if request_id in line and "c4n4ry" in line]


async def test_words_of_a_stream_that_broke_off_are_for_operators(broken: Any, fakes: Any) -> None:
    """Also of an attempt before one that went well."""
    fakes.connectors["own"].replies = [("Some words", TruncatedError(CANARY, provider="fake", model="fake-1"))]
    assert [text for _, text in await heard(broken, "own", "query") if "c4n4ry" in text] == []
    assert [text for _, text in await heard(broken, "own", "admin") if "c4n4ry" in text]


async def test_words_are_for_all_where_the_server_says_so(start: Any, tmp_path: Path) -> None:
    """`--show-upstream-errors`."""
    (tmp_path / "broken.py").write_text(BROKEN)
    pipelines = {"rank": pipeline("rank", GOOD | BREAKS["rank"])}
    running = await start(pipelines=pipelines, verify=_by_scope, show_upstream_errors=True)
    assert all("c4n4ry" in text for _, text in await heard(running, "rank", "query"))


async def test_words_are_for_whoever_asks_a_server_without_keys(start: Any, tmp_path: Path) -> None:
    """There the client is the operator."""
    (tmp_path / "broken.py").write_text(BROKEN)
    running = await start(pipelines={"rank": pipeline("rank", GOOD | BREAKS["rank"])})
    assert all("c4n4ry" in text for _, text in await heard(running, "rank", "query"))


class NewError(NexusError):
    """An error that the server has never heard of."""


class NewConnectorError(ConnectorError):
    """A kind of failure that comes one day."""


@pytest.mark.parametrize("openai", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        NewError(CANARY), NewConnectorError(CANARY), RuntimeError(CANARY), OSError(2, CANARY, CANARY),
        PromptTooLongError(CANARY, over=3), NoAnswerError(CANARY, [ConnectorError(CANARY)]),
        *(each(CANARY) for each in vars(known).values()
          if isinstance(each, type) and issubclass(each, NexusError)
          and each not in (known.ConfigError, PromptTooLongError, NoAnswerError)),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_an_error_is_hidden_unless_it_is_listed(error: Exception, openai: bool) -> None:
    """What is new has no sentence yet, and so it is told by that of its nearest kind."""
    told = shape(failure_of(error), "id", openai=openai, to_operator=False)
    assert "c4n4ry" not in str(told)
    assert "/srv" not in str(told)


def test_no_message_of_a_failure_holds_the_text_of_an_error() -> None:
    """That goes into its `words`: the message is for any client."""
    wrong = []
    for path in SERVER.rglob("*.py"):
        for handler in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(handler, ast.ExceptHandler) and handler.name:
                wrong += [f"{path.name}:{call.lineno}" for call in _messages_with(handler)]
    assert wrong == []


def _messages_with(handler: ast.ExceptHandler) -> Iterator[ast.Call]:
    """Yield the failures made in a handler whose message is made of the error's own text."""
    for call in ast.walk(handler):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == Failure.__name__:
            message = call.args[2]
            names = [each.id for each in ast.walk(message) if isinstance(each, ast.Name)]
            reads = [each.value for each in ast.walk(message) if isinstance(each, ast.Attribute)]
            if handler.name in names and not [each for each in reads if getattr(each, "id", "") == handler.name]:
                yield call


async def test_paths_of_documents_are_for_operators(running: Any) -> None:
    """Where a folder lay on the machine is no client's business."""
    running.server.gate._verify = _by_scope
    body = {"data": b"Leave.", "headers": {"Authorization": "Bearer admin"}}
    assert (await running.call("POST", "/api/contexts/handbook/documents?name=a.md", **body))[0] == 200
    where = "SET origin = '/srv/docs'"
    words = "is a PDF that cannot be read (PdfStreamError: at /srv/docs); left out"
    for scopes, origin, reason in (("read", "", "is a PDF that cannot be read"), ("admin", "/srv/docs", words)):
        headers = {"Authorization": f"Bearer {scopes}"}
        for kind, skipped in (("documents", ""), ("skipped", words)):
            change = f"UPDATE documents {where}, skipped = ?"
            await running.store.write(lambda connection, c=change, s=skipped: connection.execute(c, (s,)))
            _, told = await running.call("GET", f"/api/contexts/handbook/{kind}", headers=headers)
            assert [each["origin"] for each in told[kind]] == [origin]
            assert not skipped or [each["reason"] for each in told[kind]] == [reason]
