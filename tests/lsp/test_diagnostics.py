"""Diagnostics of `nexus lsp`: what `nexus lint` reports, at the same places, of what stands in the editor."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lsprotocol import types

from tests.lsp.conftest import ROOT, Editor, shown, uri_of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

GOOD = "name: good\nmodels: {m: extractive}\nsteps:\n- generate: m\n"
PAGE = "name: page\nmodels: {m: extractive}\nsteps:\n- prompt: ./page.jinja\n- generate: m\n"
ORIGIN = types.Position(0, 0)
Row = tuple[int, int, str, str, str]


def lint(*files: Path) -> dict[str, list[Row]]:
    """Return what the command reports of some files, each by its path."""
    done = subprocess.run(
        [sys.executable, "-m", "nexus_core.cli.main", "lint", "--format", "json", *map(str, files)],
        capture_output=True,
        text=True,
    )
    found: dict[str, list[Row]] = {}
    for one in json.loads(done.stdout)["problems"]:
        row = (one["line"], one["column"], one["code"], one["severity"], one["message"])
        found.setdefault(str(Path(one["file"])), []).append(row)
    return found


def faulty() -> Iterator[str]:
    """Yield the pipelines that stand in the tests of lint and of the language, nearly all of which are wrong."""
    modules = [*(ROOT / "tests" / "config").rglob("test_*.py"), ROOT / "tests" / "cli" / "commands" / "test_lint.py"]
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "steps:" in node.value:
                yield node.value


def misspelt() -> Iterator[str]:
    """Yield the pipelines of this repository with one line left out, broken or misspelt."""
    for path in sorted((ROOT / "pipelines").glob("*.yaml")):
        lines = path.read_text("utf-8").splitlines(keepends=True)
        for number in range(0, len(lines), 13):
            yield "".join([*lines[:number], *lines[number + 1 :]])
            yield "".join([*lines[:number], lines[number].replace("e", "ee", 1), *lines[number + 1 :]])
            yield "".join([*lines[:number], lines[number].rstrip("\n") + " {", "\n", *lines[number + 1 :]])


def characters(line: str, column: int) -> int:
    """Return a column, from 1 and in units of UTF-16, in characters."""
    return len(line.encode("utf-16-le")[: (column - 1) * 2].decode("utf-16-le", "ignore")) + 1


async def test_diagnostics_are_the_problems_of_lint(editor: Editor, tmp_path: Path) -> None:
    """Of every faulty pipeline in the tests of lint, and of the repository's own with mistakes in them."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    texts = dict.fromkeys([*faulty(), *misspelt()])
    for number, text in enumerate(texts):
        (folder / f"p{number}.yaml").write_text(text, "utf-8", newline="")
    files = sorted(folder.iterdir())
    expected = await asyncio.to_thread(lint, *files)
    assert sum(map(len, expected.values())) > 300
    codes = {row[2] for rows in expected.values() for row in rows}
    assert len(codes) > 25
    for path in files:
        text = path.read_bytes().decode()
        uri = editor.open(path, text)
        lines = text.splitlines(keepends=True) or [""]
        rows = [
            (line, characters(lines[line - 1], column) if line <= len(lines) else column, *rest)
            for line, column, *rest in shown(await editor.diagnostics(uri))
        ]
        assert rows == expected.get(str(path), []), text
        editor.close(uri)


async def test_the_pipelines_of_the_repository_have_no_diagnostics(editor: Editor) -> None:
    """As lint says of them, with their plugin file, template, schema and tests."""
    paths = sorted((ROOT / "pipelines").glob("*.yaml"))
    assert lint(*paths) == {}
    for path in paths:
        assert await editor.diagnostics(editor.open(path)) == []


async def test_columns_are_counted_in_utf_16(editor: Editor, tmp_path: Path) -> None:
    """A character outside of the basic plane counts twice; the range is the word that is wrong."""
    path = tmp_path / "emoji.yaml"
    uri = editor.open(path, GOOD + "description: {'😀😀': 1, x: 2}\n")
    found = (await editor.diagnostics(uri))[0]
    assert (found.range.start.character, found.code) == (13, "T001")
    editor.change(uri, GOOD.replace("- generate: m", "- {'when': '{{ \"😀\" }}', generate: n, timeout: soon}"))
    ranges = {one.code: one.range for one in await editor.diagnostics(uri)}
    line = "- {'when': '{{ \"😀\" }}', generate: n, timeout: soon}"
    units = len(line[: line.index("n, timeout")].encode("utf-16-le")) // 2
    assert (ranges["N001"].start.character, ranges["N001"].end.character) == (units, units + 1)


