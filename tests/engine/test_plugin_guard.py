"""Whatever a plugin returns or raises is told as that plugin's error, with its name: each kind, each mistake."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from nexus_core import ConfigError, ConnectorError, NexusError, Pipeline, RankerError, SourceError, TemplateError

PIPELINE = """
name: x
plugins: [./bad.py]
models: {main: {use: CONNECTOR, retry: false}}
steps:
  - gather: SOURCE
  - rank: RANKER
  - prompt: {template: TEMPLATE}
  - generate: main
sinks: [SINK]
"""
GOOD = {
    "CONNECTOR": "extractive",
    "SOURCE": "{use: inline, items: [{id: a, text: One.}, {id: b, text: Two.}]}",
    "RANKER": "bm25",
    "TEMPLATE": "qa",
    "SINK": "log",
}
HEAD = """
import asyncio
import numpy as np
from nexus_core import *

@component
class Bad:
    name = "bad"
"""
TAIL = """

@hookimpl
def nexus_KINDs():
    return [Bad]
"""
RAISED = {
    "error": "raise ValueError('mine')",
    "exit": "raise SystemExit(3)",
    "cancelled": "raise asyncio.CancelledError()",
    "cancelling": "asyncio.current_task().cancel()",
    "closing": "raise GeneratorExit",
    "stopping": "raise StopIteration",
    "stopping a loop": "raise StopAsyncIteration",
    "own base": "raise type('Odd', (BaseException,), {})()",
    "bare": "raise NexusError('mine')",
    "usage": "raise UsageError('mine')",
    "unspeakable, and out": "raise type('Mute', (Exception,), {'__str__': lambda self: exit(3)})()",
    "unspeakable": "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()",
}
RANKERS = {
    **RAISED,
    "nothing": "return None",
    "text": "return 'ab'",
    "nan": "return ranking.scored('bad', [1.0, float('nan')])",
    "infinite": "return [1.0, -np.inf]",
    "nan of numpy": "return ranking.scored('bad', np.array([float('nan'), 1.0]))",
    "nan beside another best": "return Ranking(ranking.items, (('bad', [2.0, float('nan')]),))",
    "too few": "return [1.0]",
    "too many": "return np.ones(3)",
    "a column": "return np.ones((2, 1))",
    "words": "return ['much', 'little']",
    "numbers in words": "return ['1.0', '2.0']",
    "a set": "return {1.0, 2.0}",
    "a masked array": "return np.ma.masked_array([1.0, 2.0], [0, 1])",
    "a masked value": "return [np.ma.masked, 2.0]",
    "none inside": "return ranking.scored('bad', [1.0, None])",
    "coroutine": "return self.rank(query, ranking)",
    "generator that raises": "return (1 / (1 - n) for n in range(2))",
    "others' items": "return Ranking(ranking.items[:1]).scored('bad', [1.0])",
    "a head of nowhere": "return ranking.scored('bad', [1.0, 2.0], head=[7])",
    "no column": "return Ranking(ranking.items, (('bad', None),))",
}
SOURCES = {
    **RAISED,
    "nothing": "return None",
    "text": "return 'ab'",
    "a mapping": "return {'a': 1}",
    "a number": "return 3",
    "texts": "return ['a', 'b']",
    "one wrong": "return [Item(id='a', text='x'), 'b']",
    "no text": "return [Item(id='a', text=None)]",
    "numbers for ids": "return (Item(id=n, text='x') for n in range(2))",
    "generator that raises": "return (Item(id=str(n), text=str(1 / n)) for n in range(2))",
    "coroutine": "return self.gather(query, run)",
    "async generator": "yield Item(id='a', text='x')",
    "a ranking with nan": "return Ranking((Item(id='a', text='x'),), (('bad', [float('nan')]),))",
    "a ranking of texts": "return Ranking(('a',))",
}
TEMPLATES = {
    **RAISED,
    "nothing": "return None",
    "text": "return 'ab'",
    "texts": "return ['a', 'b']",
    "no content": "return [Message('user', None)]",
    "no role": "return [Message('wizard', 'x')]",
    "generator that raises": "return (Message('user', str(1 / n)) for n in range(2))",
    "coroutine": "return asyncio.sleep(0)",
}
CONNECTORS = {
    **RAISED,
    "nothing": "return None",
    "text": "return 'ab'",
    "no text": "return Completion(text=None, finish_reason='stop')",
    "no usage": "return Completion(text='a', finish_reason='stop', usage=3)",
    "coroutine": "return asyncio.sleep(0)",
}
STREAMS = {
    **{name: f"{body}\n        yield Chunk()" for name, body in RAISED.items()},
    "nothing": "return None",
    "a list": "return [Chunk('a')]",
    "a coroutine": "return asyncio.sleep(0)",
    "text": "yield 'ab'",
    "no text": "yield Chunk(None)",
    "none": "yield None",
}


async def ran(folder: Path, kind: str, code: str, *, streamed: bool = False) -> str:
    """Run a pipeline with one bad plugin and return its answer; raises what a caller gets."""
    (folder / "bad.py").write_text(HEAD + code + TAIL.replace("KIND", kind.lower()))
    text = PIPELINE
    for word, good in {**GOOD, kind: "bad"}.items():
        text = text.replace(word, good)
    (folder / "p.yaml").write_text(text)
    async with Pipeline.load(folder / "p.yaml", environment={}) as pipeline:
        if not streamed:
            return (await pipeline.run("One?")).text
        *_, last = [event async for event in pipeline.stream("One?")]
        if error := getattr(last, "error", None):
            raise error
        return ""


async def test_the_error_tells_the_line_of_the_plugin(tmp_path: Path) -> None:
    """The innermost of its own file, below which may be the library of Python; nothing of this package is named."""
    (tmp_path / "bad.py").write_text(
        "import json\nfrom nexus_core import hookimpl, ranker\n@ranker\ndef bad(query, items):\n"
        "    return read(query)\ndef read(text):\n    return json.loads(text)\n"
        "@hookimpl\ndef nexus_rankers():\n    return [bad]\n"
    )
    text = PIPELINE
    for name, use in (GOOD | {"RANKER": "bad"}).items():
        text = text.replace(name, use)
    (tmp_path / "x.yaml").write_text(text)
    async with Pipeline.load(tmp_path / "x.yaml") as pipeline:
        with pytest.raises(RankerError, match=r"ranker 'bad' failed: JSONDecodeError: .* \(bad\.py, line 7\)$"):
            await pipeline.run("no JSON")


@pytest.mark.parametrize("body", RANKERS.values(), ids=RANKERS)
async def test_a_ranker_answers_for_what_it_does(tmp_path: Path, body: str) -> None:
    """Wrong types, lengths, NaN anywhere, and whatever it raises."""
    with pytest.raises(RankerError, match="ranker 'bad'"):
        await ran(tmp_path, "RANKER", f"    async def rank(self, query, ranking, run):\n        {body}\n")


@pytest.mark.parametrize(
    "scores",
    ["np.array([1.0, 2.0])", "np.array([1, 2], np.int8)", "np.float32([1, 2])", "(1, 2)", "(n for n in (1.0, 2.0))",
     "__import__('array').array('d', [1, 2])", "[np.float64(1), np.float64(2)]", "range(2)"],
)  # fmt: skip
@pytest.mark.parametrize("form", ["return {}", "return ranking.scored('bad', {})"], ids=["alone", "scored"])
async def test_any_sequence_of_numbers_is_a_score(tmp_path: Path, scores: str, form: str) -> None:
    """A list, a tuple, a generator, an array of numpy's: returned as such, or within a ranking."""
    body = form.format(scores)
    text = await ran(tmp_path, "RANKER", f"    async def rank(self, query, ranking, run):\n        {body}\n")
    assert "One." in text


