"""OpenTelemetry by its standard variables alone, with a collector on loopback that reads OTLP over HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from nexus_metrics import optional_imports
from nexus_metrics.otel_extensions import FailuresOnce
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from nexus_core import Item, Pipeline, TraceContext
from nexus_core.testing import ScriptedUpstream
from nexus_core.testing.answers import completion, json_answer

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ITEMS = [Item(id="1", text="The elephant is grey.")]
PIPELINE = """name: handbook
models: {{main: {{use: openai, model: m-1, base_url: {url}, api_key: k}}}}
steps:
  - gather: {{use: files, paths: ["*.md"]}}
  - rank: bm25
  - prompt: qa
  - generate: main
sinks: {sinks}
"""


class Collector:
    """What came to an endpoint of OTLP."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.resources: list[dict[str, Any]] = []
        self.spans: list[Any] = []
        self.metrics = 0

    async def take(self, request: web.Request) -> web.Response:
        """Note a request."""
        body = await request.read()
        if request.path == "/v1/metrics":
            self.metrics += 1
            return web.Response()
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append({pair.key: pair.value.string_value for pair in each.resource.attributes})
            self.spans += [span for scope in each.scope_spans for span in scope.spans]
        return web.Response()

    def span(self, name: str) -> Any:
        """Return the one span of a name."""
        [found] = [span for span in self.spans if span.name == name]
        return found


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Listen where OTLP over HTTP is sent."""
    found = Collector("")
    app = web.Application()
    app.router.add_post("/v1/{signal}", found.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*os.environ,):
        if name.startswith("OTEL_") or name == "TRACEPARENT":
            monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with something to search."""
    (tmp_path / "animals.md").write_text("# Animals\nThe elephant is grey.\n")
    return tmp_path


def written(folder: Path, upstream: ScriptedUpstream | None = None, sinks: str = "[]") -> Path:
    """Return the pipeline's file."""
    url = upstream.url if upstream else "http://127.0.0.1:9/v1"
    (folder / "p.yaml").write_text(PIPELINE.format(url=url, sinks=sinks))
    return folder / "p.yaml"


def attributes(span: Any) -> dict[str, Any]:
    """Return the attributes of a span, each by the one value that it has."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


async def ask(folder: Path, answers: int = 1, sinks: str = "[]", **asked: Any) -> tuple[str, list[Any]]:
    """Return the answer of a run in this process, and the requests that the model's service got."""
    async with ScriptedUpstream(*[json_answer(completion("Grey."))] * answers) as upstream:
        async with Pipeline.load(written(folder, upstream, sinks)) as pipeline:
            answer = await pipeline.run("What is grey?", **asked)
        return answer.text, list(upstream.requests)


async def nexus(folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Return the exit code and the output of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "nexus_core", *arguments, cwd=folder, env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_run_is_sent_with_its_steps_packing_and_attempts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below each other in one trace, under the service's name, by the names of the GenAI conventions."""
    async with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.origin)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "handbook-service")
        await ask(folder)
    run, chat = found.span("invoke_workflow handbook"), found.span("chat m-1")
    assert {span.name for span in found.spans} == {run.name, "retrieval", "rank", "pack", chat.name}
    assert {span.parent_span_id for span in found.spans if span is not run} == {run.span_id}
    assert {span.trace_id for span in found.spans} == {run.trace_id}
    assert found.resources[0]["service.name"] == "handbook-service"
    assert found.resources[0]["service.instance.id"]
    told = attributes(chat)
    assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"]) == ("chat", "openai")
    assert (told["gen_ai.request.model"], told["gen_ai.usage.input_tokens"] > 0) == ("m-1", True)
    assert attributes(found.span("retrieval"))["gen_ai.operation.name"] == "retrieval"
    assert found.metrics > 0


async def test_the_trace_of_a_caller_goes_on_to_the_models_service(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is below the caller's span, and the service is told of the span of the attempt."""
    async with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.origin)
        _, [request] = await ask(folder, traceparent=CALLER)
    run, chat = found.span("invoke_workflow handbook"), found.span("chat m-1")
    assert (run.trace_id.hex(), run.parent_span_id.hex()) == (CALLER[3:35], CALLER[36:52])
    assert request.headers["traceparent"] == f"00-{run.trace_id.hex()}-{chat.span_id.hex()}-01"


@pytest.mark.parametrize(
    ("sampler", "caller", "spans"),
    [
        ("always_off", CALLER, 0),
        ("parentbased_always_on", CALLER[:-1] + "0", 0),
        ("parentbased_always_off", CALLER, 5),
        ("traceidratio", None, 0),
    ],
)
async def test_the_sampler_of_the_variables_decides(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, caller: str | None, spans: int
) -> None:
    """And the service is told what it said; spans and header agree."""
    async with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.origin)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
        _, [request] = await ask(folder, traceparent=caller)
    assert len(found.spans) == spans
    assert request.headers["traceparent"].endswith("-01" if spans else "-00")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    ],
)
async def test_what_is_switched_off_sends_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """No span, no metric, no header; the answer is the same."""
    async with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.origin)
        monkeypatch.setenv(name, value)
        text, [request] = await ask(folder)
    assert (text, found.spans, found.metrics) == ("Grey.", [], 0)
    assert "traceparent" not in request.headers


