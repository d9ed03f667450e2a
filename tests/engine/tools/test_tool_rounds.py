"""A model that calls tools: rounds, results, limits, streams, and what is told of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ConfigError,
    DeadlineError,
    Delta,
    ModelInfo,
    Pipeline,
    Prompt,
    ServerError,
    ToolCall,
    ToolCallDelta,
    ToolDefinition,
    ToolFinished,
    ToolRoundFinished,
    ToolRoundsError,
    UsageError,
)
from nexus_core.cli.main import main

PLUGIN = '''
import asyncio
from nexus_core import (
    Item, Ranking, RunContext, ToolDefinition, ToolError, ToolResult, component, hookimpl, option, tool
)
from tests.engine.tools.test_tool_rounds import SCRIPTS


@component
class Scripted:
    """Answers by a script of the test."""

    script: str = option(help="Its name.")
    takes: bool = option(True, help="Whether it takes tools.")

    @property
    def model_info(self):
        return SCRIPTS[self.script].info(self.takes)

    async def send_prompt(self, prompt, options):
        return await SCRIPTS[self.script].answer(prompt, options)

    async def stream_response(self, prompt, options):
        async for chunk in SCRIPTS[self.script].stream(prompt, options):
            yield chunk


@tool
def capital(country: str, *, suffix: str = "") -> str:
    """Tell the capital of a country.

    country: In English.
    suffix: Put behind it.
    """
    if country == "Atlantis":
        raise ToolError("Atlantis has sunk")
    if country == "Utopia":
        raise RuntimeError("secret of the house")
    return {"France": "Paris", "Norway": "Oslo"}.get(country, "?") + suffix


@tool(changes=True)
def book(day: int) -> str:
    """Book a table."""
    return "booked"


@tool
async def slow(run: RunContext) -> str:
    """Take long."""
    await asyncio.sleep(30)


@tool
def library(shelf: str) -> list[Item]:
    """Read a shelf."""
    return [Item(id=f"b{n}", title=f"Book {n}", text=f"On {shelf} stands volume {n}. " * 40) for n in range(30)]


@tool
async def quit(how: str) -> str:
    """End in a way that is nobody's business."""
    if how == "exit":
        raise SystemExit(3)
    if how == "raise":
        raise asyncio.CancelledError
    asyncio.current_task().cancel()
    await asyncio.sleep(30)


