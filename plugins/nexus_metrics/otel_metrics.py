"""Attempts as metrics, by OpenTelemetry's conventions for clients of generative models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Meter

from nexus_core import AttemptFinished

if TYPE_CHECKING:
    from nexus_core import Pipeline


def operation(row: AttemptFinished) -> str:
    """Return what an attempt was for, as the conventions name it."""
    return {"embed": "embeddings", "rerank": "rerank"}.get(row.purpose, "chat")


_PROVIDERS = {"gemini": "gcp.gemini", "bedrock": "aws.bedrock"}
"""Connectors whose services the conventions call something else."""


def _provider(told: str) -> str:
    return _PROVIDERS.get(told, told) or "unknown"


class ModelNames:
    """The models of a pipeline as the conventions name them."""

    def __init__(self, pipeline: Pipeline | None) -> None:
        infos = () if pipeline is None else ((model.name, model.info) for model in pipeline.models.targets())
        self._known = {name: (info.provider, info.id) for name, info in infos}

    def model_id(self, name: str, told: str) -> str:
        """Return the model that is asked, as its service calls it."""
        return self._known[name][1] if name in self._known else told

    def attributes(self, row: AttemptFinished) -> Mapping[str, Any]:
        """Return the attributes that spans and metrics of an attempt share."""
        found = {
            "gen_ai.operation.name": operation(row),
            "gen_ai.provider.name": _provider(self._known.get(row.model, ("", ""))[0]),
            "gen_ai.request.model": self.model_id(row.model, row.model_id),
        }
        if row.answered_by is not None:
            found["gen_ai.response.model"] = row.answered_by
        if row.outcome != "ok":
            found["error.type"] = row.outcome
        return found


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
        self._cost = meter.create_counter(
            "nexus.client.cost",
            unit="{USD}",
            description="US dollars that requests cost, where the price and the tokens are known.",
        )

    def attempted(self, row: AttemptFinished) -> None:
        """Record what an attempt took, if it was a request."""
        if row.from_cache:
            return
        attributes = self._targets.attributes(row)
        self._duration.record(row.duration_s, attributes)
        if row.first_content_s is not None:
            self._first.record(row.first_content_s, attributes)
        if row.usage_source == "provider":  # by the conventions no count is better than a guess
            for kind, count in (("input", row.prompt_tokens), ("output", row.completion_tokens)):
                if count is not None:
                    self._tokens.record(count, {**attributes, "gen_ai.token.type": kind})
        if row.cost is not None:  # the conventions name no cost: it is the ledger's, estimates marked
            self._cost.add(row.cost, {**attributes, "nexus.usage_source": row.usage_source})
