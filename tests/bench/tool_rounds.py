"""Generate steps with tools: random runs against every bound, and two-step questions with a model that searches twice.

    python tests/bench/tool_rounds.py [--runs 10000] [--seed 18]

A run draws a chain of models with windows of their own, limits, tools with definitions and results of any size, other
pipelines that a step or a tool calls, which call one in their turn, a ranker that asks a model, and a script of calls,
failures and answers for the model. Counted are the upstream requests and the calls of tools as they arrive, against
what each pipeline allows for itself and for what it calls; the tokens of each prompt as it is sent, against its window;
and the rows of the ledger, against the requests. Then the questions of two_steps.json are asked of a scripted model
with the tool `search` and about 512 tokens for results: it searches for the question and, where the first text came,
for the name that stands in it; beside it, it searches once. Exits 1 when a bound is passed once, or both texts are
packed for fewer than 95 of 100.

Left out: models that understand what they read; services, whose own counts may differ; clients with tools.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from store import Table

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    Event,
    Item,
    ModelInfo,
    NexusError,
    Pipeline,
    Prompt,
    RunFinished,
    ServerError,
    ToolCall,
    ToolCallDelta,
    ToolDefinition,
    ToolError,
    ToolResult,
)
from nexus_core.engine.calls.call import prompt_tokens
from nexus_core.engine.tools.tool_results import ResultPacker

PLUGIN = '''
from nexus_core import CallOptions, Connector, ConnectorError, Message, Prompt, component, hookimpl, option
from tool_rounds import WORLD


@component
class Model:
    """A model of the run."""

    which: int = option(0, help="Its place in the chain.")
    of: str = option("run", help="The pipeline that it is a model of.")

    @property
    def model_info(self):
        return WORLD[0].info(self.which)

    async def send_prompt(self, prompt, options):
        return await WORLD[0].answer(self.of, self.which, prompt, options)

    async def stream_response(self, prompt, options):
        async for chunk in WORLD[0].stream(self.of, self.which, prompt, options):
            yield chunk


@component
class Begin:
    """Tells that a pipeline begins to run; finds nothing."""

    of: str = option(help="The pipeline.")

    async def gather(self, query, run):
        WORLD[0].begin(self.of)
        return ()


@component
class Asks:
    """A ranker that asks a model, and changes nothing."""

    model: Connector = option(help="The model.")

    async def rank(self, query, ranking, run):
        try:
            await run.bind(self.model).send_prompt(Prompt(messages=(Message("user", query),)), CallOptions())
        except ConnectorError:
            pass
        return ranking


@component
class Tools:
    """The tools of the run."""

    of: str = option("run", help="The pipeline that they are tools of.")

    async def definitions(self, run):
        return WORLD[0].definitions

    async def call(self, name, arguments, run):
        return await WORLD[0].call(self.of, name, arguments)


@hookimpl
def nexus_connectors():
    return [Model]


@hookimpl
def nexus_sources():
    return [Begin]


@hookimpl
def nexus_rankers():
    return [Asks]


@hookimpl
def nexus_tools():
    return [Tools]
'''
WORDS = "ferry tide mill harbour lamp corn bridge quay rope salt barrel gull storm keel sail oak iron wool bell".split()
ABOVE = {"run": (), "step": ("run",), "tool": ("run",), "deep": ("run", "tool")}
"""The pipelines, and what calls them: `step` a step of `run`, `tool` a tool of its model, `deep` one of `tool`."""
COMPONENT = 90
"""Of a model that a ranker asks."""
BOTH_FACTS = 95
RESULT_TOKENS = 512


class Limits:
    """What a pipeline allows."""

    def __init__(self, draw: random.Random) -> None:
        self.rounds, self.calls, self.attempts = draw.randint(2, 8), draw.randint(1, 20), draw.randint(1, 10)
        self.requests = draw.choice([None, None, draw.randint(1, 15)])


class Used:
    """What one run of a pipeline has used, with those that it has called."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = self.for_text = self.tools = 0

    def faults(self, limits: Limits) -> list[str]:
        """Return what is more than the pipeline allows."""
        bounds = [("requests", self.requests, limits.requests), ("requests for text", self.for_text, limits.attempts),
                  ("calls", self.tools, limits.calls)]  # fmt: skip
        return [
            f"{self.name}: {used} {what} of {most}" for what, used, most in bounds if most is not None and used > most
        ]


