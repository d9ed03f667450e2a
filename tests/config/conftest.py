"""A catalogue in memory, and the check as a function of a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from attrs import frozen

from nexus_core import component, option, state
from nexus_core.config.cases.reader import read_cases
from nexus_core.config.check import Checked, check
from nexus_core.contract.components import Kind
from nexus_core.contract.errors import PluginError
from nexus_core.contract.protocols import Ranker
from nexus_core.toolkit.secrets import Secret
from nexus_core.toolkit.suggest import instead


@component
class Files:
    """Items from files."""

    paths: tuple[str, ...] = option(help="Globs.")
    limit: int = option(100, help="Most files.", ge=1, le=1000)
    encoding: Literal["utf-8", "latin-1"] = option("utf-8", help="Of the files.")


@component
class Notes:
    """Items in the pipeline itself."""

    items: tuple[Mapping[str, Any], ...] = option((), help="The items.")


@component
class Words:
    """Ranks by words in common."""

    top: int | None = option(None, help="Keep so many.", gt=0)
    language: str = option("english", help="Stop words of.", pattern="[a-z]+")
    weights: Mapping[str, float] = option(factory=dict, help="By field.", ge=0)
    index: Any = state()


@frozen(kw_only=True)
class Weighted:
    """A ranker and what it counts."""

    ranker: Ranker = option(help="The ranker.")
    weight: float = option(1.0, help="What it counts.", gt=0)


@component
class Fuse:
    """Several rankers as one."""

    rankers: tuple[Ranker, ...] = option((), help="The rankers.")
    weighted: tuple[Weighted, ...] = option((), help="Rankers with weights.")
    first: Ranker | None = option(None, help="Asked before the others.")


@component
class Chat:
    """A model service."""

    model: str = option("small", help="The model.")
    api_key: Secret | None = option(None, help="The key.")
    headers: Mapping[str, Secret] = option(factory=dict, help="More headers.")
    strict: bool = option(False, help="Refuse what is unknown.")
    window: int | None = option(None, help="As the service has it.")


@component
class Answers:
    """Answers from the items."""

    tone: str = option("plain", help="How it sounds.")


@component
class Summary:
    """Sums the items up."""

    required_variables = frozenset({"length"})


@component
class Log:
    """Writes events to a file."""

    path: str = option(help="The file.")


@component
class Broken:
    """Has options that cannot be read."""

    x: Nowhere = option(1, help="Of a type that nobody knows.")  # type: ignore[name-defined]  # noqa: F821


@component
class Mute:
    """Says nothing of its tool."""

    tool_names = undescribed_tools = ("mute",)


COMPONENTS: Mapping[Kind, Mapping[str, type]] = {
    Kind.SOURCE: {"files": Files, "notes": Notes},
    Kind.RANKER: {"words": Words, "fuse": Fuse},
    Kind.CONNECTOR: {"chat": Chat},
    Kind.TEMPLATE: {"answers": Answers, "summary": Summary},
    Kind.SINK: {"log": Log},
    Kind.TOOL: {"mute": Mute},
}


@frozen
class FakeCatalogue:
    """Components by kind and name; plugin files offer a ranker without options."""

    components: Mapping[Kind, Mapping[str, type]] = COMPONENTS
    files: tuple[str, ...] = ()

    def names(self, kind: Kind) -> Sequence[str]:
        return [*self.components.get(kind, {}), *self.files]

    def component(self, kind: Kind, use: str) -> type:
        if use in self.files and kind is Kind.RANKER:
            return Words
        if use == "broken":
            return Broken
        known = self.components.get(kind, {})
        if use not in known:
            raise PluginError(f"no {kind.word} is named {use!r}{instead(use, known, 'installed')}")
        return known[use]

    def with_files(self, paths: Sequence[Path]) -> Self:
        return type(self)(self.components, tuple(path.stem for path in paths))


Check = Callable[..., Checked]
FULL = """\
name: handbook
description: Answers from the handbook.
models:
  main: {use: chat, model: big, api_key: "${KEY:-none}", window: 8192, fallback: [spare], options: {temperature: 0}}
  spare:
    use: chat
    aliases: [backup]
    fallback: tiny
    options: {max_tokens: 100, stop: "END", extra: {seed: 7}}
    retry: {attempts: 2, first_wait: 500ms}
    breaker: {failures: 3}
    limits: {concurrency: 4, tokens_per_minute: 100000}
  tiny: chat
default: main
calls: {deadline: 60s, attempts: 4}
on_stream_failure: restart
inputs:
  tone: friendly
  audience: {description: Who asks., default: staff}
  topic:
steps:
  - gather: {use: files, paths: ["docs/**/*.md"]}
  - prompt: {template: {text: "Rewrite: {{ query }}"}}
  - generate: {model: backup, options: {temperature: 0.2}}
    into: query
    timeout: 30s
    as: rewritten
  - rank:
      use: fuse
      rankers: [words, {use: words, top: 5}]
    when: "{{ items }}"
  - prompt:
      template: answers
      budget: 6000
      pin: [intro, "rules/*"]
      quota: {"docs/*": 500}
      order: best_last
      variables:
        style: "{{ inputs.tone }}"
        before: "{{ vars.rewritten }}"
        limit: 3
  - generate:
sinks:
  - {use: log, path: runs.jsonl}
"""


@pytest.fixture
def catalogue() -> FakeCatalogue:
    return FakeCatalogue()


@pytest.fixture
def components() -> Mapping[Kind, Mapping[str, type]]:
    return COMPONENTS


@pytest.fixture
def full() -> str:
    """A pipeline that uses all of the language and has no problem."""
    return FULL


@pytest.fixture
def checked(catalogue: FakeCatalogue, tmp_path: Path) -> Check:
    """Return the check of a text, as if it stood in a file in the test's folder."""

    def run(text: str | bytes, environment: Mapping[str, str] | None = None, overrides: Sequence[str] = ()) -> Checked:
        return check(text, str(tmp_path / "p.yaml"), catalogue, environment or {}, overrides, read_tests=read_cases)

    return run


@pytest.fixture
def found(checked: Check) -> Callable[..., list[str]]:
    """Return the problems of a text as `line:column code`."""

    def run(text: str | bytes, *args: Any, **more: Any) -> list[str]:
        return [f"{p.line}:{p.column} {p.code}" for p in checked(text, *args, **more).problems]

    return run
