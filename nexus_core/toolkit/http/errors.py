"""The one map from what aiohttp, the socket, the loop and the HTTP status say to the errors of the contract.

Also what a foreign service says, made fit for a message: without keys and without the prompt. Imports no aiohttp.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from nexus_core.contract.errors import (
    AuthError,
    ConflictError,
    ConnectError,
    ConnectorError,
    DisconnectedError,
    InvalidRequestError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    PoolBusyError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    ServerError,
    TruncatedError,
    UnsupportedRequestError,
    UpstreamTimeoutError,
)

if TYPE_CHECKING:
    import aiohttp

    from nexus_core.contract.values import Transfer


class _Rule(NamedTuple):
    error: type[ConnectorError]
    code: str
    message: str
    request_sent: bool = True


_DNS = _Rule(ConnectError, "dns", "the host name is not known", False)
_TLS = _Rule(ConnectError, "tls", "no secure connection (certificate or TLS)", False)
_REFUSED = _Rule(ConnectError, "refused", "no connection", False)
_PROXY = _Rule(ConnectError, "proxy", "no connection through the proxy", False)
_WAITED = _Rule(ConnectError, "timeout_connect", "no connection in time (connect_timeout_s)", False)
_BUSY = _Rule(PoolBusyError, "pool_busy", "all connections are in use (connections), none in connect_timeout_s", False)
_LOST = _Rule(ConnectError, "disconnected", "the connection was closed before any answer")
_STALE = _Rule(DisconnectedError, "disconnected", "a kept connection was closed before any answer")
_CLOSED = _Rule(ConnectError, "closed", "the session or its connection is closed", False)
_SLOW = _Rule(UpstreamTimeoutError, "timeout", "the service was too slow")
_CUT = _Rule(TruncatedError, "truncated", "the answer ended before it was complete")
_ENCODED_AS = r"(?:Can not decode content-encoding: |\bmessage=')(gzip|deflate|br|zstd)\b"
"""What aiohttp says of bytes that are not encoded as they claim."""
_ENCODING = _Rule(ProtocolError, "encoding", "the content encoding of the answer is broken")
_EMPTY = _Rule(ProtocolError, "no_content", "the service answered with status 204, which has no content")
_NOT_HTTP = _Rule(ProtocolError, "http", "the answer is not valid HTTP")
_REDIRECT = _Rule(ProtocolError, "redirect", "the service redirects elsewhere")
_ADDRESS = _Rule(ModelNotFoundError, "address", "the address is no URL that can be called; check base_url", False)
_FORBIDDEN = _Rule(ModelNotFoundError, "address", "no model service is at this address; check base_url", False)

_RULES: Mapping[str, _Rule] = {
    "ClientConnectorDNSError": _DNS,
    "gaierror": _DNS,
    "ClientConnectorCertificateError": _TLS,
    "ClientConnectorSSLError": _TLS,
    "ClientSSLError": _TLS,
    "ServerFingerprintMismatch": _TLS,
    "SSLError": _TLS,
    "ClientConnectorError": _REFUSED,
    "UnixClientConnectorError": _REFUSED,
    "ClientProxyConnectionError": _PROXY,
    "ClientHttpProxyError": _PROXY,
    "ConnectionTimeoutError": _WAITED,
    "ServerTimeoutError": _SLOW,
    "SocketTimeoutError": _SLOW,
    "TimeoutError": _SLOW,
    "ServerDisconnectedError": _LOST,
    "ServerConnectionError": _LOST,
    "ClientConnectionResetError": _LOST,
    "ClientConnectionError": _LOST,
    "ClientOSError": _LOST,
    "UploadAbortedError": _LOST,
    "OSError": _LOST,
    "ContentEncodingError": _ENCODING,
    "DecompressSizeError": _ENCODING,
    "ClientPayloadError": _CUT,
    "ClientResponseError": _NOT_HTTP,
    "ContentTypeError": _NOT_HTTP,
    "WSServerHandshakeError": _NOT_HTTP,
    "HttpProcessingError": _NOT_HTTP,
    "TooManyRedirects": _REDIRECT,
    "RedirectClientError": _REDIRECT,
    "InvalidUrlRedirectClientError": _REDIRECT,
    "NonHttpUrlRedirectClientError": _REDIRECT,
    "InvalidURL": _ADDRESS,
    "InvalidUrlClientError": _ADDRESS,
    "NonHttpUrlClientError": _ADDRESS,
    "ClientError": _NOT_HTTP,
    "RuntimeError": _CLOSED,
}
"""By the name of the exception's class, so that nothing here imports aiohttp; the nearest class counts."""


