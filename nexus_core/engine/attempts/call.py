"""A call, and what all calls of a pipeline share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import frozen

from nexus_core.config.policies import CallPolicy
from nexus_core.contract.events import Event
from nexus_core.contract.values import NOTHING_ASKED, CallOptions
from nexus_core.engine.attempts.clock import Clock
from nexus_core.engine.attempts.deadline import Watch
from nexus_core.engine.attempts.targets import Targets
from nexus_core.engine.draft import Draft
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.resources import Resources

Emit = Callable[[Event], None]


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Call:
    """One logical request to a chain of targets."""

    id: str
    run_id: str
    draft: Draft
    chain: tuple[Model, ...]
    options: CallOptions = NOTHING_ASKED
    """Over the options of each model."""
    deadline_s: float | None = None
    """The caller's own, where it is shorter than that of the pipeline."""
    is_heard: bool = True
    """Whether somebody hears of more than the rows of the ledger."""


@frozen(kw_only=True, eq=False, repr=False)
class Setting:
    """What all calls of a pipeline share."""

    registry: ModelRegistry
    resources: Resources
    policy: CallPolicy
    clock: Clock
    random: Random
    targets: Targets
    watch: Watch
