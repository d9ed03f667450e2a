"""Connectors within components: each request is a call of the engine, retried and accounted like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from math import inf
from random import Random
from typing import Any

import pytest
from attrs import define, evolve, field

from nexus_core import (
    AttemptFinished,
    AuthError,
    CallOptions,
    Connector,
    ConnectorError,
    DeadlineError,
    Embedder,
    Event,
    Message,
    PluginError,
    Prompt,
    Reranker,
    Results,
    RunContext,
    ServerError,
    Usage,
)
from nexus_core.config.policies import CallPolicy, RateLimitPolicy, RetryPolicy
from nexus_core.contract.values import NOTHING_ASKED
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.component_models import component_model
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.state import Scope
from nexus_core.testing.fakes import FakeConnector

PROMPT = Prompt(messages=(Message("user", "Which of them?"),))
SPARE: dict[str, Any] = {"retry": RetryPolicy(attempts=1)}


@define(kw_only=True, eq=False)
class Service(FakeConnector):
    """Does all that a connector can; each number or error is played once, the last one for ever."""

    plays: Sequence[ConnectorError | float] = (0.0,)
    """What a request meets: an error, or so many seconds."""
    asked: list[str] = field(factory=list)
    usage_told: Usage | None = None

    @property
    def embedding_id(self) -> str:
        return "service"

    @property
    def embedding_batch(self) -> int:
        return 8

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        await self._played("embed")
        return Results.from_service([(1.0, 0.0)] * len(texts), self.usage_told, None)

    async def rerank(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        await self._played("rerank")
        return [float(len(text)) for text in texts]

    async def send_prompt(self, prompt: Prompt, options: Any) -> Any:
        await self._played("prompt")
        return await super().send_prompt(prompt, options)

    async def _played(self, purpose: str) -> None:
        play = self.plays[min(len(self.asked), len(self.plays) - 1)]
        self.asked.append(purpose)
        if isinstance(play, ConnectorError):
            raise play
        await asyncio.Event().wait() if play == inf else await asyncio.sleep(play)


class Within:
    """A run, and what a component has been given in it."""

    def __init__(self, loop: Any, *services: FakeConnector, calls: CallPolicy | None = None, **policies: Any) -> None:
        self.loop = loop
        self.events: list[Event] = []
        models = [Model(name=f"m{n}", connector=s, info=s.model_info, **policies) for n, s in enumerate(services)]
        self.registry = ModelRegistry(models)
        attempts = Caller(self.registry, ComponentLifecycle(), calls=calls, clock=loop.clock(), random=Random(1))
        self.connector: Any = component_model(models, attempts, ComponentLifecycle())
        self.scope = Scope(run_id="r", emit=self.events.append)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The ledger: who was asked for what, and how it ended."""
        found = [event for event in self.events if isinstance(event, AttemptFinished)]
        return [(row.model, row.purpose, row.outcome) for row in found]

    def ask(self, purpose: str) -> Any:
        """Make a request within the run."""
        return self.loop.run_until_complete(self.asking(purpose))

    async def asking(self, purpose: str) -> Any:
        return await ASK[purpose](self.scope.bind(self.connector))


ASK: dict[str, Callable[[Any], Any]] = {
    "prompt": lambda connector: connector.send_prompt(PROMPT, NOTHING_ASKED),
    "embed": lambda connector: connector.embed(["one", "two"]),
    "rerank": lambda connector: connector.rerank("why", ["a", "bb"]),
}
PURPOSES = pytest.mark.parametrize("purpose", ASK)


@PURPOSES
def test_a_failed_request_is_made_again(loop: Any, purpose: str) -> None:
    """Each request is one row, in the figures too."""
    run = Within(loop, Service(plays=[ServerError("no"), ServerError("no"), 0.0]))
    assert run.ask(purpose) is not None
    assert run.rows == [("m0", purpose, "server_error")] * 2 + [("m0", purpose, "ok")]
    assert run.registry.usage()["m0"].requests == 3


@PURPOSES
@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_no_more_requests_than_a_call_may_make(loop: Any, purpose: str, attempts: int) -> None:
    """What the model would retry beyond `calls.attempts` is not sent; its error is the connector's own."""
    service = Service(plays=[ServerError("no")])
    run = Within(loop, service, calls=CallPolicy(attempts=attempts), retry=RetryPolicy(attempts=9))
    with pytest.raises(ServerError, match="no"):
        run.ask(purpose)
    assert len(service.asked) == len(run.rows) == attempts


@PURPOSES
def test_what_cannot_help_is_not_sent_again(loop: Any, purpose: str) -> None:
    """A wrong key parks the target: whoever asks next hears it without a request."""
    service = Service(plays=[AuthError("wrong key")])
    run = Within(loop, service)
    for _ in range(2):
        with pytest.raises(AuthError, match="wrong key"):
            run.ask(purpose)
    assert len(service.asked) == 1