def connector_error(
    error: BaseException,
    *,
    provider: str = "",
    model: str = "",
    status: int | None = None,
    secrets: Iterable[str] = (),
    pool_full: bool = False,
    unreached: str = "",
) -> ConnectorError:
    """Return the connector error for what aiohttp, the socket or the loop raised.

    `status` is that of the answer, if its head has come: from then on a lost connection is a truncated answer.
    `pool_full` says that all connections were in use. `unreached` says what to check where there is no connection. The
    cause is chained unless it holds a secret, as aiohttp's
    response errors do (they keep the headers of the request).
    """
    rule = _rule(error)
    encoded = re.search(_ENCODED_AS, str(error)) if rule in (_ENCODING, _NOT_HTTP) else None
    if encoded is not None:
        rule = _ENCODING._replace(message=f"{_ENCODING.message}: it is not {encoded[1]}")
    if status is not None and rule.error is ConnectError:
        rule = _CUT
    elif rule is _LOST and getattr(error, "stale", False):  # noted by the session of this toolkit
        rule = _STALE
    elif rule is _NOT_HTTP and getattr(error, "no_content", False):  # so, too
        rule = _EMPTY
    elif rule is _WAITED and pool_full:
        rule = _BUSY
    place = f"{error.host}:{error.port}" if hasattr(error, "host") and hasattr(error, "port") else ""
    message = ": ".join(filter(None, (rule.message, place, _reason(error))))
    if unreached and rule in (_REFUSED, _DNS, _TLS, _PROXY, _WAITED):
        message = f"{message}; {unreached}"
    failure = rule.error(
        message,
        provider=provider,
        model=model,
        status=status,
        code=rule.code,
        request_sent=rule.request_sent,
    )
    if not _holds_secret(error, [secret for secret in secrets if secret]):
        failure.__cause__ = error
    return failure


def _rule(error: BaseException) -> _Rule:
    if type(getattr(error, "os_error", error)).__name__ == "ForbiddenAddress":
        return _FORBIDDEN
    cause = error.__cause__
    if type(error).__name__ == "ClientPayloadError" and cause is not None:
        inner = _RULES.get(type(cause).__name__)
        if inner is not None:
            return inner
    for kind in type(error).__mro__:
        if kind.__name__ in _RULES:
            return _RULES[kind.__name__]
    return _Rule(ProtocolError, "unexpected", f"unexpected {type(error).__name__}")


def _reason(error: BaseException) -> str:
    # Of foreign texts only the system's own, since a parser's message repeats bytes that the service chose.
    inner = getattr(error, "os_error", error)
    if not isinstance(inner, OSError) or not isinstance(inner.strerror, str):
        return ""
    # asyncio says "Connect call failed" and the address again; aiohttp gives that to its own errors, too.
    if inner.errno and inner.strerror.startswith("Connect call failed"):
        return os.strerror(inner.errno)
    return inner.strerror


def _holds_secret(error: BaseException | None, secrets: list[str], depth: int = 8) -> bool:
    if error is None or not secrets:
        return False
    shown = f"{error!r} {error} {error.args!r}"
    if depth == 0 or any(secret in shown for secret in secrets):
        return True
    return any(_holds_secret(inner, secrets, depth - 1) for inner in (error.__cause__, error.__context__))


class UpstreamErrors:
    """Lets nothing but `ConnectorError` out of a `with` block; cancellation passes.

    Set `status` when the head of the answer has come, and `transfer` to what counts it: errors carry both. `timer` and
    `limit_s` name the time limit in the block. `session` is that of the request: it knows whether its pool is full.
    `unreached` says what to check where there is no connection, such as an option or a variable.
    """

    __slots__ = ("limit_s", "model", "provider", "secrets", "session", "status", "timer", "transfer", "unreached")

    def __init__(
        self,
        provider: str,
        model: str,
        *,
        secrets: tuple[str, ...] = (),
        timer: str = "total",
        limit_s: float = 0.0,
        session: aiohttp.ClientSession | None = None,
        unreached: str = "",
    ) -> None:
        self.provider = provider
        self.model = model
        self.secrets = secrets
        self.timer = timer
        self.limit_s = limit_s
        self.session = session
        self.unreached = unreached
        self.status: int | None = None
        self.transfer: Transfer | None = None

    def __enter__(self) -> UpstreamErrors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or not isinstance(error, Exception):
            return
        if isinstance(error, ConnectorError):
            error.provider = error.provider or self.provider
            error.model = error.model or self.model
            error.status = error.status or self.status
            error.transfer = error.transfer or self.transfer
            return
        failure = self._failure(error)
        failure.transfer = self.transfer
        try:
            raise failure
        finally:
            # `from None` would only hide it: whoever walks the chain still finds what may hold the key.
            failure.__context__ = failure.__cause__
            del failure  # its traceback holds this frame

    def _failure(self, error: Exception) -> ConnectorError:
        if type(error) is TimeoutError and self.limit_s:
            return UpstreamTimeoutError(
                f"no answer within {self.limit_s:g} s ({self.timer}_timeout_s)",
                provider=self.provider,
                model=self.model,
                status=self.status,
                code=f"timeout_{self.timer}",
            )
        return connector_error(
            error,
            provider=self.provider,
            model=self.model,
            status=self.status,
            secrets=self.secrets,
            pool_full=type(error).__name__ == "ConnectionTimeoutError" and self._is_full(),
            unreached=self.unreached,
        )

    def _is_full(self) -> bool:
        from nexus_core.toolkit.http.session import is_full  # aiohttp is there already: it has raised the error

        return self.session is not None and is_full(self.session)


