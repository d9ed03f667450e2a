"""Attempts as metrics, by OpenTelemetry's conventions for clients of generative models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.metrics import Meter

from nexus_core import AttemptFinished

if TYPE_CHECKING:
    from nexus_metrics.otel_attributes import ModelNames

_TOKENS = tuple(4**power for power in range(14))
_SECONDS = tuple(0.01 * 2**power for power in range(14))
"""Both as the conventions recommend them."""


class OtelMetrics:
    """The metrics of one pipeline's attempts."""

    def __init__(self, meter: Meter, targets: ModelNames) -> None:
        self._targets = targets
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of a request, as the service counts them.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="From a request to its end.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._first = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="From the request of a stream to its first content.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def attempted(self, row: AttemptFinished) -> None:
        """Record what an attempt took."""
        attributes = self._targets.attributes(row)
        self._duration.record(row.duration_s, attributes)
        if row.first_content_s is not None:
            self._first.record(row.first_content_s, attributes)
        if row.usage_source == "provider":  # by the conventions no count is better than a guess
            for kind, count in (("input", row.prompt_tokens), ("output", row.completion_tokens)):
                if count is not None:
                    self._tokens.record(count, {**attributes, "gen_ai.token.type": kind})
