"""Model of the default pipeline that answers: one of OpenAI where there is a key, else the extractive one, offline."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

from nexus_core.cli.output.echo import echo
from nexus_core.cli.output.next_steps import missing
from nexus_core.cli.run_options import KEY, has_key
from nexus_core.contract.values import Value

OFFLINE, OPENAI = "offline", "openai"
DEFAULT_ID = "gpt-4o-mini"
ADDRESS = "OPENAI_BASE_URL"
"""The variable with the address of another service, which is asked in place of OpenAI."""
_MODELS = (OFFLINE, OPENAI)
_KEY_STEPS = (("nexus secrets set openai", f"store your key; or set {KEY} in the environment"),)
_STEPS = (
    ("nexus ask --model offline ...", "quote what matches best: nothing is sent, no key is needed"),
    ("nexus ask --model gpt-4o ...", "ask this model of OpenAI, or another one by its id"),
    ("nexus models", "list the models that you can use"),
)


@frozen(eq=False, repr=False)
class DefaultModel(Value):
    """A model of the default pipeline, and the variables with which that is loaded."""

    name: str
    environment: Mapping[str, str]

    @property
    def id(self) -> str:
        """The model as its service calls it."""
        return self.environment.get("NEXUS_MODEL") or DEFAULT_ID if self.name == OPENAI else "extractive"


def choose_model(model: str | None, environment: Mapping[str, str], *, sends: bool = True) -> DefaultModel:
    """Return the model that is meant, by default the one that can answer; raises UsageError where it cannot.

    With `sends=False` nothing is sent, and no key is needed.
    """
    answers = has_key(environment)
    found = _meant(model, environment, answers=answers)
    close = get_close_matches(model or "", _MODELS, n=1, cutoff=0.8)
    if close and model not in _MODELS:  # else a service were sent what was to stay here
        raise missing(f"no model is named {model!r}, did you mean {close[0]!r}?", _STEPS)
    if found.name == OPENAI and not answers and sends:
        taken = "" if model in _MODELS else ", which is taken for a model of OpenAI,"
        raise missing(f"--model {model}{taken} needs a key, and there is none", [*_KEY_STEPS, *_STEPS])
    return found


def show_model(found: DefaultModel, model: str | None) -> None:
    """Say on stderr who answers, before anything is sent; `model` is what was asked for."""
    if found.name == OPENAI:
        where = urlsplit(found.environment.get(ADDRESS, "")).netloc.rpartition("@")[2] or "OpenAI"
        echo(f"asking {found.id} at {where} (there is a key; --model offline sends nothing)", err=True)
    elif model is None:
        echo(f"quoting what matches best, offline (with {KEY} set or stored, a model of OpenAI answers)", err=True)


def choose_recorded(model: str | None, environment: Mapping[str, str], replay: Path) -> DefaultModel:
    """Return the model whose answers were recorded, and say that nothing is sent."""
    found = _meant(model, environment, answers=any(replay.glob("openai-*.json")))
    echo(f"replaying what was recorded of {found.name} in {replay}; nothing is sent", err=True)
    return found


def _meant(model: str | None, environment: Mapping[str, str], *, answers: bool) -> DefaultModel:
    if model is None:
        return DefaultModel(OPENAI if answers else OFFLINE, environment)
    if model in _MODELS:
        return DefaultModel(model, environment)
    return DefaultModel(OPENAI, {**environment, "NEXUS_MODEL": model})