@PURPOSES
def test_the_last_of_several_models_tells_its_error(loop: Any, purpose: str) -> None:
    """A component knows the errors of connectors, and no others."""
    run = Within(loop, Service(plays=[ServerError("first")]), Service(plays=[ServerError("second")]), **SPARE)
    with pytest.raises(ServerError, match="first" if purpose == "embed" else "second"):
        run.ask(purpose)


def test_vectors_are_never_made_by_another_model(loop: Any) -> None:
    """They could not be compared, while any model may put texts in order."""
    rows: dict[str, Sequence[str]] = {}
    for purpose in ASK:
        run = Within(loop, Service(plays=[ServerError("no")]), Service(), **SPARE)
        with nullcontext() if purpose != "embed" else pytest.raises(ServerError):
            run.ask(purpose)
        rows[purpose] = [model for model, _, _ in run.rows]
    assert rows == {"prompt": ["m0", "m1"], "embed": ["m0"], "rerank": ["m0", "m1"]}


def test_models_that_cannot_do_it_are_left_out(loop: Any) -> None:
    """One without the endpoint, and one whose window is smaller than that for which the prompt was made."""
    small = evolve(Service().model_info, window=512)
    run = Within(loop, Service(plays=[ServerError("no")]), FakeConnector(), Service(model_info=small), **SPARE)
    with pytest.raises(ServerError):
        run.ask("rerank")
    assert run.ask("prompt").text == "An answer."
    assert [model for model, _, _ in run.rows] == ["m0", "m0", "m1"]


@PURPOSES
def test_a_request_is_told_by_its_tokens(loop: Any, purpose: str) -> None:
    """By the service where it tells, else by the engine, and then it is marked."""
    told = Usage(prompt_tokens=11)
    run = Within(loop, Service(usage_told=told))
    run.ask(purpose)
    row = next(event for event in run.events if isinstance(event, AttemptFinished))
    found = (row.prompt_tokens, row.completion_tokens, row.usage_source)
    expected = {"prompt": (7, 3, "provider"), "embed": (11, 0, "provider"), "rerank": (6, 0, "estimated")}
    assert found == expected[purpose]


def test_tokens_are_reserved_where_they_are_limited(loop: Any) -> None:
    """The limits of the model hold for its components too, and what was not used comes back."""
    run = Within(loop, Service(), limits=RateLimitPolicy(tokens_per_minute=60, queue_wait_s=0.1))
    run.ask("embed")
    with pytest.raises(ConnectorError, match="hold the request back"):
        loop.run_until_complete(_embed_much(run))
    assert run.rows[-1] == ("m0", "embed", "limit")


async def _embed_much(run: Within) -> None:
    connector = run.scope.bind(run.connector)
    for _ in range(3):
        await connector.embed(["word " * 50])


@PURPOSES
def test_the_deadline_of_a_call_is_an_error_of_its_service(loop: Any, purpose: str) -> None:
    """The run goes on where a component can do without; the row says whose time was up."""
    run = Within(loop, Service(plays=[inf]), calls=CallPolicy(deadline_s=20))
    with pytest.raises(ConnectorError, match="within the 20 s") as caught:
        run.ask(purpose)
    assert caught.value.kind == "timeout"
    assert run.rows == [("m0", purpose, "timeout")]


@PURPOSES
def test_a_cancelled_request_leaves_its_row(loop: Any, purpose: str) -> None:
    """And is never turned into anything else."""
    run = Within(loop, Service(plays=[inf]))

    async def leave() -> None:
        task = asyncio.ensure_future(run.asking(purpose))
        await asyncio.sleep(1)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(leave())
    assert run.rows == [("m0", purpose, "cancelled")]


@PURPOSES
def test_a_model_that_is_bound_to_no_run_makes_no_request(loop: Any, purpose: str) -> None:
    """A ranker that forgets `run.bind` hears so, instead of leaving retries, limits and ledger out unseen."""
    service = Service()
    run = Within(loop, service)
    with pytest.raises(PluginError, match=r"write `run.bind\(self.model\)`"):
        loop.run_until_complete(ASK[purpose](run.connector))
    assert service.asked == []


@PURPOSES
def test_a_connector_made_by_hand_is_itself_when_bound(loop: Any, purpose: str) -> None:
    """In tests, and wherever a ranker is called without a pipeline."""
    service = Service()
    assert RunContext().bind(service) is service
    assert Within(loop, service).scope.bind(service) is service
    loop.run_until_complete(ASK[purpose](RunContext().bind(service)))
    assert service.asked == [purpose]


