"""Keys that a command prints or a file holds: in each request, renewed when the service refuses one, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_core import ConnectorError, Pipeline
from nexus_core.testing.upstream import Script, ScriptedUpstream, completion, json_answer

YES = json_answer(completion("Yes."))
COUNTING = 'echo >> {folder}/count; echo "canary-key-$(wc -l < {folder}/count | tr -d " ")"'


def refused(words: str) -> Script:
    """Return the answer of a service that does not take a key."""
    return json_answer({"error": {"message": words, "code": "invalid_api_key"}}, status=401)


def pipeline(folder: Path, url: str, options: str) -> Path:
    """Return a pipeline of one model at a service."""
    (folder / "key.sh").write_text(COUNTING.format(folder=folder))
    file = folder / "pipeline.yaml"
    file.write_text(
        "name: p\nmodels:\n"
        f"  main: {{use: openai, model: m, base_url: '{url}', retry: {{attempts: 5, first_wait: 0}}, {options}}}\n"
        "steps:\n  - generate: main\n"
    )
    return file


def keys(upstream: ScriptedUpstream) -> list[str]:
    """Return the keys that a service was sent."""
    return [request.headers["authorization"].removeprefix("Bearer ") for request in upstream.requests]


async def test_command_is_run_once_for_all_requests(tmp_path: Path) -> None:
    """Not at load, and not again while the key holds."""
    async with ScriptedUpstream(YES, YES) as upstream:
        loaded = Pipeline.load(pipeline(tmp_path, upstream.url, f"api_key_command: sh {tmp_path}/key.sh"))
        assert not (tmp_path / "count").exists()
        async with loaded:
            await loaded.run("?")
            await loaded.run("?")
        assert keys(upstream) == ["canary-key-1"] * 2


async def test_refused_key_is_renewed_and_the_engine_asks_again(tmp_path: Path) -> None:
    """One retry in the ledger; the target is not left alone as after a wrong key."""
    script = refused("The key canary-key-1 has expired.")
    async with ScriptedUpstream(script, YES) as upstream:
        options = f"api_key_command: [sh, {tmp_path}/key.sh]"
        async with Pipeline.load(pipeline(tmp_path, upstream.url, options)) as loaded:
            answer = await loaded.run("?")
        assert keys(upstream) == ["canary-key-1", "canary-key-2"]
    assert [row.outcome for row in answer.attempts] == ["not_ready", "ok"]
    assert "canary" not in str(answer.attempts)


async def test_wrong_keys_are_asked_for_twice_and_no_more(tmp_path: Path) -> None:
    """A second refusal at once is an error about the key, which it does not show."""
    async with ScriptedUpstream(refused("No canary-key-1."), refused("No canary-key-2.")) as upstream:
        options = f"api_key_command: [sh, {tmp_path}/key.sh]"
        async with Pipeline.load(pipeline(tmp_path, upstream.url, options)) as loaded:
            with pytest.raises(ConnectorError, match="hidden") as caught:
                await loaded.run("?")
        assert len(upstream.requests) == 2
    assert (caught.value.kind, caught.value.status) == ("auth", 401)
    assert "canary" not in str(caught.value)


async def test_file_is_beside_the_pipeline_and_read_again(tmp_path: Path) -> None:
    """A key that somebody else has replaced is in the next request, as the connector sends keys."""
    async with ScriptedUpstream(YES, YES) as upstream:
        options = "api_key_file: token, api_key_header: api-key"
        loaded = Pipeline.load(pipeline(tmp_path, upstream.url, options))
        async with loaded:
            (tmp_path / "token").write_text("first\n")
            await loaded.run("?")
            (tmp_path / "token").write_text('{"token": "second"}')
            await loaded.run("?")
        assert [request.headers["api-key"] for request in upstream.requests] == ["first", "second"]


async def test_fallback_answers_where_there_is_no_key(tmp_path: Path) -> None:
    """The error says why, and nothing was sent for it."""
    async with ScriptedUpstream(YES) as upstream:
        file = pipeline(tmp_path, upstream.url, "api_key_command: [sh, -c, exit 3], fallback: spare")
        file.write_text(
            file.read_text().replace(
                "steps:", f"  spare: {{use: openai, model: s, base_url: '{upstream.url}'}}\nsteps:"
            )
        )
        async with Pipeline.load(file) as loaded:
            assert (await loaded.run("?")).text == "Yes."
        assert [request.json()["model"] for request in upstream.requests] == ["s"]
