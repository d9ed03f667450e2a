"""Responses survive the way into a file and back; requests mean the same however they are written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nexus_core import (
    CallOptions,
    Completion,
    ConnectorError,
    Message,
    ModelInfo,
    Results,
    ServerError,
    ToolCall,
    Transfer,
    Usage,
)
from nexus_core.contract.prompts import Prompt
from nexus_core.engine.interceptors import ConnectorRequest
from nexus_core.recordings.canonical_request import canonical_request, file_name, mask_secrets
from nexus_core.recordings.recorder import Recorder
from nexus_core.recordings.recording_file import pretty, recordings_in
from nexus_core.recordings.replayer import Replayer
from nexus_core.recordings.responses import CLASSES, completion_json, error_json, read_completion, read_error

INFO = ModelInfo(id="m-1", provider="p", window=100)
NUMBERS = st.none() | st.integers(0, 9)


def request(**options: Any) -> ConnectorRequest:
    """Return a request with these options."""
    prompt = Prompt(messages=(Message("user", "When?"),))
    return ConnectorRequest(
        model="main", info=INFO, method="send_prompt", prompt=prompt, options=CallOptions(**options)
    )


@given(
    st.builds(
        Completion,
        text=st.text(),
        finish_reason=st.sampled_from(["stop", "length", "content_filter", "tool_calls"]),
        usage=st.builds(
            Usage, prompt_tokens=NUMBERS, cached_tokens=NUMBERS, source=st.sampled_from(["provider", "mixed"])
        ),
        model=st.text(),
        reasoning=st.text(),
        tool_calls=st.lists(st.builds(ToolCall, id=st.text(), name=st.text(), arguments=st.text())).map(tuple),
        transfer=st.none() | st.builds(Transfer, status=st.none() | st.integers(100, 599)),
        native_finish_reason=st.text(),
    )
)
def test_a_whole_answer_comes_back_from_its_text(answer: Completion) -> None:
    """Every character, the halves of pairs included, that UTF-8 does not have."""
    text = pretty(completion_json(answer)).encode()
    assert read_completion(json.loads(text)) == answer


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_an_error_of_any_class_comes_back(name: str) -> None:
    """With its kind and all that decides what is done about it."""
    error = CLASSES[name].__new__(CLASSES[name])
    ConnectorError.__init__(
        error, "down\nfor now", status=503, code="busy", retry_after_s=1.5, should_retry=False, request_sent=False
    )
    found = read_error(json.loads(pretty({"error": error_json(error)})))
    assert (type(found), str(found)) == (CLASSES[name], "down\nfor now")
    assert vars(found) == vars(error)


@pytest.mark.parametrize(
    "results", [[[0.1, 1 / 3], [1.0, -0.0]], np.array([[0.1, 1 / 3]], np.float32)], ids=["list", "numpy"]
)
@pytest.mark.parametrize("counted", [False, True])
async def test_vectors_come_back_in_full(results: Sequence[Any], counted: bool, tmp_path: Path) -> None:
    """Each number to its last digit, with the usage where the service tells it."""
    asked = ConnectorRequest(model="steps[1].rank.model", info=INFO, method="embed", texts=("a", "b\nc"))
    given_back = Results.from_service(results, Usage(prompt_tokens=3), Transfer(status=200)) if counted else results

    async def send() -> Any:
        return given_back

    async def refuse() -> Any:
        raise AssertionError("it was sent")

    assert await Recorder(tmp_path / "r").call(asked, send) is given_back
    found = await Replayer(tmp_path / "r").call(asked, refuse)
    assert [[*vector] for vector in found] == [[*map(float, vector)] for vector in results]
    assert getattr(found, "usage", None) == (Usage(prompt_tokens=3) if counted else None)


def test_a_request_is_the_same_however_its_options_are_written() -> None:
    """The order of keys, 1 and 1.0, lists and tuples, whole or streamed."""
    one = request(temperature=1, extra={"a": [1, 2.0], "tools": ({"name": "f"},)})
    other = request(temperature=1.0, extra={"tools": [{"name": "f"}], "a": (1.0, 2)})
    assert file_name(canonical_request(one)) == file_name(canonical_request(other))
    assert file_name(canonical_request(one)) != file_name(canonical_request(request(temperature=1)))


@pytest.mark.parametrize("model", ["../up", "/etc/x", "steps[1].rank.model", "", "ünï", "a" * 300, ".hidden", "con: *"])
def test_the_name_of_a_file_stays_in_its_folder(model: str) -> None:
    """Whatever a model is called."""
    name = file_name({"model": model})
    assert Path(name).name == name
    assert not name.startswith(".")
    assert len(name) < 100


SECRET = "canary-4711"


@pytest.mark.parametrize(
    "extra",
    [
        {"api_key": SECRET},
        {"extra_headers": {"X-Anything": SECRET}},
        {"nested": [{"Authorization": SECRET, "set-cookie": [SECRET]}]},
        {"auth_token": SECRET, "client_secret": SECRET, "x-api-key": SECRET},
        {"url": f"https://me:{SECRET}@host/a?page=1&sig={SECRET}#x"},
        {"auth": SECRET, "pass": SECRET, "passwd": SECRET, "pw": SECRET, "db_pwd": SECRET, "basic_auth": [SECRET]},
        {"Ocp-Apim-Subscription-Key": SECRET, "subscriptionKey": SECRET, "userPw": SECRET},
        {"auth": {"user": "me", "value": SECRET}, "credentials": [{"a": {"b": SECRET}}]},
        {"proxy": {"headers": {"X-Any": {"deep": [SECRET]}}}, "headers": [["X-Any", SECRET]], "headers_extra": SECRET},
    ],
    ids=["key", "headers", "nested", "tokens", "url", "short names", "subscription", "mappings", "nested headers"],
)
def test_what_looks_like_a_secret_is_masked(extra: dict[str, Any]) -> None:
    """In the options of a call; what counts tokens or describes a tool is none."""
    kept = {"max_completion_tokens": 7, "tools": [{"parameters": {"password": {"type": "string"}}}]}
    named = {"author": "Ada", "passage": "of time", "passthrough": "on", "authority": "none", "store_auth": True}
    canonical = canonical_request(request(extra=extra | kept | named))
    assert canonical["options"]["extra"].items() >= named.items()
    text = pretty(canonical)
    assert SECRET not in text
    assert '"max_completion_tokens": 7' in text
    assert '"type": "string"' in text


def test_numbers_under_the_name_of_a_secret_are_masked() -> None:
    """A password of digits is one, too."""
    canonical = canonical_request(request(extra={"password": 47114711, "pw": 4711.5, "seed": 47}))
    assert canonical["options"]["extra"] == {"password": "***", "pw": "***", "seed": 47}


REPEATED = {
    "user": "you",
    "api_key": f'{SECRET}"with\\quotes',
    "extra_headers": {"Authorization": f"Bearer {SECRET}-2", "Cookie": f"session={SECRET}-3; page=1"},
    "pin": {"password": 4711},
    "callback": f"https://me:{SECRET}-4@host/?token={SECRET}-5",
}


@pytest.mark.parametrize(
    "written", [json.dumps, str, lambda extra: quote(json.dumps(extra))], ids=["JSON", "Python", "URL"]
)
async def test_an_error_that_repeats_its_request_has_no_secret_of_it(written: Any, tmp_path: Path) -> None:
    """What is masked in the request is masked in the words of the error, and of its code; the rest stays."""

    async def send() -> Any:
        parts = [SECRET + end for end in ("-2", "-3", "-4", "-5")]
        raise ServerError(f"cannot read {written(REPEATED)}, {parts}, 4711 of 14711", code=f"bad-{SECRET}-2")

    with pytest.raises(ServerError):
        await Recorder(tmp_path / "r").call(request(extra=REPEATED), send)
    (text,) = (path.read_text() for path in recordings_in(tmp_path / "r"))
    assert SECRET not in text
    assert "cannot read" in text
    assert "*** of 14711" in text


def test_errors_keep_their_words_and_lose_their_keys() -> None:
    """What a connector of others has not masked."""
    told = f"GET https://u:{SECRET}@h/v1?api-key={SECRET}&page=2: basic words, Authorization: Bearer {SECRET} is wrong"
    kept = "GET https://h/v1?api-key=***&page=2: basic words, Authorization: Bearer *** is wrong"
    assert mask_secrets(told) == kept
