"""Attributes of spans and metrics, by OpenTelemetry's conventions for generative models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nexus_core import AttemptFinished

if TYPE_CHECKING:
    from nexus_core import Pipeline


def operation(row: AttemptFinished) -> str:
    """Return what an attempt was for, as the conventions name it."""
    return {"embed": "embeddings", "rerank": "rerank"}.get(row.purpose, "chat")


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
            "gen_ai.provider.name": self._known.get(row.model, ("unknown", ""))[0] or "unknown",
            "gen_ai.request.model": self.model_id(row.model, row.model_id),
        }
        if row.answered_by is not None:
            found["gen_ai.response.model"] = row.answered_by
        if row.outcome != "ok":
            found["error.type"] = row.outcome
        return found