def test_a_stream_is_asked_for_whole(loop: Any) -> None:
    """So that it can be asked for again; its chunks are those of a connector."""
    run = Within(loop, Service(replies=["Two words."], plays=[ServerError("no"), 0.0]))

    async def read() -> list[Any]:
        connector = run.scope.bind(run.connector)
        return [chunk async for chunk in connector.stream_response(PROMPT, NOTHING_ASKED)]

    (chunk,) = loop.run_until_complete(read())
    assert (chunk.text, chunk.finish_reason) == ("Two words.", "stop")
    assert [outcome for _, _, outcome in run.rows] == ["server_error", "ok"]


@pytest.mark.parametrize("connector", [FakeConnector(), Service()], ids=["plain", "all"])
def test_what_is_given_has_the_protocols_of_the_connector(loop: Any, connector: FakeConnector) -> None:
    """Those and no others; what else it has is there too."""
    found: Any = Within(loop, connector).connector
    for protocol in (Connector, Embedder, Reranker):
        assert isinstance(found, protocol) == isinstance(connector, protocol)
    assert found.prompts is connector.prompts
    with pytest.raises(AttributeError):
        _ = found.unheard_of


async def test_a_run_that_is_out_of_time_ends_also_where_failures_are_kept(fakes: Any, load: Any) -> None:
    """A ranker that can do without its model cannot make time."""
    fakes.connectors["main"] = FakeConnector(replies=([inf],))
    async with load(RANKED.format(model="{use: fake}")) as pipeline:
        with pytest.raises(DeadlineError) as caught:
            await pipeline.run("Why?", deadline_s=0.05)
    assert [row.purpose for row in caught.value.attempts] == ["prompt"]


RANKED = """name: ranked
models:
  judge: {{use: fake, retry: {{attempts: 2, first_wait: 0}}, aliases: [j]}}
  main: {{use: extractive}}
default: main
steps:
  - gather: {{use: inline, items: [The tide is due., The tide rises at six.]}}
  - rank: {{use: rerank, on_failure: keep, model: {model}}}
  - prompt: qa
  - generate: main
"""


@pytest.mark.parametrize("name", ["judge", "j"])
async def test_a_model_of_the_file_keeps_its_policies(fakes: Any, load: Any, name: str) -> None:
    """Two attempts are used up, then the order is kept; both stand in the answer, and in the figures of the model."""
    fakes.connectors["main"] = FakeConnector(replies=[ServerError("no")])
    async with load(RANKED.format(model=name)) as pipeline:
        answer = await pipeline.run("When does the tide rise?")
        figures = pipeline.models.usage()
    found = [(row.model, row.purpose, row.outcome) for row in answer.attempts]
    assert found == [("judge", "prompt", "server_error")] * 2 + [("main", "answer", "ok")]
    assert (figures["judge"].requests, figures["main"].requests) == (2, 1)


async def test_a_connector_of_its_own_stands_in_the_ledger_by_its_place(fakes: Any, load: Any) -> None:
    """It is no model that anybody could choose."""
    fakes.connectors["main"] = FakeConnector(replies=["[2] > [1]"])
    async with load(RANKED.format(model="{use: fake}")) as pipeline:
        answer = await pipeline.run("When does the tide rise?")
        assert [model.name for model in pipeline.models.list()] == ["judge", "main"]
        assert pipeline.targets()["steps[1].rank.model"] == "closed"
        assert pipeline.models.usage()["steps[1].rank.model"].requests == 1
    assert [row.model for row in answer.attempts] == ["steps[1].rank.model", "main"]


async def test_an_error_tells_the_attempts_of_its_ranker(fakes: Any, load: Any) -> None:
    """Where failures count, the run ends with the error of the service."""
    fakes.connectors["main"] = FakeConnector(replies=[ServerError("no")])
    async with load(RANKED.format(model="judge").replace("keep", "fail")) as pipeline:
        with pytest.raises(ServerError) as caught:
            await pipeline.run("When does the tide rise?")
    assert [(row.model, row.outcome) for row in caught.value.attempts] == [("judge", "server_error")] * 2


def test_an_answer_to_a_component_is_held_to_its_schema(loop: Any) -> None:
    """Described where the service cannot hold to it, asked again once, and repaired."""
    schema = {"type": "object", "required": ["best"]}
    service = Service(replies=["{}", 'It is: {"best": 2}'])
    run = Within(loop, service)
    asked = run.scope.bind(run.connector).send_prompt(PROMPT, CallOptions(response_schema=schema))
    completion = loop.run_until_complete(asked)
    assert completion.text == '{"best": 2}'
    assert run.rows == [("m0", "prompt", "schema_mismatch"), ("m0", "prompt", "ok")]
    assert (service.options[0].response_schema, '"best"' in service.prompts[0].messages[0].text) == (None, True)