RUNNING: ContextVar[tuple[Used, ...]] = ContextVar("RUNNING")
"""The runs of pipelines, each called by the one before it."""


class World:
    """What a run meets, drawn from a seed; counts what arrives."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.limits = {name: Limits(draw) for name in ABOVE}
        self.called = {name for name in ("step", "tool", "deep") if draw.random() < 0.5}
        self.ranks = draw.random() < 0.3
        self.used: list[Used] = []
        self.windows = [draw.choice([500, 800, 1_500, 4_000, 16_000]) for _ in range(draw.randint(1, 3))]
        self.failing, self.calling = draw.choice([0.0, 0.1, 0.5]), draw.choice([0.3, 0.8, 1.0])
        self.most_calls = draw.randint(1, 6)
        self.definitions = tuple(
            ToolDefinition(
                name=f"tool_{number}",
                description=self.text(draw.choice([3, 20, 120])),
                parameters={"type": "object", "properties": {"about": {"type": "string"}}, "required": ["about"]},
            )
            for number in range(draw.randint(1, 4))
        )
        self.requests = self.asked_for = 0
        self.faults: list[str] = []

    def text(self, words: int) -> str:
        """Return random words."""
        return " ".join(self.draw.choices(WORDS, k=words)) + "."

    def begin(self, name: str) -> None:
        """Note that a pipeline begins to run, in the run of the one that calls it."""
        above = [used for used in RUNNING.get(()) if used.name in ABOVE[name]]
        if name in ("tool", "deep"):
            self._count_call(ABOVE[name][-1])
        self.used.append(Used(name))
        RUNNING.set((*above, self.used[-1]))

    def _running(self, name: str) -> list[Used]:
        return [used for used in RUNNING.get() if used.name in (*ABOVE[name], name)]

    def _with_tools(self, name: str) -> list[Used]:
        """Return the runs whose generate step has called this pipeline: that of `run` comes after its call step."""
        return [used for used in self._running(name) if (used.name == "step") == (name == "step")]

    def _count_call(self, name: str) -> None:
        for used in self._with_tools(name):
            used.tools += 1

    def pipeline(self, name: str) -> str:
        """Return the file."""
        names, limits = [f"m{place}" for place in range(len(self.windows))], self.limits[name]
        items = [{"id": f"i{n}", "title": f"T{n}", "text": self.text(self.draw.choice([5, 60, 400]))} for n in range(6)]
        calls = {"attempts": limits.attempts, **({"requests": limits.requests} if limits.requests else {})}
        tools: list[Any] = [{"use": "drawn.tools", "of": name}]
        steps: list[Any] = [{"gather": {"use": "drawn.begin", "of": name}}] if name != "run" else []
        steps += [{"gather": {"use": "inline", "items": items}}]
        if self.ranks and name != "step":
            steps += [{"rank": {"use": "drawn.asks", "model": {"use": "drawn.model", "which": COMPONENT, "of": name}}}]
            tools += ["search"]
        if name == "run" and "step" in self.called:
            steps += [{"call": {"pipeline": "./step.yaml"}, "as": "found"}]
        inner = {"run": "tool", "tool": "deep"}.get(name)
        if inner in self.called:
            tools += [{"use": "pipeline", "pipeline": f"./{inner}.yaml"}]
        timeout = self.draw.choice(["5ms", "60ms"]) if inner in self.called else "5ms"
        return json.dumps(
            {
                "name": name,
                "plugins": ["./drawn.py"],
                "models": {
                    model: {"use": "drawn.model", "which": place, "of": name, "breaker": False,
                            "retry": {"first_wait": "1ms", "longest_wait": "1ms"},
                            "fallback": names[1:] if place == 0 else []}
                    for place, model in enumerate(names)
                },
                "calls": calls,
                "steps": [
                    *steps,
                    {"prompt": "qa"},
                    {"generate": {"model": "m0", "tools": tools, "rounds": limits.rounds,
                                  "tool_calls": limits.calls, "tool_timeout": timeout,
                                  "options": {"max_tokens": self.draw.choice([16, 100, 200])}}},
                ],
            }
        )  # fmt: skip

    def info(self, which: int) -> ModelInfo:
        """Return what is known of a model."""
        return ModelInfo(
            id=f"m{which}",
            provider="drawn",
            window=16_000 if which == COMPONENT else self.windows[which],
            encoding=("o200k_base", "approximate")[which % 2],
            capabilities=frozenset({"tools", "streaming", "generate"}),
        )

    def _next(self, of: str, which: int, prompt: Prompt, options: CallOptions) -> tuple[str, tuple[ToolCall, ...]]:
        self.requests += 1
        for used in self._running(of):
            used.requests += 1
        for used in self._with_tools(of) if which != COMPONENT else ():
            used.for_text += 1
        info = self.info(which)
        tokens = prompt_tokens(prompt, info, options)
        if tokens + prompt.reserved > info.window or prompt.tokens_at_most + prompt.reserved > info.window:
            self.faults.append(f"{tokens} and {prompt.reserved} tokens in a window of {info.window}")
        if self.draw.random() < self.failing:
            raise ServerError("down", provider="drawn", model=info.id, status=500)
        if which == COMPONENT:
            return "An answer.", ()
        if options.tool_choice == "none" and self.draw.random() < 0.95:
            return "An answer.", ()
        if self.draw.random() > self.calling:
            return "An answer.", ()
        calls = tuple(
            self._call(f"c{self.requests}-{place}", options.tools or ())
            for place in range(self.draw.randint(1, self.most_calls))
        )
        return self.draw.choice(["", "Let me look."]), calls

    def _call(self, call_id: str, offered: Sequence[ToolDefinition]) -> ToolCall:
        tool = self.draw.choice(offered) if offered and self.draw.random() < 0.9 else None
        (about,) = tool.parameters["required"] if tool is not None and tool.parameters else ("about",)
        wrong = self.draw.random() < 0.05
        arguments = {"wrong": 1} if wrong else {about: self.text(self.draw.choice([2, 2, 2, 60]))}
        return ToolCall(id=call_id, name="nothing" if tool is None else tool.name, arguments=json.dumps(arguments))

    def _count_asked(self, calls: Sequence[ToolCall], options: CallOptions) -> None:
        if options.tool_choice != "none":
            self.asked_for += len(calls)

    async def answer(self, of: str, which: int, prompt: Prompt, options: CallOptions) -> Completion:
        """Return a whole answer."""
        text, calls = self._next(of, which, prompt, options)
        await asyncio.sleep(0)  # others go on, and may end this one
        self._count_asked(calls, options)
        return Completion(text=text, finish_reason="tool_calls" if calls else "stop", tool_calls=calls)

    async def stream(self, of: str, which: int, prompt: Prompt, options: CallOptions) -> AsyncIterator[Chunk]:
        """Yield an answer in parts."""
        text, calls = self._next(of, which, prompt, options)
        self._count_asked(calls, options)
        if text:
            yield Chunk(text)
        for place, call in enumerate(calls):
            yield Chunk(tool_calls=(ToolCallDelta(index=place, id=call.id, name=call.name, arguments=call.arguments),))
        yield Chunk(finish_reason="tool_calls" if calls else "stop")

    async def call(self, of: str, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Return a result of any size, or fail in any way."""
        self._count_call(of)
        kind = self.draw.random()
        if kind < 0.05:
            raise ToolError(self.text(self.draw.choice([3, 900])))
        if kind < 0.1:
            raise RuntimeError("broken")
        if kind < 0.12:
            await asyncio.sleep(1)
        if kind < 0.5:
            return ToolResult(text=self.text(self.draw.choice([1, 50, 3_000])))
        items = [Item(id=f"r{n}", title=self.text(2), text=self.text(self.draw.choice([4, 90, 900]))) for n in range(8)]
        return ToolResult(items=tuple(items[: self.draw.randint(0, 8)]), text=self.draw.choice(["", "Found:"]))