@pytest.mark.parametrize("end", ["\r\n", "\r"], ids=["crlf", "cr"])
async def test_line_ends_of_other_systems_are_line_ends(end: str, editor: Editor, tmp_path: Path) -> None:
    """Lines are those that the editor shows; what Unicode calls a line separator ends none."""
    text = GOOD.replace("name: good", 'name: good\ndescription: "a\u2028b"').replace("generate: m", "generate: n")
    uri = editor.open(tmp_path / "crlf.yaml", text.replace("\n", end))
    assert [row[:3] for row in shown(await editor.diagnostics(uri))] == [(5, 13, "N001")]


async def test_diagnostics_follow_what_is_not_saved(editor: Editor, tmp_path: Path) -> None:
    """Of a template and a called pipeline that are open too; the template shows them at its own line."""
    (tmp_path / "page.jinja").write_text("{{ query }}")
    pipeline = editor.open(tmp_path / "page.yaml", PAGE)
    assert await editor.diagnostics(pipeline) == []
    template = editor.open(tmp_path / "page.jinja", "Answer:\n{{ querry }}")
    found = await editor.diagnostics(pipeline, after=len(editor.published[pipeline]))
    assert [row[:3] for row in shown(found)] == [(4, 11, "X007")]
    assert [row[:3] for row in shown(await editor.diagnostics(template, after=0))] == [(2, 4, "X007")]
    seen = len(editor.published[pipeline])
    editor.change(template, "Answer:\n{{ query }}")
    assert await editor.diagnostics(pipeline, after=seen) == []


async def test_a_deleted_template_is_missed_and_a_new_one_is_seen(editor: Editor, tmp_path: Path) -> None:
    """By what the editor tells of files; it is asked to tell."""
    template = tmp_path / "page.jinja"
    template.write_text("{{ query }}")
    uri = editor.open(tmp_path / "page.yaml", PAGE)
    assert await editor.diagnostics(uri) == []
    assert editor.registered == ["workspace/didChangeWatchedFiles"]
    template.unlink()
    editor.tell_changed(template, types.FileChangeType.Deleted)
    assert [one.code for one in await editor.diagnostics(uri, after=1)] == ["X006"]
    template.write_text("{{ query }}")
    editor.tell_changed(template, types.FileChangeType.Created)
    assert await editor.diagnostics(uri, after=2) == []


async def test_mistakes_of_a_called_pipeline_stand_in_its_own_file(editor: Editor, tmp_path: Path) -> None:
    """And go when no open pipeline calls it any more."""
    (tmp_path / "other.yaml").write_text(GOOD.replace("generate: m", "generate: n"))
    text = GOOD.replace("steps:\n", "steps:\n- call: ./other.yaml\n  as: told\n")
    uri = editor.open(tmp_path / "main.yaml", text)
    other = uri_of(tmp_path / "other.yaml")
    assert await editor.diagnostics(uri) == []
    assert [row[:3] for row in shown(await editor.diagnostics(other, after=0))] == [(4, 13, "N001")]
    editor.close(uri)
    assert await editor.diagnostics(other, after=1) == []


async def test_tests_beside_a_pipeline_are_checked_with_it(editor: Editor, tmp_path: Path) -> None:
    """Whichever of the two is open; tests of no pipeline say so."""
    (tmp_path / "good.yaml").write_text(GOOD)
    tests = editor.open(tmp_path / "good.tests.yaml", "tests:\n- {name: a, query: b, model: c}\n")
    assert [row[:3] for row in shown(await editor.diagnostics(tests, after=0))] == [(2, 30, "N001")]
    alone = editor.open(tmp_path / "gone.tests.yaml", "tests: []\n")
    assert [one.code for one in await editor.diagnostics(alone, after=0)] == ["Y001"]


