"""The services of the README, each by its YAML alone: what is sent to it, and its stream as it sends it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Delta, Pipeline, RunFinished
from nexus_core.testing.upstream import ReceivedRequest, ScriptedUpstream, stream_answer

README = (Path(__file__).parents[3] / "docs/how-to/openai.md").read_text("utf-8")
SERVICES = next(
    block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "\nname: services\n" in f"\n{block}"
)
ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-openai-0123456",
    "OPENROUTER_API_KEY": "sk-or-0123456",
    "AZURE_OPENAI_API_KEY": "azure-0123456",
}

START = '{"id":"1","object":"chat.completion.chunk","model":"served","choices":'
ROLE = START + '[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}'
TEXT = START + '[{"index":0,"delta":{"content":"Yes."},"finish_reason":null}]}'
STOP = START + '[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = START + '[],"usage":{"prompt_tokens":7,"completion_tokens":3}}'
COUNTS = '"usage":{"prompt_tokens":7,"completion_tokens":3}'
STREAMS: dict[str, list[str]] = {
    "openai": [ROLE, TEXT.replace('"model"', '"obfuscation":"x","model"'), STOP, USAGE],
    "azure": ['{"model":"","prompt_filter_results":[{"prompt_index":0}],"choices":[]}', ROLE, TEXT, STOP, USAGE],
    "vllm": [ROLE, TEXT[:-1] + ',"usage":{"prompt_tokens":7,"completion_tokens":1}}', STOP[:-1] + f",{COUNTS}}}"],
    "ollama": [TEXT.replace('"delta":{', '"delta":{"role":"assistant",'), STOP, USAGE],
    "llama_cpp": [ROLE.replace('""', "null"), TEXT, STOP[:-1] + f',{COUNTS},"timings":{{"prompt_n":7}}}}'],
    "lm_studio": [TEXT.replace('"delta":{', '"delta":{"role":"assistant",'), STOP, USAGE],
    "router": [TEXT[:-1] + ',"provider":"Example"}', STOP.replace("{}", '{"content":""}'), USAGE],
}  # fmt: skip
BEFORE = {"router": b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n"}

CHAT = "/v1/chat/completions"
SENT: dict[str, tuple[str, dict[str, str | None]]] = {
    "openai": (CHAT, {"authorization": "Bearer sk-openai-0123456", "openai-organization": "org-example"}),
    "azure": (
        "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21",
        {"api-key": "azure-0123456", "authorization": None},
    ),
    "vllm": (CHAT, {"authorization": None}),
    "ollama": (CHAT, {"authorization": None}),
    "llama_cpp": (CHAT, {"authorization": None}),
    "lm_studio": (CHAT, {"authorization": None}),
    "router": ("/api/v1/chat/completions", {"authorization": "Bearer sk-or-0123456", "x-title": "ContextNexus"}),
}


def pipeline_of(service: str, origin: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the README's pipeline with one service at a local address, which answers."""
    text = re.sub(r"https?://[\w.:-]+(?=/)", origin, SERVICES).replace("generate: openai", f"generate: {service}")
    text = text.replace(", fallback: [router, ollama]", "")
    if service == "openai":
        monkeypatch.setenv("OPENAI_BASE_URL", f"{origin}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", ENVIRONMENT["OPENAI_API_KEY"])
    return text


@pytest.mark.parametrize("service", STREAMS)
async def test_service_works_by_configuration_alone(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Path, headers, query and body as documented; and its stream, with its quirks, is one answer with usage."""
    pieces = [
        BEFORE.get(service, b""),
        *(f"data: {text}\n\n".encode() for text in STREAMS[service]),
        b"data: [DONE]\n\n",
    ]
    file = tmp_path / "services.yaml"
    async with ScriptedUpstream(stream_answer(pieces)) as upstream:
        file.write_text(pipeline_of(service, upstream.origin, monkeypatch))
        async with Pipeline.load(file, environment=ENVIRONMENT) as pipeline:
            events = [event async for event in pipeline.stream("Is the harbour open?")]
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "Yes."
    finished = next(event for event in events if isinstance(event, RunFinished))
    answer = finished.answer
    assert answer is not None
    assert (answer.text, answer.finish_reason, answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        "Yes.", "stop", 7, 3,
    )  # fmt: skip
    (request,) = upstream.requests
    check_request(request, *SENT[service])


def check_request(request: ReceivedRequest, target: str, headers: dict[str, str | None]) -> None:
    """Compare a request with what the service's documentation asks for."""
    body: dict[str, Any] = request.json()
    assert (request.method, request.target) == ("POST", target)
    assert {name: request.headers.get(name) for name in headers} == headers
    assert set(body) == {"model", "messages", "stream", "stream_options"}
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert body["messages"][-1] == {"role": "user", "content": "Is the harbour open?"}