def error_of_status(status: int) -> type[ConnectorError]:
    """Return the class of error for an HTTP status that is no success, where the body says nothing clearer."""
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500:
        return ServerError
    return UnsupportedRequestError if status >= 400 else ProtocolError


_STATUSES: Mapping[int, type[ConnectorError]] = {
    400: InvalidRequestError,
    401: AuthError,
    402: QuotaError,
    403: AuthError,
    404: ModelNotFoundError,
    405: ModelNotFoundError,
    407: ConnectError,
    408: NotReadyError,
    409: ConflictError,
    410: ModelNotFoundError,
    420: RateLimitError,
    422: InvalidRequestError,
    424: ServerError,  # Bedrock: the model behind it failed
    425: NotReadyError,
    429: RateLimitError,
    430: RateLimitError,
    449: RateLimitError,
    456: QuotaError,
    498: OverloadedError,  # Groq: no capacity
    501: ModelNotFoundError,
    503: OverloadedError,
    505: ModelNotFoundError,
    529: OverloadedError,
}
"""Other statuses of the 400s are about the target: gateways make up their own, none for the words of a prompt."""


def no_content(status: int) -> ProtocolError:
    """Return the error of an answer that by its status has no body."""
    return ProtocolError(f"the service answered with status {status}, which has no content", code="no_content")


_HIDDEN = "[hidden]"
_KEY = re.compile(
    r"\b(?:sk|pk|rk)-[\w*.\-]{6,}|\bbearer\s+[^\s\"',;}]+|\bAKIA[0-9A-Z]{16}|\beyJ[\w\-]+\.[\w\-]+(?:\.[\w\-]*)?",
    re.IGNORECASE,
)
_SHORTEST_SECRET = 8
_SHORTEST_ECHO = 24


def foreign_text(text: str, *, secrets: Iterable[str] = (), content: Iterable[str] = (), longest: int = 500) -> str:
    """Return what a service said, fit for a message or log: one line, short, without keys and without the prompt.

    Hidden are runs of 8 or more characters of a secret (also URL-encoded, in base64 or in hex), what looks like a key,
    and runs of 24 or more characters that stand in `content`.
    """
    text = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text[: 8 * longest]).strip()
    # All at once: keys that begin alike would each leave the end of the other. No text holds what stands between them.
    forms = [form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in _forms(secret)]
    text = _without(text, "\0".join(forms), _SHORTEST_SECRET)
    text = _KEY.sub(_HIDDEN, text)
    if len(text) > longest:
        text = text[:longest].rstrip() + "..."
    for part in content:
        text = _without(text, " ".join(part.split()), _SHORTEST_ECHO)
    return text


def _forms(secret: str) -> set[str]:
    """Return a secret as it may be written: plain, URL-encoded, in hex, and in base64 wherever it begins in a text."""
    quoted = quote(secret, safe="")
    forms = {secret, quoted, re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted), secret.encode().hex()}
    for before in range(3):
        encoded = b64encode(bytes(before) + secret.encode()).decode().rstrip("=")
        own = encoded[-(-before * 8 // 6) :]
        forms |= {own, own.replace("+", "-").replace("/", "_")}
    return forms


def _without(text: str, source: str, shortest: int) -> str:
    """Hide the runs of at least `shortest` characters of `text` that stand in `source`."""
    half = shortest // 2
    # Every such run covers an aligned window of half its length: when none is there, the slow search is spared.
    if not any(text[at : at + half] in source for at in range(0, len(text) - half + 1, half)):
        return text
    shown: list[str] = []
    at = 0
    while at < len(text):
        end = at + shortest
        if end > len(text) or text[at:end] not in source:
            shown.append(text[at])
            at += 1
            continue
        while end < len(text) and text[at : end + 1] in source:
            end += 1
        shown.append(_HIDDEN)
        at = end
    return "".join(shown)