@tool
async def flood(length: int) -> str:
    """Say much."""
    return ("There is a tide at " + "noon. " * 9) * (length // 75)


@tool
def mute() -> str:
    return "..."


@tool
def rated() -> Ranking:
    """Find two, the better one last."""
    items = (Item(id="first", text="One."), Item(id="second", text="Another."))
    return Ranking(items).scored("own", [1, 2])


@tool
def halves(how: str) -> list[Item]:
    """Give what nobody could write."""
    if how == "raise":
        raise ToolError("half \\ud83d of it")
    text = "half \\ud83d and \\ud83d\\ude00"
    return [Item(id="a\\udc00", title="t\\ud800", text=text, source="s\\udfff", tags=("\\ud800",))]


@tool
def keep(value: dict) -> str:
    """Keep whatever there is."""
    return "kept"


@component
class Odd:
    """Gives results that are none, or too large."""

    name = "odd"
    tool_names = ("no_text", "no_items", "lazy_items", "long_error", "many_items", "bad_scores")

    async def definitions(self, run):
        return tuple(ToolDefinition(name=name, description=name) for name in self.tool_names)

    async def call(self, name, arguments, run):
        if name == "long_error":
            raise ToolError("x" * 20_000_000)
        items = (Item(id=str(number), title="", text="") for number in range(100_000))
        return {
            "bad_scores": lambda: ToolResult(items=(Item(id="a", text=""),), scores=(("own", [1, 2]),)),
            "no_text": lambda: ToolResult(text=None),
            "no_items": lambda: ToolResult(items=(1, 2)),
            "lazy_items": lambda: ToolResult(items=items),
            "many_items": lambda: ToolResult(items=tuple(items)),
        }[name]()


@hookimpl
def nexus_connectors():
    return [Scripted]


@hookimpl
def nexus_tools():
    return [capital, book, slow, library, quit, flood, mute, rated, keep, halves, Odd]
'''


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else "x"


class Script:
    """What a model says, request by request, and what it was asked."""

    def __init__(self, *said: Any, window: int = 4_000) -> None:
        self.said = list(said)
        self.window = window
        self.asked: list[tuple[Prompt, CallOptions]] = []

    def info(self, takes: bool) -> ModelInfo:
        capabilities = frozenset({"streaming", "generate", *(["tools"] if takes else [])})
        return ModelInfo(id="scripted", provider="test", window=self.window, capabilities=capabilities)

    def _next(self, prompt: Prompt, options: CallOptions) -> tuple[str, tuple[ToolCall, ...]]:
        self.asked.append((prompt, options))
        said = self.said[min(len(self.asked), len(self.said)) - 1]
        if isinstance(said, Exception):
            raise said
        if isinstance(said, str):
            return said, ()
        text, *calls = said
        return text, tuple(
            ToolCall(id=f"c{len(self.asked)}-{place}", name=name, arguments=json.dumps(arguments))
            for place, (name, arguments) in enumerate(calls)
        )

    async def answer(self, prompt: Prompt, options: CallOptions) -> Completion:
        text, calls = self._next(prompt, options)
        return Completion(text=text, finish_reason="tool_calls" if calls else "stop", tool_calls=calls)

    async def stream(self, prompt: Prompt, options: CallOptions) -> AsyncIterator[Chunk]:
        text, calls = self._next(prompt, options)
        for word in text.split(" ") if text else ():
            yield Chunk(word + " ")
        for place, call in enumerate(calls):
            yield Chunk(tool_calls=(ToolCallDelta(index=place, id=call.id, name=call.name, arguments=call.arguments),))
        yield Chunk(finish_reason="tool_calls" if calls else "stop")


SCRIPTS: dict[str, Script] = {}


@pytest.fixture
def load(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """Load a pipeline whose model follows a script."""
    (tmp_path / "own.py").write_text(PLUGIN)
    name = request.node.name

    def loaded(
        script: Script,
        tools: str = "[own.capital]",
        more: str = "",
        steps: str = "",
        models: str = "",
        fallback: str = "[]",
    ) -> Any:
        SCRIPTS[name] = script
        given = f"tools: {tools}{more}" if tools else more
        text = f"""name: asked
plugins: [./own.py]
models:
  main: {{use: own, script: "{name}", fallback: {fallback}}}
{models}
steps:
{steps}
  - generate: {{model: main, {given}}}
"""
        (tmp_path / "p.yaml").write_text(text)
        return Pipeline.load(tmp_path / "p.yaml")

    return loaded


def results_in(prompt: Prompt) -> list[str]:
    return [message.text for message in prompt.messages if message.role == "tool"]


async def test_a_model_calls_a_tool_and_answers_from_its_result(load: Any) -> None:
    """The definition is offered, the result comes back, the answer is that of the last round; options hold."""
    script = Script(("Let me look.", ("capital", {"country": "France"})), "It is Paris!")
    async with load(script, tools="[{use: own.capital, suffix: '!'}]") as pipeline:
        answer = await pipeline.run("Which capital?")
    assert answer.text == "It is Paris!"
    assert not answer.tool_calls
    [first, second] = script.asked
    assert [tool.name for tool in first[1].tools or ()] == ["capital"]
    [definition] = first[1].tools or ()
    assert definition.description == "Tell the capital of a country."
    assert definition.parameters["properties"] == {"country": {"type": "string", "description": "In English."}}
    assert results_in(second[0]) == ["Paris!"]
    assert second[0].messages[-2].tool_calls[0].name == "capital"
    [told] = answer.tools
    assert (told.name, told.outcome, told.round, told.number, told.result) == ("capital", "ok", 1, 1, "Paris!")
    assert len(answer.attempts) == 2


@pytest.mark.parametrize(
    ("called", "outcome", "read"),
    [
        (("capital", {"country": "Atlantis"}), "failed", "Error: Atlantis has sunk"),
        (("capital", {"country": "Utopia"}), "error", "Error: the tool failed (RuntimeError)"),
        (("capital", {"land": "France"}), "invalid", "the arguments are wrong"),
        (("capitol", {"country": "France"}), "unknown", "did you mean 'capital'"),
        (("book", {"day": 1}), "unknown", "no tool has this name"),
        (("slow", {}), "timeout", "no result within 0.05 s"),
        (("keep", {"value": {"a": nested(400)}}), "invalid", "nested more than 64 deep"),
        (("keep", {"value": {"a": "half \ud800"}}), "invalid", "a character that is none"),
        (("keep", {"value": {"a": nested(60)}}), "ok", "kept"),
        (("no_text", {}), "error", "Error: the tool failed (TypeError)"),
        (("no_items", {}), "error", "Error: the tool failed (TypeError)"),
        (("bad_scores", {}), "error", "Error: the tool failed (RankerError)"),
        (("lazy_items", {}), "error", "Error: the tool failed (TypeError)"),
        (("many_items", {}), "error", "too many items (100,000)"),
        (("long_error", {}), "failed", "Error: xxx"),
    ],
)
async def test_what_fails_is_told_to_the_model(load: Any, called: Any, outcome: str, read: str) -> None:
    """No failure of a tool breaks the run, and none tells the text of a foreign error."""
    script = Script(("", called), "Then I do not know.")
    tools = "[own.capital, own.book, own.slow, own.keep, own.odd]"
    async with load(script, tools=tools, more=", tool_timeout: 50ms" if outcome == "timeout" else "") as pipeline:
        answer = await pipeline.run("Which capital?")
    [told] = answer.tools
    assert told.outcome == outcome
    assert read in results_in(script.asked[-1][0])[0]
    assert "secret" not in repr(script.asked[-1][0])


async def test_no_half_of_a_character_comes_out_of_a_tool(load: Any, tmp_path: Path) -> None:
    """Neither by a result nor by an error: what is told of the run can be written, in JSON and by sinks."""
    script = Script(("", ("halves", {"how": "give"}), ("halves", {"how": "raise"})), "So it is [101].")
    path = tmp_path / "p.yaml"
    load(script, tools="[own.halves]")
    path.write_text(f"{path.read_text()}sinks: [{{use: jsonl, path: {tmp_path}/rows.jsonl}}]\ncontent: true\n")
    async with Pipeline.load(path) as pipeline:
        answer = await pipeline.run("Which half?")
    found, raised = results_in(script.asked[-1][0])
    assert found == "[101] t\ufffd\nhalf \ufffd and \U0001f600"
    assert raised == "Error: half \ufffd of it"
    [cited] = answer.cited_items
    assert (cited.item.id, cited.item.source, cited.item.tags) == ("a\ufffd", "s\ufffd", ("\ufffd",))
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["result"] for row in rows if row["type"] == "tool_finished"] == [found, raised]


async def test_what_changes_something_needs_to_be_allowed(load: Any) -> None:
    """Without `allow` it is not even offered; with it, it runs."""
    script = Script(("", ("book", {"day": 3})), "Done.")
    async with load(script, tools="[own.book]", more=", allow: [book]") as pipeline:
        answer = await pipeline.run("Book.")
    assert [(told.outcome, told.result) for told in answer.tools] == [("ok", "booked")]
    script = Script("No.")
    async with load(script, tools="[own.book, own.capital]") as pipeline:
        await pipeline.run("Book.")
        explanation = await pipeline.explain("Book.")
    assert [tool.name for tool in script.asked[0][1].tools or ()] == ["capital"]
    [note] = explanation.notes
    assert "book changes something and is not under `allow`" in note


def test_lint_warns_of_a_tool_that_is_never_offered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever forgot `allow` would look for it in vain."""
    (tmp_path / "own.py").write_text(PLUGIN)
    SCRIPTS["x"] = Script("x")
    head = "name: a\nplugins: [./own.py]\nmodels: {main: {use: own, script: x}}\n"
    text = f"{head}steps:\n  - generate: {{tools: [own.book]ALLOW}}\n"
    told = []
    for allow in ("", ", allow: [book]"):
        (tmp_path / "p.yaml").write_text(text.replace("ALLOW", allow))
        with pytest.raises(SystemExit) as ended:
            main(["lint", str(tmp_path / "p.yaml")])
        assert not ended.value.code
        told.append("".join(capsys.readouterr()))
    assert "the tool 'book' changes something, so it is not offered: add `allow: [book]`" in told[0]
    assert "warning" not in told[1]


async def test_a_tool_without_a_docstring_is_told_of(load: Any, tmp_path: Path, capsys: Any) -> None:
    """By lint at its place, and in the notes of a run: a model has nothing but its name to choose it by."""
    pipeline = load(Script("Hm."), tools="[own.capital, own.mute]")
    with pytest.raises(SystemExit) as ended:
        main(["lint", str(tmp_path / "p.yaml")])
    assert not ended.value.code
    said = "".join(capsys.readouterr())
    assert said.count("P005") == 1
    assert "the tool 'mute' has no description, which is what a model chooses it by: begin its function" in said
    async with pipeline:
        assert (await pipeline.explain("?")).notes == (
            "steps[0] (generate): the tool mute has no description: a model knows no more than its name",
        )


async def test_the_last_round_is_one_in_which_nothing_may_be_called(load: Any) -> None:
    """`rounds` bounds the requests; a model that calls all the same is an error and never an answer."""
    again = ("Once more.", ("capital", {"country": "France"}))
    script = Script(again, again, "Paris.")
    async with load(script, more=", rounds: 3") as pipeline:
        assert (await pipeline.run("?")).text == "Paris."
    assert [options.tool_choice for _, options in script.asked] == [None, None, "none"]
    script = Script(again)
    async with load(script, more=", rounds: 3") as pipeline:
        with pytest.raises(ToolRoundsError, match="round 3"):
            await pipeline.run("?")
        events = [event async for event in pipeline.stream("?")]
    assert len(script.asked) == 6
    assert events[-1].type == "run_failed"


async def test_calls_of_one_round_run_side_by_side_within_the_limit(load: Any) -> None:
    """What is over `tool_calls` is refused, and the next round is the last."""
    script = Script(("", *[("capital", {"country": "Norway"})] * 4), "Oslo.")
    async with load(script, more=", tool_calls: 3") as pipeline:
        answer = await pipeline.run("?")
    assert [told.outcome for told in answer.tools] == ["ok", "ok", "ok", "refused"]
    assert script.asked[-1][1].tool_choice == "none"


async def test_retries_and_rounds_share_one_cap_of_requests(load: Any) -> None:
    """`calls.attempts` bounds the requests of all rounds together, and one is always left for the answer."""
    down = ServerError("down", provider="test", model="scripted", status=500)
    again = ("", ("capital", {"country": "France"}))
    script = Script(again, down, again, "Paris.")
    async with load(script, models="calls: {attempts: 4}") as pipeline:
        answer = await pipeline.run("?")
    assert answer.text == "Paris."
    assert len(script.asked) == len(answer.attempts) == 4
    assert script.asked[-1][1].tool_choice == "none"


async def test_text_before_a_call_is_no_part_of_a_streamed_answer(load: Any) -> None:
    """It comes as an event of its own; the deltas are the answer alone."""
    script = Script(("Let me look.", ("capital", {"country": "France"})), "It is Paris.")
    async with load(script) as pipeline:
        events = [event async for event in pipeline.stream("?")]
    assert "".join(event.text for event in events if isinstance(event, Delta)).strip() == "It is Paris."
    [round_event] = [event for event in events if isinstance(event, ToolRoundFinished)]
    assert ((round_event.content or "").strip(), round_event.calls) == ("Let me look.", 1)
    assert [event.outcome for event in events if isinstance(event, ToolFinished)] == ["ok"]


async def test_items_that_a_tool_finds_are_cut_to_the_window_and_can_be_cited(load: Any) -> None:
    """Results of 50,000 characters go into a window of 1,200 tokens, numbered; the trace tells of each item."""
    script = Script(("", ("library", {"shelf": "A"})), "See [101].", window=1_200)
    async with load(script, tools="[own.library]") as pipeline:
        answer = await pipeline.run("What stands there?")
    prompt = script.asked[-1][0]
    assert prompt.tokens_at_most + prompt.reserved <= prompt.window
    assert results_in(prompt)[0].startswith("[101] Book ")
    assert [packed.number for packed in answer.cited_items] == [101]
    [told] = answer.tools
    assert told.was_cut
    assert told.items == len(told.trace) == 30


async def test_other_runs_go_on_while_a_long_result_is_packed(load: Any) -> None:
    """A million characters take a second of CPU: the event loop turns meanwhile, and not only before and after."""
    turns: list[int] = []
    script = Script(("", ("flood", {"length": 100})), ("", ("flood", {"length": 1_000_000})), "So it is.")
    asked = script._next

    def counted(prompt: Prompt, options: CallOptions) -> Any:
        turns.append(0)
        return asked(prompt, options)

    async def turn() -> None:
        while True:
            await asyncio.sleep(0)
            if turns:
                turns[-1] += 1

    script._next = counted  # type: ignore[method-assign]
    turning = asyncio.create_task(turn())
    async with load(script, tools="[own.flood]") as pipeline:
        answer = await pipeline.run("?")
    turning.cancel()
    assert [told.was_cut for told in answer.tools] == [False, True]
    short, long, _ = turns
    assert long > 10 * short


async def test_search_finds_what_the_pipeline_gathers_and_ranks(load: Any) -> None:
    """For the model's own query, in the same items; the trace shows what these are rated for it."""
    steps = """  - gather:
      use: inline
      items: [{id: a, text: The ferry leaves at nine.}, {id: b, text: The mill grinds corn.}]
  - rank: bm25
  - prompt: qa"""
    query = "What does the mill grind?"
    script = Script(("", ("search", {"query": query}), ("rated", {})), "Corn [101].")
    async with load(script, tools="[{use: search, top: 1}, own.rated]", steps=steps) as pipeline:
        answer = await pipeline.run("When does the ferry leave?")
        expected = [entry for entry in (await pipeline.explain(query)).prompt.trace if entry.item_id == "b"]
    assert results_in(script.asked[-1][0])[0] == "[101] b\nThe mill grinds corn."
    assert [packed.item.id for packed in answer.cited_items] == ["b"]
    searched, rated = (told.trace for told in answer.tools)
    assert [(entry.score, entry.scores) for entry in searched] == [(one.score, one.scores) for one in expected]
    assert searched[0].score > 0
    assert [(entry.item_id, entry.score) for entry in rated] == [("second", 2.0), ("first", 1.0)]


async def test_tools_of_a_caller_and_of_the_pipeline_in_one_request(load: Any) -> None:
    """The pipeline's run here, the caller's are returned; a name of both is the caller's mistake."""
    script = Script(("", ("capital", {"country": "France"}), ("theirs", {})))
    theirs = CallOptions(tools=(ToolDefinition(name="theirs"),))
    async with load(script, more=", client_tools: true") as pipeline:
        answer = await pipeline.run("?", options=theirs)
        with pytest.raises(UsageError, match="capital is a tool of the pipeline, too"):
            await pipeline.run("?", options=CallOptions(tools=(ToolDefinition(name="capital"),)))
        events = [event async for event in pipeline.stream("?", options=theirs)]
    assert [call.name for call in answer.tool_calls] == ["theirs"]
    assert [told.name for told in answer.tools] == ["capital"]
    deltas = [part for event in events if isinstance(event, Delta) for part in event.tool_calls]
    assert [part.name for part in deltas] == ["theirs"]


@pytest.mark.parametrize(
    ("tools", "more", "told"),
    [
        ("[own.capital, own.capital]", "", "two tools are called 'capital'"),
        ("[own.capital]", ", allow: [book]", "`allow` names no tool: 'book'"),
        ("[own.capitol]", "", "offers no tool 'capitol', did you mean 'capital'"),
        ("[own.capital]", ", rounds: 1", "`rounds`"),
        ("[own.capital]", ", tool_timeout: soon", "`tool_timeout` must be seconds"),
        ("", "rounds: 3", "`rounds` has no effect without `tools`"),
    ],
)
async def test_mistakes_are_found_before_anything_runs(load: Any, tools: str, more: str, told: str) -> None:
    """Each at its place in the file."""
    with pytest.raises(ConfigError) as caught:
        load(Script("x"), tools=tools, more=more)
    assert told in str(caught.value)


async def test_a_fallback_that_takes_no_tools_is_an_error_of_the_file(load: Any) -> None:
    """It could not go on with what the first model has called."""
    spare = "  spare: {use: own, script: x, takes: false}"
    SCRIPTS["x"] = Script("x")
    with pytest.raises(ConfigError, match="its fallback 'spare' takes none"):
        load(Script("x"), fallback="[spare]", models=spare)


async def test_a_run_that_is_left_cancels_its_tools(load: Any) -> None:
    """Nothing goes on behind the caller's back."""
    script = Script(("", ("slow", {})), "x")
    async with load(script, tools="[own.slow]") as pipeline:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await pipeline.run("?")
    assert len(script.asked) == 1


async def test_calls_that_are_cancelled_leave_a_row_each(load: Any) -> None:
    """So do those beside them that had ended, and those of a tool that there is not."""
    script = Script(("", ("capital", {"country": "France"}), ("slow", {}), ("gone", {})), "x")
    told: list[Any] = []
    async with load(script, tools="[own.capital, own.slow]") as pipeline:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await pipeline.run("?", on_event=told.append)
    rows = [(row.number, row.name, row.outcome) for row in told if isinstance(row, ToolFinished)]
    assert rows == [(1, "capital", "ok"), (2, "slow", "cancelled"), (3, "gone", "unknown")]


async def test_a_tool_that_cancels_itself_ends_nothing_but_its_call(load: Any) -> None:
    """Calls beside it go on, and a run that is cancelled is so all the same, in the middle of such a call, too."""
    quits = [("quit", {"how": how}) for how in ("cancel", "raise", "exit")]
    script = Script(("", *quits, ("capital", {"country": "France"})), "Paris.")
    async with load(script, tools="[own.capital, own.quit, own.slow]") as pipeline:
        answer = await pipeline.run("?")
        assert [told.outcome for told in answer.tools] == ["error", "error", "error", "ok"]
        read = results_in(script.asked[-1][0])
        assert read[0] == read[1] == "Error: the tool failed (CancelledError)"
        script.said, script.asked[:] = [("", *quits, ("slow", {}))], []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await pipeline.run("?")
    assert len(script.asked) == 1


async def test_the_deadline_of_the_pipeline_ends_a_call_under_way(load: Any) -> None:
    """Though the limit of the tool is longer, and nobody has given the run a time of its own; the tool is cancelled."""
    script = Script(("", ("slow", {}), ("slow", {})), "x")
    async with load(script, tools="[own.slow]", models="calls: {deadline: 200ms}") as pipeline:
        with pytest.raises(DeadlineError, match=r"tools took what was left of `calls\.deadline`"):
            async with asyncio.timeout(20):
                await pipeline.run("?")
    assert len(script.asked) == 1


async def test_a_caller_whose_time_is_up_during_a_call_is_told_so(load: Any) -> None:
    """As the deadline's error itself, and not as a group of errors."""
    script = Script(("", ("slow", {})), "x")
    async with load(script, tools="[own.slow]") as pipeline:
        with pytest.raises(DeadlineError):
            await pipeline.run("?", deadline_s=0.2)
