"""What an editor asks of `nexus lsp` about the pipelines of this repository: completion, hovers, definitions, fixes."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsprotocol import types

from tests.lsp.conftest import ROOT, Editor, uri_of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

HYBRID = ROOT / "pipelines" / "hybrid.yaml"
WRITTEN = """\
name: written
plugins: [./my_rankers.py]
inputs:
  tone: {description: How it sounds., default: friendly}
models:
  main: {use: openai, model: gpt-4o, aliases: [best], fallback: [spare]}
  spare: extractive
steps:
- call: ./quickstart.yaml
  as: before
- gather: {use: files, paths: [notes.md]}
- rank: my_rankers
  when: "{{ inputs.tone == vars.first }}"
- prompt: {template: ./answer.jinja, variables: {tone: "{{ inputs.tone }}"}}
- generate: best
  as: first
"""


def edited(uri: str, action: types.CodeAction, text: str) -> str:
    """Return a text of short lines with an action applied."""
    assert action.edit is not None
    changes = (action.edit.changes or {})[uri]
    lines = text.splitlines(keepends=True)
    for change in changes:
        line = lines[change.range.start.line]
        assert isinstance(change, types.TextEdit)
        lines[change.range.start.line] = (
            line[: change.range.start.character] + change.new_text + line[change.range.end.character :]
        )
    return "".join(lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the pipeline names."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    for name in ("my_rankers.py", "answer.jinja", "quickstart.yaml"):
        (folder / name).write_text((ROOT / "pipelines" / name).read_text("utf-8"))
    (folder / "notes.md").write_text("# Notes")
    (folder / "answer.schema.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("text", "expected", "unexpected"),
    [
        pytest.param("na|", "name description steps", "gather", id="top"),
        pytest.param("|name: x\nsteps:\n- rank: bm25\n", "models", "steps", id="not-twice"),
        pytest.param(WRITTEN + "- |", "gather rank prompt as when", "name", id="step"),
        pytest.param(WRITTEN + "- rank: bm25\n  |", "as when timeout", "gather rank", id="modifier"),
        pytest.param(WRITTEN + "- rank: b|", "bm25 fuse my_rankers", "files", id="component"),
        pytest.param(WRITTEN + "- rank: {use: bm25, |", "k1 language", "use paths", id="option"),
        pytest.param(WRITTEN + "- rank:\n    use: fuse\n    |\n- generate:", "rankers", "use", id="option-in-block"),
        pytest.param(WRITTEN + "- rank: {use: fuse, rankers: [|", "bm25", "files", id="nested"),
        pytest.param(WRITTEN + "- rank: {use: fuse, rankers: [{use: bm25, |", "k1", "rankers", id="option-of-nested"),
        pytest.param(WRITTEN + "- gather: {use: files, |", "paths where expand", "k1", id="gather"),
        pytest.param(WRITTEN + "- generate: |", "main best spare", "openai", id="model"),
        pytest.param(WRITTEN + "- generate: {model: |}", "main best spare", "openai", id="model-of-mapping"),
        pytest.param(WRITTEN.replace(": gpt-4o", ": |"), "gpt-4o gpt-4o-mini", "best", id="id-of-model"),
        pytest.param(WRITTEN + "- prompt: {order: |", "rank best_last", "main", id="choice"),
        pytest.param(WRITTEN + "- prompt: |", "qa chat ./answer.jinja", "bm25", id="template"),
        pytest.param(WRITTEN + "- call: |", "./quickstart.yaml", "./written.yaml bm25", id="pipeline"),
        pytest.param(WRITTEN + "- generate: {schema: |", "./answer.schema.json", "main", id="schema"),
        pytest.param(WRITTEN + "  when: \"{{ vars.|", "first", "tone", id="variable"),
        pytest.param(WRITTEN + "  when: \"{{ inputs.t|", "tone", "first", id="input"),
        pytest.param(WRITTEN + "  when: \"{{ |", "query items inputs vars answer", "tone", id="name"),
        pytest.param(WRITTEN.replace("aliases", "cac|he: {}, aliases"), "cache retry", "use", id="key-before-colon"),
        pytest.param(WRITTEN + "calls:\n  de|", "deadline attempts", "name", id="calls"),
        pytest.param(WRITTEN + "tests:\n- name: a\n  |", "query expect", "name gather", id="tests"),
        pytest.param(WRITTEN + "content: |", "true false", "name", id="boolean"),
        pytest.param("steps: [[[\n x: }{\n" + WRITTEN + "- rank: b|", "bm25", "files", id="broken-before"),
        pytest.param(WRITTEN + "- rank: b|\n  as: [\n\t}\n&x *y", "bm25", "files", id="broken-after"),
        pytest.param(
            WRITTEN + "- prompt:\n    template:\n      text: >-\n        {{ |\n    variables: {mood: x}\n",
            "mood query items",
            "answer",
            id="template-text",
        ),
    ],
)  # fmt: skip
async def test_completion_offers_what_may_stand_there(
    text: str, expected: str, unexpected: str, editor: Editor, folder: Path
) -> None:
    """Whether the text is YAML at that moment or not, and nothing that may not."""
    uri = editor.open(folder / "written.yaml", text.replace("|", "", 1))
    before = text.partition("|")[0]
    position = (before.count("\n"), len(before.rpartition("\n")[2]))
    found = await editor.complete(uri, position)
    assert {*expected.split()} - {*found} == set()
    assert {*unexpected.split()} & {*found} == set()
    editor.close(uri)


async def test_suggestions_say_what_they_are_and_replace_the_word(editor: Editor, folder: Path) -> None:
    """A component by its one line and its options, a key by its help, type and default."""
    uri = editor.open(folder / "written.yaml", WRITTEN + "- rank: bm\n  timeo: 3s\n")
    component = (await editor.complete(uri, editor.find(uri, "rank: bm|\n")))["bm25"]
    assert component.detail is not None
    assert "(BM25)" in component.detail
    assert isinstance(component.documentation, types.MarkupContent)
    assert "- `k1`: " in component.documentation.value
    assert isinstance(component.text_edit, types.TextEdit)
    assert component.text_edit.new_text == "bm25"
    key = (await editor.complete(uri, editor.find(uri, "timeo|: 3s")))["timeout"]
    assert isinstance(key.text_edit, types.TextEdit)
    line = WRITTEN.count("\n") + 1
    assert (key.text_edit.range, key.text_edit.new_text) == (
        types.Range(types.Position(line, 2), types.Position(line, 7)),
        "timeout",
    )
    editor.close(uri)


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        pytest.param("na|me: written", "Its name, of letters", id="key"),
        pytest.param("ra|nk: my_rankers", "score and order the items", id="verb"),
        pytest.param("rank: my_rank|ers", "(ranker)", id="component-of-file"),
        pytest.param("use: fi|les", "- `paths`: ", id="component"),
        pytest.param("pa|ths: [notes", "required", id="option"),
        pytest.param("generate: be|st", "gpt-4o", id="model"),
        pytest.param("to|ne: {description", "How it sounds.", id="input-declared"),
        pytest.param("{{ inputs.to|ne ==", "How it sounds.", id="input"),
        pytest.param("== vars.fir|st }}", "as: first", id="variable"),
        pytest.param("{{ inp|uts.tone ==", "What the caller gives", id="name"),
    ],
)
async def test_hovers_explain(marked: str, expected: str, editor: Editor, folder: Path) -> None:
    """Keys and options by their help, names by what stands behind them."""
    uri = editor.open(folder / "written.yaml", WRITTEN)
    assert expected in await editor.hover(uri, editor.find(uri, marked))
    assert await editor.hover(uri, editor.find(uri, "name: writ|ten\n")) != ""
    editor.close(uri)


@pytest.mark.parametrize(
    ("marked", "file", "line"),
    [
        pytest.param("template: ./ans|wer.jinja", "answer.jinja", "[system]", id="template"),
        pytest.param("plugins: [./my_ra|nkers", "my_rankers.py", '"""', id="plugin"),
        pytest.param("rank: my_rank|ers", "my_rankers.py", "def titled(", id="component-of-file"),
        pytest.param("call: ./quick|start.yaml", "quickstart.yaml", "# ", id="called-pipeline"),
        pytest.param("paths: [no|tes.md", "notes.md", "# Notes", id="file"),
        pytest.param("generate: be|st", "written.yaml", "  main: ", id="model"),
        pytest.param("{{ inputs.to|ne ==", "written.yaml", "  tone: ", id="input"),
        pytest.param("== vars.fir|st }}", "written.yaml", "  as: first", id="variable"),
        pytest.param("use: ext|ra", "", "", id="nothing"),
    ],
)
async def test_definitions_lead_to_what_is_named(
    marked: str, file: str, line: str, editor: Editor, folder: Path
) -> None:
    """Files by their first line, components by the line of their class or function, names by their declaration."""
    (folder / "written.yaml").write_text(WRITTEN)
    uri = editor.open(folder / "written.yaml", WRITTEN + ("- rank: {use: ext}\n" if not file else ""))
    found = await editor.define(uri, editor.find(uri, marked.replace("extra", "ext").replace("ext|ra", "ext|")))
    if not file:
        assert found is None
    else:
        assert found is not None
        assert found.uri == uri_of(folder / file)
        assert (folder / file).read_text("utf-8").splitlines()[found.range.start.line].startswith(line)
    editor.close(uri)


