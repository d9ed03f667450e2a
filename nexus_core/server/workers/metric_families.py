"""Families of metrics as one worker tells them another, and all of them on one page, each figure with its worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import Metric

WORKER = "worker"
"""The label that tells of which worker a figure is."""


def families_json(families: Iterable[Metric]) -> list[dict[str, Any]]:
    """Return families as JSON."""
    return [
        {
            "about": [family.name, family.documentation, family.type, family.unit],
            "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples],
        }
        for family in families
    ]


def families_of(told: Iterable[Mapping[str, Any]]) -> list[Metric]:
    """Return the families that JSON tells of."""
    found = []
    for each in told:
        family = _family(*each["about"])
        for name, labels, value in each["samples"]:
            family.add_sample(name, labels, value)
        found.append(family)
    return found


def of_workers(told: Mapping[int, Sequence[Metric]]) -> list[Metric]:
    """Return the families of several workers as one set, each sample with the number of its worker."""
    found: dict[str, Metric] = {}
    for number, families in sorted(told.items()):
        for family in families:
            together = found.setdefault(
                family.name, _family(family.name, family.documentation, family.type, family.unit)
            )
            for sample in family.samples:
                together.add_sample(sample.name, {**sample.labels, WORKER: str(number)}, sample.value)
    return list(found.values())


def _family(name: str, documentation: str, type: str, unit: str) -> Metric:
    from prometheus_client import Metric  # only a server that has metrics needs the library

    return Metric(name, documentation, type, unit)
