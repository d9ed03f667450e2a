"""What loading a file does for each class and each text, however often they are named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nexus_core import Pipeline
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.toolkit.templates.template import Expression, TextTemplate

PLUGIN = '''"""Counts how often its annotations are looked at."""

from __future__ import annotations

from nexus_core import Ranking, component, hookimpl, option
from nexus_openai.connector import OpenAI

RESOLVED = []


class Counted:
    """A type, and a note of who asks for it."""

    def __class_getitem__(cls, name):
        RESOLVED.append(name)
        return str


@component
class Weight:
    """A record."""

    unit: Counted["record"] = option("em", help="The unit.")


@component
class Counting:
    """A ranker."""

    name = "counting"
    label: Counted["ranker"] = option("", help="A label.")
    weight: Weight | None = option(None, help="A record.")

    async def rank(self, query, ranking, run):
        return ranking


@component
class Service(OpenAI):
    """A connector."""

    name = "counting"
    region: Counted["connector"] = option("", help="Where it is.")


@hookimpl
def nexus_rankers():
    return [Counting]


@hookimpl
def nexus_connectors():
    return [Service]
'''
USES = 20


def test_annotations_are_resolved_once_for_each_class_however_often_a_file_names_it(tmp_path: Path) -> None:
    """Of models, steps and records, and of all that is loaded from one catalogue."""
    (tmp_path / "counted.py").write_text(PLUGIN)
    models = "".join(f"  m{n}: {{use: counted, model: gpt-4o-mini, api_key: k, region: r}}\n" for n in range(USES))
    ranks = "  - rank: {use: counted, label: l, weight: {unit: px}}\n" * USES
    file = tmp_path / "many.yaml"
    file.write_text(f"name: many\nmodels:\n{models}steps:\n{ranks}  - generate: m0\n")
    catalogue = PluginRegistry.installed().with_files([tmp_path / "counted.py"])
    for _ in range(2):
        Pipeline.load(file, environment={}, catalogue=catalogue)
    module = sys.modules[catalogue.component(Kind.RANKER, "counted").__module__]
    assert sorted(module.RESOLVED) == ["connector", "ranker", "record"]


@pytest.mark.parametrize("name", ["a.jinja", "b.jinja"])
def test_a_text_that_was_checked_is_not_compiled_again_to_be_built(name: str) -> None:
    """The check and the plan ask for the same template, and for the same expression."""
    assert TextTemplate.parse("[user]\n{{ query }}", name) is TextTemplate.parse("[user]\n{{ query }}", name)
    assert TextTemplate.parse("[user]\n{{ query }}", name).name == name
    assert Expression.parse("{{ items|length > 2 }}") is Expression.parse("{{ items|length > 2 }}")
