"""Every component and option that a README names is loaded from YAML, through the entry points that are installed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import asdict, frozen, has
from generated_pages import components, records

from nexus_core import Pipeline
from nexus_core.config.check import check
from nexus_core.contract.components import Kind, OptionSpec, options_of
from nexus_core.contract.hookspecs import ENTRY_POINT_GROUP
from nexus_core.engine.plugins import PluginRegistry

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    page
    for page in (*ROOT.rglob("README.md"), *(ROOT / "docs").rglob("*.md"))
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
)
KINDS = {kind.word: kind for kind in Kind}
REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "source files": {"paths": "*.md"},
    "source inline": {"items": ["A fact."]},
    "source url": {"url": "https://example.com/handbook.html"},
    "source jsonl": {"path": "items.jsonl"},
    "source objects": {"url": "s3://handbook/docs"},
    "source git": {"url": "https://example.com/handbook.git"},
    "source sql": {"url": "sqlite:///tickets.db", "query": "SELECT * FROM tickets", "text": "body"},
    "source feed": {"url": "https://example.com/feed.xml"},
    "source mailbox": {"host": "imap.example.com", "user": "ada@example.com"},
    "source site": {"url": "https://example.com/handbook/"},
    "sink jsonl": {"path": "runs.jsonl"},
    "ranker fuse": {"rankers": ["bm25"]},
    "ranker rerank": {"model": {"use": "extractive"}},
    "connector openai": {"model": "gpt-4o-mini"},
    "connector ollama": {"model": "llama3.2"},
    "connector anthropic": {"model": "claude-sonnet-4-5"},
    "connector bedrock": {"model": "amazon.nova-lite-v1:0"},
    "connector gemini": {"model": "gemini-3.8-flash"},
    "tool fetch": {"hosts": "example.com"},
    "tool mcp": {"command": "mcp-server-time"},
    "tool pipeline": {"pipeline": "./called.yaml"},
}
"""What must be said of a component before anything else can be."""
CALLED = "name: called\nmodels: {main: extractive}\nsteps: [generate: main]\n"
VERBS = frozenset({"gather", "rank", "prompt", "generate", "choose", "together", "call"})
_KIND = "|".join(KINDS)
_NAMED = re.compile(rf"\b({_KIND})s?\s+((?:`[\w.]+`(?:, | and |, and )?)+)", re.IGNORECASE)
_OPTION = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


@frozen
class Section:
    """The table of options of one component."""

    page: str
    kind: str
    name: str
    options: tuple[str, ...]


def sections() -> Iterator[Section]:
    """Yield the tables of options: of the reference that is made of the code, and of pages that people wrote."""
    yield from generated_sections()
    yield from written_sections()


def generated_sections() -> Iterator[Section]:
    """Yield the tables of options in the reference, each the first one below the name of its component."""
    offered = PluginRegistry.installed().all_components()
    for kind in Kind:
        for text in re.split(r"^## ", components(kind), flags=re.MULTILINE)[1:]:
            name = text.partition("\n")[0]
            table = text.partition("\n| key |")[2].partition("\n\n")[0]
            yield Section(offered[kind][name].__module__.split(".")[0], kind.word, name, tuple(_OPTION.findall(table)))


def written_sections() -> Iterator[Section]:
    """Yield the tables of options in how-to pages of plugins, by the component that heading or title names."""
    for page in (ROOT / "docs" / "how-to").glob("*.md"):
        plugin = f"nexus_{page.stem}"
        if not (ROOT / "plugins" / plugin).is_dir():
            continue
        title, *parts = re.split(r"^##? ", page.read_text("utf-8"), flags=re.MULTILINE)[1:]
        for text in (title, *parts):
            table = re.search(r"^\| option \|.*?(?=^(?!\|))", text, re.MULTILINE | re.DOTALL)
            if table is None:
                continue
            heading = text.partition("\n")[0]
            name = re.search(r"`(\w+)`", heading) or re.search(r"`(\w+)`", title.partition("\n")[0])
            kind = next(word for line in (heading, title) for word in KINDS if word in line.partition("\n")[0].lower())
            assert name is not None, (page, heading)
            yield Section(plugin, kind, name[1], tuple(_OPTION.findall(table[0])))


SECTIONS = tuple(sections())
NAMES = frozenset(
    point.name for point in entry_points(group=ENTRY_POINT_GROUP) if point.dist and point.dist.name == "contextnexus"
)
OURS = frozenset(
    (kind.word, name)
    for kind, offered in PluginRegistry.installed().all_components().items()
    for name in offered
    if name in NAMES
)


def pipeline(kind: str, use: str, options: Mapping[str, Any]) -> str:
    """Return a pipeline, as YAML, with this component."""
    component = {"use": use, **options}
    gather: Any = component if kind == "source" else {"use": "inline", "items": ["A fact."]}
    told: dict[str, Any] = {"name": "documented", "models": {"main": {"use": "extractive"}}}
    steps: list[Any] = [{"gather": gather}]
    steps += [{"rank": component}] if kind == "ranker" else []
    steps += [{"prompt": {"template": component if kind == "template" else "chat"}}, {"generate": "main"}]
    if kind == "connector":
        told["models"]["main"] = component
    if kind == "tool":
        told["models"]["main"] = {"use": "openai", "model": "gpt-4o-mini"}
        steps[-1] = {"generate": {"model": "main", "tools": [component]}}
    if kind == "sink":
        told["sinks"] = [component]
    return json.dumps({**told, "steps": steps})  # JSON is YAML


def plain(option: OptionSpec) -> Any:
    """Return the default of an option as it is written in a file."""
    default = asdict(option.default) if has(type(option.default)) else option.default
    return json.loads(json.dumps(default, default=dict))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"{section.kind}-{section.name}")
def test_every_documented_option_is_loaded_from_yaml(section: Section, tmp_path: Path) -> None:
    """The registry gives the component in that kind; it takes each option of the table, and the table has them all."""
    cls = PluginRegistry.installed().component(KINDS[section.kind], section.name)
    options = {option.name: option for option in options_of(cls)}
    assert sorted(section.options) == sorted(options)
    required = REQUIRED.get(f"{section.kind} {section.name}", {})
    said = {name: plain(option) for name, option in options.items() if not option.required and option.default != ()}
    (tmp_path / "called.yaml").write_text(CALLED)
    for more in ({}, *({name: value} for name, value in said.items() if value is not None)):
        file = tmp_path / "documented.yaml"
        file.write_text(pipeline(section.kind, section.name, {**required, **more}))
        assert Pipeline.load(file, environment={"OPENAI_API_KEY": "k"}).name == "documented", more


def test_an_option_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    (tmp_path / "called.yaml").write_text(CALLED)
    for section in SECTIONS:
        text = pipeline(section.kind, section.name, {**REQUIRED.get(f"{section.kind} {section.name}", {}), "no": 1})
        assert [p.code for p in check(text, str(tmp_path / "x.yaml"), PluginRegistry.installed(), {}).problems] == [
            "S002"
        ], section


def test_every_component_is_documented_and_every_documented_one_is_there() -> None:
    """In its kind: what an entry point lost, or a page never told of, is found here."""
    assert {(section.kind, section.name) for section in SECTIONS if section.name in NAMES} == OURS
    assert {section.page for section in written_sections()} == {
        "nexus_anthropic", "nexus_bedrock", "nexus_gemini", "nexus_ollama", "nexus_openai", "nexus_rankers",
        "nexus_tools",
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_the_reference_has_a_line_for_each_option_and_key(kind: Kind) -> None:
    """With its meaning, also of the mappings that an option may hold, below the component that has it."""
    sections = {text.partition("\n")[0]: text for text in re.split(r"^## ", components(kind), flags=re.MULTILINE)}
    for name, cls in PluginRegistry.installed().all_components()[kind].items():
        rows = re.findall(r"^\| `(\w+)` \|[^|]*\|[^|]*\| (.*) \|$", sections[name], re.MULTILINE)
        inner = [part for spec in options_of(cls) for part in records(spec.annotation)]
        assert rows == [(spec.name, spec.help) for part in (cls, *inner) for spec in options_of(part)], name


@pytest.mark.parametrize(("kind", "name"), sorted(OURS))
def test_every_component_is_told_of_on_a_how_to_page(kind: str, name: str) -> None:
    """A table of options does not say when to use it, and a page of a plugin links there."""
    told = re.compile(rf"`{name}`|\buse: {name}\b")
    assert [page for page in (ROOT / "docs" / "how-to").glob("*.md") if told.search(page.read_text("utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_component_that_prose_names_is_offered_in_that_kind(page: Path) -> None:
    """As in "the sink `store`"; in the table of folders as "`store`, source and sink"."""
    text = page.read_text("utf-8")
    named = [(kind.lower(), name) for kind, names in _NAMED.findall(text) for name in re.findall(r"`([\w.]+)`", names)]
    for folder, names, rest in re.findall(
        r"^\| \[(plugins/\w+)\]\S+ \| ((?:`\w+`(?:, | and )?)+)(.*)\|$", text, re.MULTILINE
    ):
        kinds = [word for word in KINDS if word in rest] or [
            section.kind for section in SECTIONS if section.page == Path(folder).name
        ]
        named += [(kind, name) for name in re.findall(r"`(\w+)`", names) for kind in set(kinds)]
    for kind, name in named:
        PluginRegistry.installed().component(KINDS[kind], name)


def parts() -> Iterator[Any]:
    """Yield the YAML of READMEs that is a part of a pipeline, each with the page that it is from."""
    for page in PAGES:
        for number, body in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)):
            told = yaml.safe_load(re.sub(r"\$\{\w+(:-)?(\w*)\}", "k", body))
            place = f"{page.parent.name}-{page.stem}-{number}"
            if isinstance(told, dict) and told.keys() & VERBS:
                told = [told]
            if isinstance(told, list):
                told = {"steps": told}
            if "name" not in told and told.keys() & {"models", "steps", "sinks", "calls", "inputs"}:
                yield pytest.param(page, told, id=place)


@pytest.mark.parametrize(("page", "part"), tuple(parts()))
def test_every_part_of_a_pipeline_in_a_readme_is_a_part_of_one(
    page: Path, part: dict[str, Any], tmp_path: Path
) -> None:
    """Its components are there in that kind, and take these options; names and orders are the whole's affair."""
    verbs = {verb for step in part.get("steps", ()) for verb in step}
    gather = [] if "gather" in verbs else [{"gather": {"use": "inline", "items": ["A fact."]}}]
    generate = [] if "generate" in verbs else [{"prompt": "chat"}, {"generate": None}]
    whole = {"name": "part", "models": {"main": "extractive"}, **part}
    whole["steps"] = [*gather, *part.get("steps", ()), *generate]
    for name in part.get("plugins", ()):
        bodies = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        (tmp_path / name).write_text(next(body for body in bodies if f"def {Path(name).stem}(" in body))
    found = check(json.dumps(whole), str(tmp_path / "part.yaml"), PluginRegistry.installed(), {}).problems
    assert [str(problem) for problem in found if problem.code[0] in "STPY" and problem.severity == "error"] == []