async def test_two_folders_have_their_own_plugins(editor: Editor, tmp_path: Path) -> None:
    """A plugin file of one name in each; one that breaks is an error of its own pipeline, and is seen once mended."""
    plugin = (ROOT / "pipelines" / "my_rankers.py").read_text()
    text = (
        "name: two\nplugins: [ranks.py]\nmodels: {m: extractive}\nsteps:\n- rank: ranks\n- prompt: qa\n- generate: m\n"
    )
    uris = []
    for name, code in (("a", plugin), ("b", "import os\nprint('loud')\nos.write(1, b'loud')\nraise SystemExit(3)\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ranks.py").write_text(code)
        uris.append(editor.open(tmp_path / name / "p.yaml", text))
    assert await editor.diagnostics(uris[0]) == []
    assert [one.code for one in await editor.diagnostics(uris[1])] == ["P001"]
    (tmp_path / "b" / "ranks.py").write_text(plugin)
    editor.tell_changed(tmp_path / "b" / "ranks.py", types.FileChangeType.Changed)
    assert await editor.diagnostics(uris[1], after=1) == []


async def test_other_yaml_is_left_alone(tmp_path: Path) -> None:
    """Files of other programs have no diagnostics, unless the settings name them."""
    workflow = "name: ci\njobs:\n  test:\n    steps:\n    - run: make\n"
    editor = Editor()
    await editor.start(options={"files": ["*/mine/*.yaml"]})
    try:
        (tmp_path / "mine").mkdir()
        other = editor.open(tmp_path / "workflow.yaml", workflow)
        mine = editor.open(tmp_path / "mine" / "workflow.yaml", workflow)
        assert await editor.diagnostics(mine) != []
        untitled = editor.open(tmp_path, GOOD.replace("generate: m", "generate: n"), uri="untitled:Untitled-1")
        assert [one.code for one in await editor.diagnostics(untitled, after=0)] == ["N001"]
        assert other not in editor.published
    finally:
        await editor.stop()


HOSTILE = {
    "deep": "a: " + "[" * 100_000,
    "large": "a: " + "x" * 1_000_000,
    "many": GOOD + "inputs: [" + "a, " * 60_000 + "]",
    "blanks": GOOD + "x:" + " " * 200_000 + "y",
    "quotes": GOOD + "x: '" + "''" * 100_000,
    "dashes": GOOD + "- " * 100_000,
    "lines": GOOD + "- rank: bm25\n" * 8_000,
    "braces": GOOD.replace("generate: m", 'generate: m\n  when: "{{ ' + "(" * 9_000 + '"'),
}


async def test_hostile_documents_do_not_hang_the_server(editor: Editor, tmp_path: Path) -> None:
    """Each is answered for, by diagnostics and by completion; a good document beside them is as ever."""
    good = editor.open(tmp_path / "good.yaml", GOOD)
    for name, text in HOSTILE.items():
        folder = tmp_path / "pipelines"
        uri = editor.open(folder / f"{name}.yaml", text)
        assert await editor.diagnostics(uri) != [], name
        await editor.complete(uri, (0, 3))
        editor.close(uri)
    assert "rank" in await editor.complete(good, (3, 2))


async def test_a_newer_text_ends_the_check_of_an_older_one(editor: Editor, tmp_path: Path) -> None:
    """Of a hundred changes in a row few are checked, the last one surely, and no older result comes after it."""
    uri = editor.open(tmp_path / "busy.yaml", GOOD)
    for number in range(100):
        editor.change(uri, GOOD.replace("generate: m", f"generate: n{number}"))
    last = editor.change(uri, GOOD)
    assert await editor.diagnostics(uri, version=last) == []
    versions = [one.version or 0 for one in editor.published[uri]]
    assert versions == sorted(versions)
    assert len(versions) < 50


async def test_a_plugin_that_never_ends_its_import_keeps_no_server_from_ending(tmp_path: Path) -> None:
    """The server reads on, and goes when the editor says so."""
    (tmp_path / "waits.py").write_text("import os, threading\nopen('begun', 'w').close()\nthreading.Event().wait()\n")
    editor = Editor()
    await editor.start(cwd=tmp_path)
    editor.open(tmp_path / "p.yaml", GOOD.replace("steps:", "plugins: [waits.py]\nsteps:\n- rank: waits"))
    while not (tmp_path / "begun").exists():
        await editor.fixes("file:///nothing", types.Diagnostic(types.Range(ORIGIN, ORIGIN), "an answer"))
    await editor.client.shutdown_async(None)
    editor.client.exit(None)
    await editor.client.stop()  # type: ignore[no-untyped-call]
    server = editor.client._server
    assert server is not None
    assert await asyncio.wait_for(server.wait(), 60) == 0


async def test_without_pygls_the_command_says_what_to_install() -> None:
    """And is in the list of commands all the same."""
    program = "import sys; sys.modules['pygls'] = None\nfrom nexus_core.cli.main import main\nmain(['lsp'])"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'contextnexus[lsp]'" in done.stderr