async def test_signals_and_propagation_can_be_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by its own variable."""
    async with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.origin)
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console, otlp")  # lists may have spaces
        monkeypatch.setenv("OTEL_PROPAGATORS", "none")
        _, [request] = await ask(folder)
    assert (len(found.spans), found.metrics) == (5, 0)
    assert "traceparent" not in request.headers


@pytest.mark.parametrize(
    ("captured", "told"), [("", False), ("NO_CONTENT", False), ("SPAN_ONLY", True), ("true", True)]
)
async def test_contents_are_in_spans_only_where_the_variable_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, captured: str, told: bool
) -> None:
    """And in no other sink: the pipeline does not say `content: true`."""
    async with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.origin)
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", captured)
        await ask(folder, sinks=f"[{{use: jsonl, path: {folder / 'log.jsonl'}}}]")
    run = attributes(found.span("invoke_workflow handbook"))
    assert ("gen_ai.input.messages" in run, "gen_ai.output.messages" in run) == (told, told)
    if told:
        assert json.loads(run["gen_ai.input.messages"])[0]["parts"][0]["content"] == "What is grey?"
    assert "What is grey" not in (folder / "log.jsonl").read_text()


async def test_a_sink_of_the_pipeline_takes_the_variables_and_is_the_only_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent twice."""
    async with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.origin)
        await ask(folder, sinks="[{use: otel, service: mine}]")
    assert len(found.spans) == 5
    assert found.resources[0]["service.name"] == "mine"


async def test_without_the_extra_a_warning_says_so_and_the_run_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A cluster may set the variables for whatever runs in it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(optional_imports, "find_spec", lambda name: None)
    text, _ = await ask(folder)
    assert text == "Grey."
    assert "pip install 'contextnexus[otel]'" in caplog.text


@pytest.mark.slow
async def test_a_command_goes_on_with_the_trace_of_its_environment(folder: Path) -> None:
    """By TRACEPARENT, as programs hand it to those that they start."""
    async with collector() as found, ScriptedUpstream(json_answer(completion("Grey."))) as upstream:
        file = written(folder, upstream)
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.origin, "TRACEPARENT": CALLER}
        code, out, _ = await nexus(folder, "run", str(file), "What is grey?", "--no-stream", **variables)
    assert (code, out.strip().splitlines()[0]) == (0, "Grey.")
    assert found.span("invoke_workflow handbook").parent_span_id.hex() == CALLER[36:52]


@pytest.mark.slow
async def test_a_server_goes_on_with_the_trace_of_a_request(folder: Path) -> None:
    """By the header, on both of its APIs; what is malformed begins a trace of its own."""
    async with collector() as found, ScriptedUpstream(*[json_answer(completion("Grey."))] * 3) as upstream:
        file = written(folder, upstream)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "nexus_core", "serve", str(file), "--port", "0", "--store", "kept", cwd=folder,
            env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": found.origin}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        while not (line := (await process.stderr.readline()).decode()).startswith("listening on"):
            assert line
        origin = line.split()[-1]
        question = {"query": "What is grey?", "pipeline": "handbook", "contextId": "handbook"}
        chat = {"model": "nexus/handbook", "messages": [{"role": "user", "content": "What is grey?"}]}
        asked = [
            ("/api/queries", question, CALLER),
            ("/v1/chat/completions", chat, CALLER),
            ("/api/queries", question, "x"),
        ]
        async with aiohttp.ClientSession(origin) as session:
            for path, body, parent in asked:
                async with session.post(path, json=body, headers={"traceparent": parent}) as response:
                    assert response.status == 200, await response.text()
        process.terminate()
        await process.communicate()
    runs = [span for span in found.spans if span.name == "invoke_workflow handbook"]
    assert [run.parent_span_id.hex() for run in runs] == [CALLER[36:52], CALLER[36:52], ""]


@pytest.mark.slow
async def test_a_collector_that_is_not_there_breaks_nothing(folder: Path) -> None:
    """The answer is there, the exit code is 0, and the log says once what cannot be reached."""
    async with ScriptedUpstream(json_answer(completion("Grey."))) as upstream:
        file = written(folder, upstream)
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
        code, out, err = await nexus(folder, "run", str(file), "What is grey?", "--no-stream", **variables)
    assert (code, out.strip().splitlines()[0]) == (0, "Grey.")
    assert err.count("encountered while exporting span") <= 1


@pytest.mark.slow
async def test_nothing_of_it_is_imported_where_no_variable_asks_for_it(folder: Path) -> None:
    """Starting stays light."""
    async with ScriptedUpstream(json_answer(completion("Grey."))) as upstream:
        file = written(folder, upstream)
        code, _, err = await nexus(folder, "run", str(file), "What is grey?", PYTHONPROFILEIMPORTTIME="1")
    assert (code, "aiohttp" in err) == (0, True)
    assert "opentelemetry" not in err
    assert "nexus_metrics" not in err


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (CALLER, CALLER[3:35]),
        (CALLER + "-more", None),
        ("cc" + CALLER[2:] + "-more", CALLER[3:35]),
        ("ff" + CALLER[2:], None),
        ("00-" + "0" * 32 + CALLER[35:], None),
        (CALLER[:36] + "0" * 16 + "-01", None),
        (CALLER.upper(), None),
        ("", None),
        (None, None),
    ],
)
def test_the_header_is_read_as_w3c_has_it(header: str | None, trace_id: str | None) -> None:
    """Later versions may say more; what is malformed is as if it were not there."""
    found = TraceContext.parse(header)
    assert (found and found.trace_id) == trace_id


def test_a_failure_that_repeats_is_logged_once_in_a_while() -> None:
    """Each kind for itself."""
    keep = FailuresOnce()
    records = [logging.makeLogRecord({"msg": text}) for text in ("a", "a", "b")]
    assert [keep.filter(record) for record in records] == [True, False, True]
    assert FailuresOnce(0.0).filter(records[0])