@pytest.mark.parametrize(
    "scores", ["{1.0: 1, 2.0: 2}", "'12'", "b'12'", "None", "3", "[1.0]", "[1.0, float('inf')]", "np.ones((2, 1))"]
)
async def test_a_function_answers_for_its_scores_as_a_class_does(tmp_path: Path, scores: str) -> None:
    """One check for both: a mapping or a text is no row of numbers, though its keys or letters may be some."""
    code = f"@ranker\ndef Bad(query, items):\n    'A ranker.'\n    return {scores}\n"
    head = HEAD[: HEAD.index("@component")]
    (tmp_path / "bad.py").write_text(head + code + TAIL.replace("KIND", "ranker"))
    (tmp_path / "p.yaml").write_text(
        "name: x\nplugins: [./bad.py]\nmodels: {main: {use: extractive}}\nsteps:\n"
        f"- gather: {GOOD['SOURCE']}\n- rank: bad\n- prompt: {{template: qa}}\n- generate: main\n"
    )
    async with Pipeline.load(tmp_path / "p.yaml", environment={}) as pipeline:
        with pytest.raises(RankerError, match="ranker 'Bad'"):
            await pipeline.run("One?")


@pytest.mark.parametrize("found", ["items", "Ranking(items).scored('own', [1, 2])"], ids=["items", "ranking"])
async def test_no_half_of_a_character_comes_out_of_a_source(tmp_path: Path, found: str) -> None:
    """Whatever comes after it can be written; scores and order are those of the source."""
    odd = "Item(id='b\\ud800', text='One \\udfff.', title='\\ud83d\\ude00', source='\\ud83d')"
    items = f"(Item(id='good', text='One.'), {odd})"
    code = f"    async def gather(self, query, run):\n        items = {items}\n        return {found}\n"
    (tmp_path / "bad.py").write_text(HEAD + code + TAIL.replace("KIND", "source"))
    (tmp_path / "p.yaml").write_text(
        "name: x\nplugins: [./bad.py]\nmodels: {main: extractive}\n"
        "steps: [{gather: bad}, {prompt: qa}, {generate: main}]\n"
    )
    async with Pipeline.load(tmp_path / "p.yaml", environment={}) as pipeline:
        answer = await pipeline.run("One?")
    texts = {each.item.id: (each.item.text, each.item.title, each.item.source) for each in answer.prompt.items}
    assert texts["b\ufffd"] == ("One \ufffd.", "\U0001f600", "\ufffd")
    best = next(iter(texts))
    assert best == ("good" if found == "items" else "b\ufffd")
    assert answer.text.encode()


