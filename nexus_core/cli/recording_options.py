"""`--record` and `--replay`: options of commands that ask models, and what they mean for `Pipeline.load`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from nexus_core import recordings

if TYPE_CHECKING:
    from nexus_core.engine.interceptors import Interceptor

_Function = TypeVar("_Function", bound=Callable[..., Any])


class RecordingArguments(TypedDict):
    """Arguments of `Pipeline.load`."""

    environment: Mapping[str, str]
    interceptor: Interceptor | None


def recording_options(function: _Function) -> _Function:
    """Add --record and --replay, which a command is given as `record` and `replay`."""
    folder = click.Path(file_okay=False, path_type=Path)
    for decorate in (
        click.option(
            "--replay", metavar="DIR", type=folder,
            help="Answer from what was recorded in a folder: nothing is sent, and no key is needed.",
        ),
        click.option(
            "--record", metavar="DIR", type=folder,
            help="Keep each request to a model with its response in a folder. The files hold prompts and answers in "
            "full, and no keys; only you may read them. What is recorded again is replaced, the rest stays.",
        ),
    ):  # fmt: skip
        function = decorate(function)
    return function


def recording_arguments(
    record: Path | None, replay: Path | None, environment: Mapping[str, str] = os.environ
) -> RecordingArguments:
    """Return what `Pipeline.load` is given; raises UsageError for a folder that cannot be used, and for both options.

    In a replay a variable that a pipeline needs and nobody has set has a substitute, so that it needs no keys.
    """
    if record is None and replay is None:
        return {"environment": environment, "interceptor": None}
    return {
        "environment": environment if replay is None else recordings.replay_environment(environment),
        "interceptor": recordings.recording_interceptor(record, replay),
    }
