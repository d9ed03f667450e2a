"""Canonical requests: what of a request decides its answer, as JSON data that is the same on every machine.

Options of the connector (its address, its key) are no part of it, and what looks like a secret in the options of a call
is masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import attrs

from nexus_core.contract.values import CallOptions, Message, Part, TextPart, ToolDefinition
from nexus_core.engine.interceptors import ConnectorRequest
from nexus_core.engine.json_shapes import media_json

OPERATIONS = {"send_prompt": "prompt", "stream_response": "prompt", "embed": "embed", "rerank": "rerank"}
"""What a method does: an answer is the same one whole and in parts."""
MASK = "***"

_MODEL_CHARACTERS = 60
_HASH_CHARACTERS = 16
_WHOLE_NUMBERS = 2**53
_SECRET_NAME = re.compile(
    r"authorization|cookie|credential|api-?key|secret|password|passwd|passphrase|subscription.*key"
    r"|(^|-)(access|account|encryption|master|private|shared|signing)-?key$|^key$"
    r"|(^|-)(o?auth|pass|pw|pwd|jwt|signature)$|(^|-)o?auth-(code|data|header|key|value)$"
    r"|(^|-)((access|auth|bearer|id|refresh|session)-?)?token$"
)
"""Of options; `author`, `passage` and `max-tokens` are none."""
_HEADERS = re.compile(r"headers$|(^|-)headers?(-|$)")
_DECLARATIONS = frozenset({"tools", "functions", "response-format", "json-schema", "response-schema"})
"""In them the name of a secret is that of a parameter, and what stands under it describes that."""
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SHORT = 8
"""A secret of fewer characters is found in a text as a word alone."""
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
        found["messages"] = [_message(message) for message in messages]
        found["options"] = _options(request.options, set())
    else:
        found["texts"] = [lines_of(text) for text in request.texts]
    if request.method == "rerank":
        found["query"] = lines_of(str(request.query))
    return found


def _message(message: Message) -> dict[str, Any]:
    """Return a message; of images and files there are a digest and a size, of text alone the text alone."""
    content = message.content
    found: dict[str, Any] = {"role": message.role}
    found["content"] = lines_of(content) if isinstance(content, str) else [_content(part) for part in content]
    if message.tool_calls:
        found["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": lines_of(call.arguments)} for call in message.tool_calls
        ]
    if message.tool_call_id:
        found["tool_call_id"] = message.tool_call_id
    return found


def _content(part: Part) -> Any:
    if isinstance(part, TextPart):
        return lines_of(part.text)
    found = media_json(part)
    return found | {"url": mask_secrets(found["url"])} if "url" in found else found


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


def secrets_of(request: ConnectorRequest) -> tuple[str, ...]:
    """Return what is masked in a request, the longest first, so that what repeats it can be masked, too."""
    found: set[str] = set()
    _options(request.options, found)
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def mask_all(text: str, secrets: Iterable[str]) -> str:
    """Return a text without these secrets, however they are written in JSON or an address, and as `mask_secrets`."""
    for secret in secrets:
        for form in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], _quoted(secret)}:
            if len(form) >= _SHORT:
                text = text.replace(form, MASK)
            else:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", MASK, text)
    return mask_secrets(text)


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _masked(parameter: re.Match[str]) -> str:
    return f"{parameter[1]}{parameter[2]}={MASK}" if _SECRET_PARAMETER.search(parameter[2]) else parameter[0]


def _options(options: CallOptions, secrets: set[str]) -> dict[str, Any]:
    """Return the options that are set; tools stand in `extra`."""
    found = {
        part.name: _part(part.name, value, secrets, False, False)
        for part in attrs.fields(CallOptions)
        if part.name != "extra" and (value := getattr(options, part.name)) is not None
    }
    return found | ({"extra": _plain(options.extra, secrets)} if options.extra else {})


def _plain(value: Any, secrets: set[str], *, hides: bool = False, declares: bool = False) -> Any:
    """Return JSON data of a value; numbers that are equal look alike, and secrets are masked and added to `secrets`.

    With `hides` all that it holds is secret. With `declares` it describes parameters, whose names may be those of
    secrets.
    """
    match value:
        case None | bool():
            return value
        case str() | int() | float() if hides:
            secrets.update(_words(str(value)))
            return MASK
        case str():
            _note_secrets(value, secrets)
            return mask_secrets(value)
        case float() if value.is_integer() and abs(value) < _WHOLE_NUMBERS:
            return int(value)
        case int() | float():
            return value
        case Mapping():
            return {str(key): _part(key, part, secrets, hides, declares) for key, part in value.items()}
        case ToolDefinition(name=name, description=told, parameters=parameters):
            told_of = {"name": name, "description": told, "parameters": parameters}
            return _plain(told_of, secrets, declares=True)
        case list() | tuple():
            return [_plain(part, secrets, hides=hides, declares=declares) for part in value]
    return f"<{type(value).__name__}>"


def _part(key: object, value: Any, secrets: set[str], hides: bool, declares: bool) -> Any:
    name = _CAPITAL.sub("-", str(key)).lower().replace("_", "-")
    declares = declares or name in _DECLARATIONS
    is_described = declares and isinstance(value, Mapping)
    hides = hides or (not is_described and bool(_SECRET_NAME.search(name) or _HEADERS.search(name)))
    return _plain(value, secrets, hides=hides, declares=declares)


def _note_secrets(text: str, secrets: set[str]) -> None:
    """Add what `mask_secrets` masks in a text."""
    for found in _USER.findall(text):
        secrets.update(part for part in (found[:-1], found[:-1].partition(":")[2]) if part)
    secrets.update(value for _, name, value in _PARAMETER.findall(text) if _SECRET_PARAMETER.search(name))
    for found in _CREDENTIALS.finditer(text):
        secrets.add(found[0].removeprefix(found[1]))


def _words(secret: str) -> Iterator[str]:
    """Yield a secret, and the key that a header holds after a word such as `Bearer`."""
    if secret.strip():
        yield secret.strip()
        yield from (word for word in re.split(r"[\s;,]+", secret) for word in _values(word))


def _values(word: str) -> Iterator[str]:
    if len(word) >= _SHORT:
        yield word
        if len(value := word.partition("=")[2]) >= _SHORT:  # of a cookie
            yield value