@pytest.mark.parametrize("body", SOURCES.values(), ids=SOURCES)
async def test_a_source_answers_for_what_it_does(tmp_path: Path, body: str) -> None:
    """No item, half an item, a promise of one, and whatever it raises, in a generator too."""
    with pytest.raises(SourceError, match="source 'bad'"):
        await ran(tmp_path, "SOURCE", f"    async def gather(self, query, run):\n        {body}\n")


@pytest.mark.parametrize("body", TEMPLATES.values(), ids=TEMPLATES)
async def test_a_template_answers_for_what_it_does(tmp_path: Path, body: str) -> None:
    """No messages, and whatever it raises."""
    code = f"    variables = frozenset({{'query'}})\n    def render(self, variables):\n        {body}\n"
    with pytest.raises(TemplateError, match="template 'bad'"):
        await ran(tmp_path, "TEMPLATE", code)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("taken", "told"), [(True, RankerError), (False, KeyboardInterrupt)])
async def test_an_interrupt_is_the_plugins_where_ctrl_c_raises_none(tmp_path: Path, taken: bool, told: Any) -> None:
    """As in a server, whose loop takes the signal; elsewhere it may be the user's, and passes."""
    loop = asyncio.get_running_loop()
    if taken:
        loop.add_signal_handler(signal.SIGINT, lambda: None)
    try:
        found = None
        code = "    async def rank(self, query, ranking, run):\n        raise KeyboardInterrupt\n"
        try:
            await ran(tmp_path, "RANKER", code)
        except BaseException as error:  # noqa: BLE001 - pytest takes an interrupt for its own
            found = type(error)
        assert found is told
    finally:
        if taken:
            loop.remove_signal_handler(signal.SIGINT)


CONNECTOR = """
    model_info = ModelInfo(id="bad-1", provider="bad", window=4096)
    async def send_prompt(self, prompt, options):
        WHOLE
    async def stream_response(self, prompt, options):
        STREAM
"""


@pytest.mark.parametrize("body", CONNECTORS.values(), ids=CONNECTORS)
async def test_a_connector_answers_for_what_it_does(tmp_path: Path, body: str) -> None:
    """No completion, half a one, and whatever it raises; the model is named, and the class."""
    code = CONNECTOR.replace("WHOLE", body).replace("STREAM", "yield Chunk()")
    with pytest.raises(ConnectorError, match="connector Bad of 'main' broke its contract"):
        await ran(tmp_path, "CONNECTOR", code)


@pytest.mark.parametrize("body", STREAMS.values(), ids=STREAMS)
async def test_a_streaming_connector_answers_for_what_it_does(tmp_path: Path, body: str) -> None:
    """No stream, no chunks, and whatever it raises."""
    code = CONNECTOR.replace("WHOLE", "return None").replace("STREAM", body)
    code = code if "yield" in body else code.replace("async def stream", "def stream")
    with pytest.raises(ConnectorError, match="connector Bad of 'main' broke its contract"):
        await ran(tmp_path, "CONNECTOR", code, streamed=True)


