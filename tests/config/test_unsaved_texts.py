"""Texts that an editor has not saved yet stand for the files beside a pipeline, whatever they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_core.engine.building.lint import lint_text
from nexus_core.engine.plugins import PluginRegistry

PIPELINE = """\
name: main
models: {m: extractive}
steps:
- prompt: ./page.jinja
- call: ./other.yaml
  as: asked
- prompt: qa
- generate: {model: m, schema: ./answer.json}
"""
OTHER = "name: other\nmodels: {m: extractive}\nsteps:\n- generate: m\n"
SOUND = {
    "page.jinja": "{{ query }}",
    "other.yaml": OTHER,
    "answer.json": '{"type": "object"}',
    "main.tests.yaml": "tests:\n- {name: a, query: b}\n",
}


def problems(folder: Path, unsaved: dict[str, str]) -> list[str]:
    """Return the problems of the pipeline as file and code, with some of its files open in an editor."""
    texts = {(folder / name).resolve(): text.encode() for name, text in unsaved.items()}
    found = lint_text(PIPELINE, str(folder / "main.yaml"), PluginRegistry.installed(), {}, unsaved=texts)
    return [f"{Path(problem.file).name} {problem.code}" for problem in found if problem.code != "O003"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param("page.jinja", "{{ querry }}", "main.yaml X007", id="template"),
        pytest.param("other.yaml", OTHER.replace("generate: m", "generate: k"), "other.yaml N001", id="pipeline"),
        pytest.param("answer.json", '{"type": "objekt"}', "main.yaml J001", id="schema"),
        pytest.param("main.tests.yaml", "tests:\n- {name: a}\n", "main.tests.yaml S003", id="tests"),
    ],
)
def test_what_stands_in_an_editor_is_what_is_checked(name: str, text: str, expected: str, tmp_path: Path) -> None:
    """In place of the file, and where there is no file yet; a saved mistake that was mended is none."""
    for file, sound in SOUND.items():
        (tmp_path / file).write_text(sound)
    assert expected not in problems(tmp_path, {})
    assert expected in problems(tmp_path, {name: text})
    (tmp_path / name).write_text(text)
    assert expected in problems(tmp_path, {})
    assert expected not in problems(tmp_path, {name: SOUND[name]})
    (tmp_path / name).unlink()
    assert expected in problems(tmp_path, {name: text})
