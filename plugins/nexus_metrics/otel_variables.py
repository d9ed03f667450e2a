"""What the standard variables of OpenTelemetry say of the sink `otel`; imports nothing of OpenTelemetry.

Most of them its own library reads, each where it is used (samplers, headers, timeouts, limits, ...). Here stands what
that leaves to programs: whether anything is sent at all, by which protocol, and whether contents are.
"""

from __future__ import annotations

import logging
import os
from typing import Literal

_log = logging.getLogger(__name__)
Signal = Literal["TRACES", "METRICS"]
_SPOKEN = "http/protobuf"


def is_configured() -> bool:
    """Tell whether an endpoint is named, and something is to be sent there."""
    return _value("OTEL_SDK_DISABLED") != "true" and (is_sent("TRACES") or is_sent("METRICS"))


def is_sent(signal: Signal) -> bool:
    """Tell whether a signal has an endpoint, and a protocol that is spoken here."""
    named = _value("OTEL_EXPORTER_OTLP_ENDPOINT") or _value(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    if not named or "otlp" not in _listed(f"OTEL_{signal}_EXPORTER", "otlp"):
        return False
    own, shared = _value(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"), _value("OTEL_EXPORTER_OTLP_PROTOCOL")
    if (protocol := own or shared or _SPOKEN) != _SPOKEN:
        _log.warning(
            "no %s are sent to OpenTelemetry by %s: only %s is spoken; set OTEL_EXPORTER_OTLP_PROTOCOL to that, and "
            "the endpoint to its port, mostly 4318", signal.lower(), protocol, _SPOKEN,
        )  # fmt: skip
    return protocol == _SPOKEN


def is_propagated() -> bool:
    """Tell whether services that are asked are sent W3C's `traceparent`."""
    return "tracecontext" in _listed("OTEL_PROPAGATORS", "tracecontext")


def names_service() -> bool:
    """Tell whether the name of the service stands in the variables."""
    return bool(_value("OTEL_SERVICE_NAME")) or "service.name=" in _value("OTEL_RESOURCE_ATTRIBUTES")


def captures_content() -> bool:
    """Tell whether the variable of the GenAI conventions has queries and answers put into spans."""
    said = _value("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")
    return said in ("true", "span_only", "span_and_event")


def _listed(name: str, default: str) -> list[str]:
    return [each.strip() for each in (_value(name) or default).split(",")]


def _value(name: str) -> str:
    return os.environ.get(name, "").strip().lower()
