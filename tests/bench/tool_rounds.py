"""Generate steps with tools: random runs against every bound, and two-step questions with a model that searches twice.

    python tests/bench/tool_rounds.py [--runs 10000] [--seed 18]

A run draws a chain of models with windows of their own, limits, tools with definitions and results of any size, and a
script of calls, failures and answers for the model. Counted are the upstream requests and the calls of tools as they
arrive, against what the pipeline allows; the tokens of each prompt as it is sent, against its window; and the rows of
the ledger, against the requests. Then the questions of two_steps.json are asked of a scripted model with the tool
`search` and about 512 tokens for results: it searches for the question and, where the first text came, for the name
that stands in it; beside it, it searches once. Exits 1 when a bound is passed once, or both texts are packed for fewer
than 95 of 100.

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
from functools import partial
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
from nexus_core import component, hookimpl, option
from tool_rounds import WORLD


@component
class Model:
    """A model of the run."""

    which: int = option(0, help="Its place in the chain.")

    @property
    def model_info(self):
        return WORLD[0].info(self.which)

    async def send_prompt(self, prompt, options):
        return await WORLD[0].answer(self.which, prompt, options)

    async def stream_response(self, prompt, options):
        async for chunk in WORLD[0].stream(self.which, prompt, options):
            yield chunk


@component
class Tools:
    """The tools of the run."""

    async def definitions(self, run):
        return WORLD[0].definitions

    async def call(self, name, arguments, run):
        return await WORLD[0].call(name, arguments)


@hookimpl
def nexus_connectors():
    return [Model]


@hookimpl
def nexus_tools():
    return [Tools]
'''
WORDS = "ferry tide mill harbour lamp corn bridge quay rope salt barrel gull storm keel sail oak iron wool bell".split()
BOTH_FACTS = 95
RESULT_TOKENS = 512


class World:
    """What a run meets, drawn from a seed; counts what arrives."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.rounds, self.calls = draw.randint(2, 8), draw.randint(1, 20)
        self.attempts = draw.randint(1, 10)
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
        self.requests = self.tools = self.asked_for = 0
        self.faults: list[str] = []

    def text(self, words: int) -> str:
        """Return random words."""
        return " ".join(self.draw.choices(WORDS, k=words)) + "."

    def pipeline(self) -> str:
        """Return the file."""
        names = [f"m{place}" for place in range(len(self.windows))]
        items = [{"id": f"i{n}", "title": f"T{n}", "text": self.text(self.draw.choice([5, 60, 400]))} for n in range(6)]
        return json.dumps(
            {
                "name": "drawn",
                "plugins": ["./drawn.py"],
                "models": {
                    name: {"use": "drawn.model", "which": place, "retry": {"first_wait": "1ms", "longest_wait": "1ms"},
                           "breaker": False, "fallback": names[1:] if place == 0 else []}
                    for place, name in enumerate(names)
                },
                "calls": {"attempts": self.attempts},
                "steps": [
                    {"gather": {"use": "inline", "items": items}},
                    {"prompt": "qa"},
                    {"generate": {"model": "m0", "tools": ["drawn.tools"], "rounds": self.rounds,
                                  "tool_calls": self.calls, "tool_timeout": "5ms",
                                  "options": {"max_tokens": self.draw.choice([16, 100, 200])}}},
                ],
            }
        )  # fmt: skip

    def info(self, which: int) -> ModelInfo:
        """Return what is known of a model."""
        return ModelInfo(
            id=f"m{which}",
            provider="drawn",
            window=self.windows[which],
            encoding=("o200k_base", "approximate")[which % 2],
            capabilities=frozenset({"tools", "streaming", "generate"}),
        )

    def _next(self, which: int, prompt: Prompt, options: CallOptions) -> tuple[str, tuple[ToolCall, ...]]:
        self.requests += 1
        info = self.info(which)
        tokens = prompt_tokens(prompt, info, options)
        if tokens + prompt.reserved > info.window or prompt.tokens_at_most + prompt.reserved > info.window:
            self.faults.append(f"{tokens} and {prompt.reserved} tokens in a window of {info.window}")
        if self.draw.random() < self.failing:
            raise ServerError("down", provider="drawn", model=info.id, status=500)
        if options.tool_choice == "none" and self.draw.random() < 0.95:
            return "An answer.", ()
        if self.draw.random() > self.calling:
            return "An answer.", ()
        calls = tuple(
            ToolCall(id=f"c{self.requests}-{place}", name=self._name(), arguments=self._arguments())
            for place in range(self.draw.randint(1, self.most_calls))
        )
        if options.tool_choice != "none":
            self.asked_for += len(calls)
        return self.draw.choice(["", "Let me look."]), calls

    def _name(self) -> str:
        return self.draw.choice(self.definitions).name if self.draw.random() < 0.9 else "nothing"

    def _arguments(self) -> str:
        kind = self.draw.random()
        if kind < 0.05:
            return json.dumps({"wrong": 1})
        return json.dumps({"about": self.text(self.draw.choice([2, 2, 2, 60]))})

    async def answer(self, which: int, prompt: Prompt, options: CallOptions) -> Completion:
        """Return a whole answer."""
        text, calls = self._next(which, prompt, options)
        return Completion(text=text, finish_reason="tool_calls" if calls else "stop", tool_calls=calls)

    async def stream(self, which: int, prompt: Prompt, options: CallOptions) -> AsyncIterator[Chunk]:
        """Yield an answer in parts."""
        text, calls = self._next(which, prompt, options)
        if text:
            yield Chunk(text)
        for place, call in enumerate(calls):
            yield Chunk(tool_calls=(ToolCallDelta(index=place, id=call.id, name=call.name, arguments=call.arguments),))
        yield Chunk(finish_reason="tool_calls" if calls else "stop")

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Return a result of any size, or fail in any way."""
        self.tools += 1
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


def note(rows: list[str], event: Event) -> None:
    """Keep the type of an event."""
    rows.append(event.type)


async def random_runs(runs: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Return how runs ended, and every bound that was passed."""
    ends, faults = Counter[str](), list[str]()
    for number in range(runs):
        draw = random.Random(f"{seed}-{number}")
        world = World(draw)
        WORLD[:] = [world]
        (folder / "drawn.json").write_text(world.pipeline())
        rows: list[str] = []
        async with Pipeline.load(folder / "drawn.json") as pipeline:
            try:
                if draw.random() < 0.5:
                    await pipeline.run("Which ferry leaves?", on_event=partial(note, rows))
                    end = "answered"
                else:
                    async for event in pipeline.stream("Which ferry leaves?"):
                        rows.append(event.type)
                    end = "answered" if isinstance(event, RunFinished) else event.kind  # type: ignore[attr-defined]
            except NexusError as error:
                end = type(error).__name__
        ends[end] += 1
        told = Counter(rows)
        wrong = [
            *world.faults,
            *([f"{world.requests} requests of {world.attempts}"] if world.requests > world.attempts else []),
            *([f"{world.tools} calls of {world.calls}"] if world.tools > world.calls else []),
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

    async def answer(self, which: int, prompt: Prompt, options: CallOptions) -> Completion:
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