async def test_a_component_is_defined_in_its_plugin(editor: Editor) -> None:
    """In the file of the class, at its line."""
    uri = editor.open(HYBRID)
    found = await editor.define(uri, editor.find(uri, "use: fi|les"))
    assert found is not None
    path = ROOT / "plugins" / "nexus_sources" / "files.py"
    assert found.uri == uri_of(path)
    assert path.read_text("utf-8").splitlines()[found.range.start.line].startswith("class Files")
    editor.close(uri)


async def test_templates_know_the_pipelines_that_use_them(editor: Editor, folder: Path) -> None:
    """What may be read there is completed and explained, and leads to where it is declared."""
    (folder / "written.yaml").write_text(WRITTEN)
    uri = editor.open(
        folder / "answer.jinja", "{{ t }} {{ inputs.tone }} {% for item in items %}{{ item.n }}{% endfor %}"
    )
    assert {"tone", "query", "items"} <= {*await editor.complete(uri, editor.find(uri, "{{ t|"))}
    assert {*await editor.complete(uri, editor.find(uri, "{{ inputs.t|"))} == {"tone"}
    assert {"number", "title"} <= {*await editor.complete(uri, editor.find(uri, "item.n|"))}
    assert await editor.complete(uri, editor.find(uri, "}}| {{ inputs")) == {}
    assert "How it sounds." in await editor.hover(uri, editor.find(uri, "inputs.to|ne"))
    found = await editor.define(uri, editor.find(uri, "inputs.to|ne"))
    assert found is not None
    assert (found.uri, found.range.start.line) == (uri_of(folder / "written.yaml"), 3)
    editor.close(uri)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        pytest.param("generate: besst", "generate: best", id="model"),
        pytest.param("generate: {modle: best}", "generate: {model: best}", id="key"),
        pytest.param("rank: bm52", "rank: bm25", id="component"),
        pytest.param("rank: {use: bm25, langage: english}", "rank: {use: bm25, language: english}", id="option"),
        pytest.param("rank: bm25\n  when: '{{ itmes }}'", "rank: bm25\n  when: '{{ items }}'", id="name"),
        pytest.param("rank: bm25\n  when: '{{ inputs.tonne }}'", "rank: bm25\n  when: '{{ inputs.tone }}'", id="input"),
        pytest.param("prompt: {template: qa, order: ranks}", "prompt: {template: qa, order: rank}", id="choice"),
        pytest.param("prompt: {template: qa, pin: x}", "prompt: {template: qa, pin: [x]}", id="list"),
        pytest.param("prompt: {template: qa, pin: [5]}", 'prompt: {template: qa, pin: ["5"]}', id="quotes"),
        pytest.param("prompt: {template: qa, budget: '50'}", "prompt: {template: qa, budget: 50}", id="no-quotes"),
    ],
)
async def test_fixes_write_what_lint_suggests(wrong: str, right: str, editor: Editor, folder: Path) -> None:
    """One for each suggestion, and after it the problem is gone."""
    uri = editor.open(folder / "written.yaml", f"{WRITTEN}- {wrong}\n")
    actions = [action for one in await editor.diagnostics(uri) for action in await editor.fixes(uri, one)]
    assert len(actions) == 1
    assert edited(uri, actions[0], editor.texts[uri]) == f"{WRITTEN}- {right}\n"
    editor.close(uri)
