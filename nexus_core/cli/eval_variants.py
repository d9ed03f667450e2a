"""One pipeline against itself: with another setting, another store or another context; nothing is ingested anew.

Everything is an override of the file, so that it is checked like the file, and whatever runs the pipeline runs the
variant: rankings, packing and answers are measured alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import evolve

from nexus_core.engine.composition.traversal import inner_steps
from nexus_core.engine.steps import Gather
from nexus_core.evaluation.collection import JudgedCollection

if TYPE_CHECKING:
    from nexus_core.engine.plan import Plan

_Function = TypeVar("_Function", bound=Callable[..., Any])
_SOURCE = "store"
"""The source whose options name a store and a context."""


def variant_options(function: _Function) -> _Function:
    """Add the options that name what is changed; all of them together make one variant."""
    options = (
        click.option(
            "--against-set",
            multiple=True,
            metavar="PATH=VALUE",
            help="Compare the pipeline with itself with this override (repeatable: all together).",
        ),
        click.option(
            "--against-store",
            metavar="FOLDER",
            type=click.Path(file_okay=False, exists=True),
            help="Compare what it gathers from its store with what it gathers from this one.",
        ),
        click.option(
            "--against-context", metavar="NAME", help="Compare what it gathers with what it gathers from this context."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def variant(plans: Sequence[Plan], load: Callable[[Sequence[str]], Plan], asked: dict[str, Any]) -> list[Plan]:
    """Return the variant of the only pipeline, or nothing where none is asked for; raises UsageError.

    `load` loads the pipeline with overrides.
    """
    if not _is_asked(asked):
        return []
    if len(plans) > 1:
        raise click.UsageError("--against-... compares one pipeline with itself: give one, or leave these options out")
    changes = [*_of_store(plans[0], asked), *asked["against_set"]]
    found = load(changes)
    return [evolve(found, name=f"{plans[0].name} with {', '.join(_named(asked))}")]


def check_variant(collection: JudgedCollection, asked: dict[str, Any]) -> None:
    """Raise UsageError where another store would change nothing, since the items come from a file."""
    if collection.items is not None and (asked["against_store"] or asked["against_context"]):
        raise click.UsageError(
            "the items come from the corpus file, so that no store is searched: name the context with --context, or "
            "give --queries and --qrels without --corpus"
        )


def _is_asked(asked: dict[str, Any]) -> bool:
    return bool(asked["against_set"] or asked["against_store"] or asked["against_context"])


def _of_store(plan: Plan, asked: dict[str, Any]) -> list[str]:
    """Return the overrides that let each step that gathers from a store gather from another one."""
    wanted = {"path": asked["against_store"], "context": asked["against_context"]}
    if wanted["path"] is not None:
        wanted["path"] = str(Path(wanted["path"]).absolute())
    changes = {name: value for name, value in wanted.items() if value is not None}
    found = inner_steps(plan.steps)
    steps = [each.path for each in found if isinstance(each.step, Gather) and each.step.name == _SOURCE]
    if changes and not steps:
        raise click.UsageError(f"pipeline {plan.name!r} has no step `gather: {_SOURCE}`: there is no store to compare")
    # In JSON, whose texts are YAML: a path may hold what YAML would read otherwise.
    return [f"{step}.gather.{name}={json.dumps(value)}" for step in steps for name, value in changes.items()]


def _named(asked: dict[str, Any]) -> list[str]:
    found = list(asked["against_set"])
    if asked["against_store"]:
        found.append(f"store {asked['against_store']}")
    if asked["against_context"]:
        found.append(f"context {asked['against_context']}")
    return found
