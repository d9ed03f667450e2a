"""Canonical requests: what of a request decides its answer, as JSON data that is the same on every machine.

Options of the connector (its address, its key) are no part of it, and what looks like a secret in the options of a call
is masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import attrs

from nexus_core.contract.values import CallOptions
from nexus_core.engine.interceptors import ConnectorRequest

OPERATIONS = {"send_prompt": "prompt", "stream_response": "prompt", "embed": "embed", "rerank": "rerank"}
"""What a method does: an answer is the same one whole and in parts."""
MASK = "***"

_MODEL_CHARACTERS = 60
_HASH_CHARACTERS = 16
_WHOLE_NUMBERS = 2**53
_SECRET_NAME = re.compile(
    r"authorization|cookie|credential|api-?key|secret|password|(^|-)((access|auth|bearer|id|refresh|session)-?)?token$"
)
_USER = re.compile(r"(?<=://)[^\s/@?#\"']+@")
_PARAMETER = re.compile(r"([?&])([^=&\s#\"']{1,100})=([^&\s#\"']+)")
_SECRET_PARAMETER = re.compile(r"key|token|secret|password|sig|auth|code", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\b((?:Authorization\W{1,4}(?:Basic|Token)|Bearer) +)[^\s\"']{4,}", re.IGNORECASE)


def canonical_request(request: ConnectorRequest) -> dict[str, Any]:
    """Return what decides the answer of a request, as JSON data."""
    found: dict[str, Any] = {
        "model": request.model,
        "model_id": request.info.id,
        "provider": request.info.provider,
        "operation": OPERATIONS[request.method],
    }
    if request.prompt is not None:
        messages = request.prompt.messages
        found["messages"] = [{"role": message.role, "content": lines_of(message.content)} for message in messages]
        found["options"] = _options(request.options)
    else:
        found["texts"] = [lines_of(text) for text in request.texts]
    if request.method == "rerank":
        found["query"] = lines_of(str(request.query))
    return found


def digest(canonical: Mapping[str, Any]) -> str:
    """Return a hash of a request; its keys may stand in any order."""
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:_HASH_CHARACTERS]


def file_name(canonical: Mapping[str, Any]) -> str:
    """Return the name of the file of a request: its model and a hash."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(canonical["model"]))[:_MODEL_CHARACTERS].strip(".-")
    return f"{name or 'model'}-{digest(canonical)}.json"


def lines_of(text: str) -> str | list[str]:
    """Return a text as it stands in a file: as a list of its lines where there are several."""
    return text.split("\n") if "\n" in text else text


def mask_secrets(text: str) -> str:
    """Return a text without the users and keys of addresses in it, and without the values of such headers."""
    return _PARAMETER.sub(_masked, _USER.sub("", _CREDENTIALS.sub(rf"\1{MASK}", text)))


def _masked(parameter: re.Match[str]) -> str:
    return f"{parameter[1]}{parameter[2]}={MASK}" if _SECRET_PARAMETER.search(parameter[2]) else parameter[0]


def _options(options: CallOptions) -> dict[str, Any]:
    """Return the options that are set; tools stand in `extra`."""
    found = {
        part.name: _plain(value)
        for part in attrs.fields(CallOptions)
        if part.name != "extra" and (value := getattr(options, part.name)) is not None
    }
    return found | ({"extra": _plain(options.extra)} if options.extra else {})


def _plain(value: Any, name: str = "") -> Any:
    """Return JSON data of a value; numbers that are equal look alike, and secrets are masked."""
    match value:
        case str():
            return MASK if _SECRET_NAME.search(name) else mask_secrets(value)
        case float() if value.is_integer() and abs(value) < _WHOLE_NUMBERS:
            return int(value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            headers = name.endswith("headers")
            return {str(key): MASK if headers else _plain(part, _normal(key)) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part, name) for part in value]
    return f"<{type(value).__name__}>"


def _normal(key: object) -> str:
    return str(key).lower().replace("_", "-")