WORLD: list[Any] = []
"""The one that the plugin is of."""


async def random_runs(runs: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Return how runs ended, and every bound that was passed."""
    ends, faults = Counter[str](), list[str]()
    for number in range(runs):
        draw = random.Random(f"{seed}-{number}")
        world = World(draw)
        WORLD[:] = [world]
        world.used.append(Used("run"))
        RUNNING.set(tuple(world.used))
        for name in ABOVE:
            (folder / f"{name}.yaml").write_text(world.pipeline(name))
        rows: list[Event] = []
        async with Pipeline.load(folder / "run.yaml") as pipeline:
            try:
                if draw.random() < 0.5:
                    await pipeline.run("Which ferry leaves?", on_event=rows.append)
                    end = "answered"
                else:
                    async for event in pipeline.stream("Which ferry leaves?"):
                        rows.append(event)
                    end = "answered" if isinstance(event, RunFinished) else event.kind  # type: ignore[attr-defined]
            except NexusError as error:
                end = type(error).__name__
        ends[end] += 1
        told = Counter([event.type for event in rows])
        wrong = [
            *world.faults,
            *[fault for used in world.used for fault in used.faults(world.limits[used.name])],
            *([f"{told['attempt_finished']} rows of {world.requests} requests"]
              if told["attempt_finished"] != world.requests else []),
            *([f"{told['tool_finished']} rows of {world.asked_for} calls"]
              if told["tool_finished"] != world.asked_for else []),
        ]  # fmt: skip
        faults += [f"run {number}: {what}" for what in wrong]
    return ends, faults


class Searcher:
    """A model that searches for the question, then for a name in what it found, and answers."""

    definitions: Sequence[ToolDefinition] = ()

    def __init__(self, second: Mapping[str, tuple[str, str]], searches: int) -> None:
        self.second = second
        self.searches = searches
        self.seen: dict[str, str] = {}
        """Of each question the last prompt."""

    def info(self, which: int) -> ModelInfo:
        """Return a model whose window is no matter here."""
        capabilities = frozenset({"tools", "streaming", "generate"})
        return ModelInfo(id="m", provider="drawn", window=4_000, encoding="o200k_base", capabilities=capabilities)

    async def answer(self, of: str, which: int, prompt: Prompt, options: CallOptions) -> Completion:
        """Search, or answer."""
        results = [message.text for message in prompt.messages if message.role == "tool"]
        self.seen[prompt.query] = "\n".join(results)
        if len(results) == self.searches:
            return Completion(text="Done.", finish_reason="stop")
        first, name = self.second[prompt.query]
        query = prompt.query if not results or first not in results[0] else name
        call = ToolCall(id=f"c{len(results)}", name="search", arguments=json.dumps({"query": query}))
        return Completion(text="", finish_reason="tool_calls", tool_calls=(call,))


async def two_steps(folder: Path, searches: int) -> float:
    """Return for how many of 100 questions both texts were in the results that the model read last."""
    data = json.loads(Path(__file__).with_name("two_steps.json").read_text("utf-8"))
    items = {row["id"]: row for row in data["items"]}
    second = {
        row["question"]: (_fact(items[row["needs"][0]]), items[row["needs"][1]]["title"]) for row in data["questions"]
    }
    world = Searcher(second, searches)
    WORLD[:] = [world]
    share = RESULT_TOKENS / (4_000 - 200)
    (folder / "steps.json").write_text(
        json.dumps(
            {
                "name": "steps",
                "plugins": ["./drawn.py"],
                "models": {"main": {"use": "drawn.model"}},
                "steps": [
                    {"gather": {"use": "inline", "items": data["items"]}},
                    {"rank": "bm25"},
                    {"generate": {"tools": ["search"], "tool_share": round(share, 3), "options": {"max_tokens": 100}}},
                ],
            }
        )
    )
    both = 0
    packer = ResultPacker(info=world.info(0))
    async with Pipeline.load(folder / "steps.json") as pipeline:
        for row in data["questions"]:
            await pipeline.run(row["question"])
            read = world.seen[row["question"]]
            assert packer.count(read) <= RESULT_TOKENS
            both += all(_fact(items[name]) in read for name in row["needs"])
    return 100 * both / len(data["questions"])


def _fact(row: Mapping[str, str]) -> str:
    """Return the last sentence of a text, without its stop."""
    return row["text"].rstrip(".").rpartition(". ")[2]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=18)
    told, table = parser.parse_args(), Table()
    sys.modules["tool_rounds"] = sys.modules[__name__]
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "drawn.py").write_text(PLUGIN)
        ends, faults = asyncio.run(random_runs(told.runs, told.seed, folder))
        print(f"{told.runs:,} random runs:", ", ".join(f"{count:,} {end}" for end, count in ends.most_common()))
        for fault in faults[:20]:
            print(fault)
        table.row("bounds passed in random runs", len(faults), "", 0)
        once, twice = (asyncio.run(two_steps(folder, searches)) for searches in (1, 2))
        table.row("two-step questions: both texts after one search", once, "of 100")
        table.row("two-step questions: both texts after two", twice, "of 100", BOTH_FACTS, at_least=True)
    sys.exit(table.is_over)


if __name__ == "__main__":
    main()
