"""Requests to Bedrock are signed as AWS verifies them, by credentials that are fetched at the first request."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from nexus_bedrock.connector import Bedrock
from nexus_bedrock.signing import RequestSigner

from nexus_core import AuthError, CallOptions, Message, NotConfiguredError, Prompt, Secret
from nexus_core.testing.upstream import ReceivedRequest, ScriptedUpstream, json_answer

KEY_ID, KEY, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session-token-77"
PROMPT = Prompt(messages=(Message("user", "?"),))
YES = {"output": {"message": {"role": "assistant", "content": [{"text": "Yes."}]}}, "stopReason": "end_turn"}
ARN = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture(name="credentials")
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)


def signature_of(request: ReceivedRequest, secret: str) -> str:
    """Return the signature that AWS works out for a request ("Signature Version 4", "Create a signed request")."""
    said = dict(part.strip().split("=", 1) for part in request.headers["authorization"].partition(" ")[2].split(","))
    scope = said["Credential"].partition("/")[2]
    signed = said["SignedHeaders"].split(";")
    # Every service but S3 takes the path as it was sent, and escapes it once more.
    canonical = "\n".join(
        [
            request.method, quote(request.target.partition("?")[0], safe="/-_.~"), request.target.partition("?")[2],
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in signed), "",
            ";".join(signed), hashlib.sha256(request.body).hexdigest(),
        ]
    )  # fmt: skip
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, digest])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def told(request: ReceivedRequest) -> str:
    return request.headers["authorization"].rpartition("Signature=")[2]


async def asked(model: str, **fields: Any) -> ReceivedRequest:
    """Return the one request that a connector makes."""
    async with (
        ScriptedUpstream(json_answer(YES)) as upstream,
        Bedrock(model=model, base_url=upstream.origin, **fields) as bedrock,
    ):
        await bedrock.send_prompt(PROMPT, CallOptions())
    return upstream.requests[0]


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("model", ["amazon.nova-lite-v1:0", ARN, "meta.llama3"], ids=["colon", "arn", "plain"])
async def test_the_signature_is_right_for_what_was_sent(model: str) -> None:
    """The model's id is one part of the path, and `%3A` and `%2F` are signed as they went out."""
    request = await asked(model)
    assert request.target == f"/model/{quote(model, safe='')}/converse"
    assert told(request) == signature_of(request, KEY)
    region = "eu-west-1" if model == ARN else "us-east-1"
    assert f"Credential={KEY_ID}/" in request.headers["authorization"]
    assert f"/{region}/bedrock/aws4_request" in request.headers["authorization"]


@pytest.mark.usefixtures("credentials")
async def test_a_session_token_is_signed_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """As temporary credentials have it."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    request = await asked("meta.llama3")
    assert request.headers["x-amz-security-token"] == TOKEN
    assert "x-amz-security-token" in request.headers["authorization"]
    assert told(request) == signature_of(request, KEY)


async def test_nothing_is_looked_up_before_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector opens without credentials; they count when they are there."""
    async with (
        ScriptedUpstream(json_answer(YES)) as upstream,
        Bedrock(model="meta.llama3", base_url=upstream.origin) as bedrock,
    ):
        with pytest.raises(NotConfiguredError, match="AWS_ACCESS_KEY_ID"):
            await bedrock.send_prompt(PROMPT, CallOptions())
        assert upstream.requests == []
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
        await bedrock.send_prompt(PROMPT, CallOptions())
    assert told(upstream.requests[0]) == signature_of(upstream.requests[0], KEY)


async def test_a_profile_that_is_not_there_is_told() -> None:
    """Nothing is sent."""
    with pytest.raises(AuthError, match="ProfileNotFound") as caught:
        await asked("meta.llama3", profile="nobody")
    assert caught.value.request_sent is False


async def test_a_profile_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file of AWS's own tools."""
    path = tmp_path / "credentials"
    path.write_text(f"[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = {KEY}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    request = await asked("meta.llama3", profile="work")
    assert "Credential=AKIDWORK/" in request.headers["authorization"]
    assert told(request) == signature_of(request, KEY)


async def test_an_api_key_goes_as_a_bearer() -> None:
    """Then nothing is signed."""
    request = await asked("meta.llama3", api_key=Secret("canary-9917"))
    assert request.headers["authorization"] == "Bearer canary-9917"
    assert "x-amz-date" not in request.headers


@pytest.mark.usefixtures("credentials")
async def test_the_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the service repeats it."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    said = json_answer(
        {"message": f"The security token {TOKEN} of {KEY} is expired"}, status=403,
        headers={"x-amzn-ErrorType": "ExpiredTokenException:http://internal.amazon.com/"},
    )  # fmt: skip
    async with ScriptedUpstream(said) as upstream, Bedrock(model="meta.llama3", base_url=upstream.origin) as bedrock:
        with pytest.raises(AuthError) as caught:
            await bedrock.send_prompt(PROMPT, CallOptions())
    assert caught.value.code == "ExpiredTokenException"
    assert not any(secret in f"{caught.value!r} {caught.value}" for secret in (KEY, TOKEN))


@pytest.mark.usefixtures("credentials")
async def test_credentials_are_looked_for_anew_after_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are others by then, or not."""
    signer = RequestSigner("us-east-1", None, "m")
    headers = await signer.headers("https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse", b"{}")
    assert await signer.renew(headers) is False
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    assert await signer.renew(headers) is True


@pytest.mark.parametrize(
    ("environment", "fields", "region"),
    [
        ({}, {}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "eu-north-1"}, {}, "eu-north-1"),
        ({"AWS_DEFAULT_REGION": "eu-north-1", "AWS_REGION": "eu-west-3"}, {}, "eu-west-3"),
        ({"AWS_REGION": "eu-west-3"}, {"model": ARN}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-3"}, {"model": ARN, "region": "us-gov-west-1"}, "us-gov-west-1"),
    ],
)
def test_the_region_is_the_nearest_that_is_named(
    environment: dict[str, str], fields: dict[str, Any], region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option, then an ARN, then the environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    given: dict[str, Any] = {"model": "meta.llama3", **fields}
    bedrock = Bedrock(**given)
    assert bedrock.answer_id == f"https://bedrock-runtime.{region}.amazonaws.com"