@pytest.mark.parametrize(
    "info",
    ["None", "1 / 0", "exit(3)", "'gpt'", "ModelInfo(id='a', provider='b', window=9, requires='max_tokens')",
     "ModelInfo(id='a', provider='b', window=9, capabilities='json')"],
)  # fmt: skip
async def test_a_connector_answers_for_its_model_info(tmp_path: Path, info: str) -> None:
    """Found when the pipeline is loaded, with its place in the file."""
    code = (
        "    send_prompt = stream_response = None\n    @property\n    def model_info(self):\n        return "
        + info
        + "\n"
    )
    with pytest.raises(ConfigError, match=r"p\.yaml:4:.*connector 'bad'"):
        await ran(tmp_path, "CONNECTOR", code)


@pytest.mark.parametrize("body", [*RAISED.values(), "return asyncio.sleep(0)"], ids=[*RAISED, "coroutine"])
async def test_a_sink_answers_for_what_it_does(tmp_path: Path, body: str, caplog: pytest.LogCaptureFixture) -> None:
    """It touches no run; it is named in the log, each failure is counted, and its thread goes on."""
    code = f"    def emit(self, event):\n        {body}\n    def flush(self):\n        {body}\n"
    with caplog.at_level(logging.WARNING):
        assert "One." in await ran(tmp_path, "SINK", code)
    warned = [record.getMessage() for record in caplog.records]
    assert warned[0].startswith("sink bad failed: ")
    assert "0 events dropped" in warned[-1]


@pytest.mark.parametrize(
    "code",
    ["    hears = 'run_failed'\n", "    hears = 3\n",
     "    async def __aenter__(self):\n        raise OSError('no disk')\n",
     "    async def __aenter__(self):\n        raise SystemExit(1)\n"],
    ids=["text", "number", "opening", "exit"],
)  # fmt: skip
async def test_a_sink_that_cannot_be_opened_is_named(tmp_path: Path, code: str) -> None:
    """Before any run."""
    rest = "    async def __aexit__(self, *error): ...\n    def emit(self, event): ...\n    def flush(self): ...\n"
    with pytest.raises(NexusError, match="sink 'bad' failed"):
        await ran(tmp_path, "SINK", code + rest)


@pytest.mark.parametrize(
    "hook",
    ["def nexus_rankers():\n    return None", "def nexus_rankers():\n    raise SystemExit(3)",
     "async def nexus_rankers():\n    return []", "def nexus_rankers():\n    return [int, 3]",
     "def nexus_rankers():\n    yield 1 / 0"],
    ids=["nothing", "exit", "coroutine", "no component", "generator"],
)  # fmt: skip
def test_a_hook_answers_for_what_it_does(tmp_path: Path, hook: str) -> None:
    """A problem of the pipeline that names the plugin, at its place."""
    (tmp_path / "bad.py").write_text(f"from nexus_core import hookimpl\n\n@hookimpl\n{hook}\n")
    text = PIPELINE
    for word, good in {**GOOD, "RANKER": "bad"}.items():
        text = text.replace(word, good)
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"p\.yaml:7:.*'bad'"):
        Pipeline.load(tmp_path / "p.yaml", environment={})


@pytest.mark.parametrize("kind", ["RANKER", "CONNECTOR"])
async def test_a_cancellation_that_was_asked_for_passes(tmp_path: Path, kind: str) -> None:
    """Who cancels a run gets CancelledError, whatever plugin was at work."""
    wait = "await asyncio.Event().wait()"
    code = CONNECTOR.replace("WHOLE", wait).replace("STREAM", "yield Chunk()")
    task = asyncio.create_task(
        ran(
            tmp_path,
            kind,
            code if kind == "CONNECTOR" else f"    async def rank(self, query, ranking, run):\n        {wait}\n",
        )
    )
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("body", RAISED.values(), ids=RAISED)
async def test_a_plugin_that_fails_as_it_is_closed_costs_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    """The run is over: the log names the plugin, and what else is open is closed."""
    code = CONNECTOR.replace("WHOLE", "return Completion(text='One.', finish_reason='stop')")
    code = code.replace("STREAM", "yield Chunk('One.', finish_reason='stop')")
    code += "    async def __aenter__(self):\n        return self\n"
    code += f"    async def __aexit__(self, *error):\n        {body}\n"
    assert await ran(tmp_path, "CONNECTOR", code) == "One."
    assert [record.levelname for record in caplog.records if "Bad failed as it was closed" in record.message] == [
        "WARNING"
    ]
