"""The source `files`: what it finds, reads, keeps and reports."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nexus_sources.files import Files

from nexus_core import Item, RunContext, SourceError, Store

LONG = "Words that fill a section until it is worth an item of its own. " * 12


def files(folder: Path, *paths: str, **options: Any) -> Files:
    source = Files(paths=paths, **options)
    source.base_dir = str(folder)
    return source


def write(folder: Path, **texts: str) -> Path:
    """Write files named by keyword, `__` for a slash and `_dot_` for a dot."""
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def settle(folder: Path) -> None:
    """Make all times so old that a change is sure to show."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, ns=(10**18, 10**18 + 1))


async def gathered(source: Files) -> tuple[Item, ...]:
    items = await source.gather("", RunContext())
    assert isinstance(items, tuple)
    return items


def ids(items: tuple[Item, ...]) -> list[str]:
    return [item.id for item in items]


async def test_short_documents_are_one_item_each(tmp_path: Path) -> None:
    """A short file is one item with its path as id and source, and its heading as title."""
    write(tmp_path, docs__a_dot_md="# Bees\n\nThey dance.\n", docs__b_dot_txt="Plain.\n")
    markdown, plain = await gathered(files(tmp_path, "docs/*"))
    assert (markdown.id, markdown.title, markdown.text, markdown.kind) == (
        "docs/a.md",
        "Bees",
        "They dance.",
        "text",
    )
    assert (plain.id, plain.title, plain.text, plain.kind) == ("docs/b.txt", "b.txt", "Plain.", "text")
    assert plain.source == plain.metadata["path"] == "docs/b.txt"


async def test_a_long_document_is_one_item_per_section(tmp_path: Path) -> None:
    """The title is the path of the headings, the id ends as a link to the heading does, the line is where it begins."""
    text = f"# Handbook\n\nHello.\n\n## Leave\n\n### Sick leave\n\n{LONG}\n\n## Pay\n\n{LONG}\n"
    write(tmp_path, h_dot_md=text)
    items = await gathered(files(tmp_path, "h.md"))
    assert [(item.id, item.title, item.metadata["line"]) for item in items] == [
        ("h.md#handbook", "Handbook", 1),
        ("h.md#sick-leave", "Handbook > Leave > Sick leave", 7),
        ("h.md#pay", "Handbook > Pay", 11),
    ]
    assert items[1].metadata["headings"] == ["Handbook", "Leave", "Sick leave"]
    assert "Sick leave" not in items[1].text


async def test_sections_can_be_switched_off(tmp_path: Path) -> None:
    """With `sections: false` a long document stays whole."""
    write(tmp_path, h_dot_md=f"# H\n\n## A\n\n{LONG}\n\n## B\n\n{LONG * 9}\n")
    (item,) = await gathered(files(tmp_path, "h.md", sections=False))
    assert "## A" in item.text


async def test_equal_headings_get_ids_of_their_own(tmp_path: Path) -> None:
    """Ids are unique, counted up as hosts of Markdown do."""
    write(tmp_path, h_dot_md="".join(f"## Note\n\n{LONG}\n\n" for _ in range(3)))
    assert ids(await gathered(files(tmp_path, "h.md"))) == ["h.md#note", "h.md#note-1", "h.md#note-2"]


async def test_very_long_plain_text_is_cut_at_paragraphs(tmp_path: Path) -> None:
    """The parts are numbered, none cuts a paragraph, and nothing gets lost."""
    paragraphs = [f"Paragraph {number}. {LONG}" for number in range(12)]
    write(tmp_path, notes_dot_txt="\n\n".join(paragraphs))
    items = await gathered(files(tmp_path, "notes.txt"))
    assert [item.title for item in items][:2] == ["notes.txt (part 1)", "notes.txt (part 2)"]
    assert ids(items)[:2] == ["notes.txt", "notes.txt#part-2"]
    assert [p.strip() for item in items for p in item.text.split("\n\n")] == [p.strip() for p in paragraphs]


async def test_items_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    """The order depends on names alone, not on patterns or the file system, and no file comes twice."""
    write(tmp_path, b_dot_md="b", a__z_dot_md="z", a__b__c_dot_md="c", d_dot_txt="d")
    items = await gathered(files(tmp_path, "**/*.txt", "b.md", "**/*.md"))
    assert ids(items) == ["a/b/c.md", "a/z.md", "b.md", "d.txt"]


async def test_code_files_are_of_kind_code(tmp_path: Path) -> None:
    """Code goes by its suffix or name and has its path as title."""
    write(tmp_path, src__app_dot_py="x = 1\n", Makefile="all:\n\techo\n")
    assert [(item.title, item.kind) for item in await gathered(files(tmp_path, "**/*"))] == [
        ("Makefile", "code"),
        ("src/app.py", "code"),
    ]


async def test_hidden_and_unmeant_folders_are_left_out_unless_named(tmp_path: Path) -> None:
    """`**` passes over what nobody means; a pattern that names it gets it."""
    write(
        tmp_path, a_dot_md="a", _dot_git__b_dot_md="b", node_modules__c_dot_md="c", _dot_h_dot_md="h",
        v__pyvenv_dot_cfg="", v__d_dot_md="d",
    )  # fmt: skip
    assert ids(await gathered(files(tmp_path, "**/*.md"))) == ["a.md"]
    assert ids(await gathered(files(tmp_path, ".git/**/*.md", "node_modules/*", ".h.md"))) == [
        ".git/b.md",
        ".h.md",
        "node_modules/c.md",
    ]


async def test_the_store_is_no_document_of_the_folder_that_holds_it(tmp_path: Path) -> None:
    """What `nexus context add` writes beside the documents is not read by the next one."""
    write(tmp_path, a_dot_md="a", kept__note_dot_md="b")
    async with Store(tmp_path / "kept"):
        assert ids(await gathered(files(tmp_path, "."))) == ["a.md"]


async def test_excluded_files_are_left_out(tmp_path: Path) -> None:
    """`exclude` takes names anywhere and paths from the root, of files and folders."""
    write(tmp_path, a_dot_md="a", draft_dot_md="x", d__draft_dot_md="x", d__old__b_dot_md="x", e__old__c_dot_md="c")
    source = files(tmp_path, "**/*.md", exclude=("draft.md", "d/old"))
    assert ids(await gathered(source)) == ["a.md", "e/old/c.md"]


async def test_a_folder_stands_for_all_files_in_it(tmp_path: Path) -> None:
    """A pattern may be a plain folder, and one text instead of a list."""
    write(tmp_path, docs__a_dot_md="a", docs__b__c_dot_txt="c", other_dot_md="o")
    assert ids(await gathered(files(tmp_path, "docs"))) == ["docs/a.md", "docs/b/c.txt"]
    source = Files(paths="docs/{a,x}.md")
    source.base_dir = str(tmp_path)
    assert ids(await gathered(source)) == ["docs/a.md"]


async def test_paths_start_from_the_root_option(tmp_path: Path) -> None:
    """`root` moves the start, `..` leads out of it, and ids stay relative to it."""
    write(tmp_path, site__docs__a_dot_md="a", common__b_dot_md="b")
    items = await gathered(files(tmp_path, "*.md", "../../common/*.md", root="site/docs"))
    assert ids(items) == ["../../common/b.md", "a.md"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
async def test_links_lead_round_no_loop(tmp_path: Path) -> None:
    """A linked folder is followed once, and a folder goes by its own name rather than a link's."""
    write(tmp_path, real__a_dot_md="a", z__b_dot_md="b")
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    source = files(tmp_path, "**/*.md")
    assert ids(await gathered(source)) == ["real/a.md", "z/b.md"]
    assert "gone.md: is a link that leads nowhere" in source.problems[0]


@pytest.mark.parametrize("pattern", [".", "**/*.md", "*/*.md", "*.md", "d/**/*.md"])
@pytest.mark.parametrize("target", ["absolute", "relative", "through another link"])
async def test_links_that_leave_the_root_are_read_only_where_that_is_asked(
    tmp_path: Path, pattern: str, target: str
) -> None:
    """Of folders and of files, at the top and below, by whatever pattern; links that stay are read all the same."""
    root = write(tmp_path / "root", d__own_dot_md="own", e__in_dot_md="in", top_dot_md="top").resolve()
    outside = write(tmp_path / "outside", secret_dot_md="secret")
    place = {"absolute": str(outside), "relative": "../../outside", "through another link": "hop"}[target]
    (root / "d" / "hop").symlink_to("../../outside")
    (root / "d" / "folder").symlink_to(place)
    (root / "d" / "file.md").symlink_to("../../outside/secret.md")
    (root / "file.md").symlink_to("../outside/secret.md")
    (root / "d" / "stays.md").symlink_to("../e/in.md")
    source = files(root, pattern)
    assert [item.id for item in await gathered(source) if item.text == "secret"] == []
    assert any("is a link that leads out of the folder" in problem for problem in source.problems)
    followed = await gathered(files(root, pattern, follow_links=True))
    assert [item.id for item in followed if item.text == "secret"] != []


async def test_a_link_that_is_named_itself_is_read(tmp_path: Path) -> None:
    """Who names it means it: a file, or a folder that the pattern begins with."""
    root = write(tmp_path / "root", a_dot_md="a")
    outside = write(tmp_path / "outside", secret_dot_md="secret")
    (root / "link.md").symlink_to(outside / "secret.md")
    (root / "linked").symlink_to(outside)
    for pattern in ("link.md", "linked", "linked/*.md"):
        assert [item.text for item in await gathered(files(root, pattern))] == ["secret"], pattern


async def test_the_same_tuple_comes_back_while_nothing_changes(tmp_path: Path) -> None:
    """Indexes over the items can be reused, whether or not the files have settled."""
    write(tmp_path, a_dot_md="a", b_dot_md="b")
    source = files(tmp_path, "*.md")
    first = await gathered(source)
    assert await gathered(source) is first
    settle(tmp_path)
    touched = await gathered(source)
    assert await gathered(source) is touched


async def test_only_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """The items of all other files stay the same objects."""
    write(tmp_path, a_dot_md="a", b_dot_md="b")
    source = files(tmp_path, "*.md")
    before = await gathered(source)
    write(tmp_path, b_dot_md="bb")
    after = await gathered(source)
    assert after is not before
    assert after[0] is before[0]
    assert after[1].text == "bb"


async def test_a_change_of_the_same_length_within_a_tick_is_seen(tmp_path: Path) -> None:
    """Neither size nor time need differ for what was written just before it was read."""
    source = files(tmp_path, "*.md")
    for text in ("one", "two", "six"):
        write(tmp_path, a_dot_md=text)
        os.utime(tmp_path / "a.md", ns=(10**18, 10**18 + 5))
        assert [item.text for item in await gathered(source)] == [text]


async def test_new_and_deleted_files_are_seen(tmp_path: Path) -> None:
    """The set of files is looked at every time."""
    write(tmp_path, a_dot_md="a", d__b_dot_md="b")
    source = files(tmp_path, "**/*.md")
    await gathered(source)
    write(tmp_path, d__c_dot_md="c")
    assert ids(await gathered(source)) == ["a.md", "d/b.md", "d/c.md"]
    (tmp_path / "a.md").unlink()
    assert ids(await gathered(source)) == ["d/b.md", "d/c.md"]


@pytest.mark.slow
async def test_many_files_are_read_beside_the_event_loop(tmp_path: Path) -> None:
    """With hundreds of files the work is done in a thread, once for all who ask meanwhile."""
    for number in range(400):
        (tmp_path / f"{number:03}.txt").write_text(f"number {number}")
    source = files(tmp_path, "*.txt")
    first, second = await asyncio.gather(source.gather("", RunContext()), source.gather("", RunContext()))
    assert first is second
    assert len(first) == 400
    assert await source.gather("", RunContext()) is first


@pytest.mark.slow
async def test_a_cancelled_gather_leaves_the_source_usable(tmp_path: Path) -> None:
    """Who stops waiting does not stop the work for others."""
    (tmp_path / "a.txt").write_text("word " * 100_000)
    source = files(tmp_path, "*.txt")
    waiting = asyncio.ensure_future(source.gather("", RunContext()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ids(await gathered(source))[0] == "a.txt"


@pytest.mark.slow
def test_a_source_can_be_used_in_one_event_loop_after_another(tmp_path: Path) -> None:
    """Nothing of it belongs to a loop."""
    (tmp_path / "a.txt").write_text("word " * 100_000)
    source = files(tmp_path, "*.txt")
    assert asyncio.run(gathered(source)) is asyncio.run(gathered(source))


PROBLEMS = {
    "binary": (b"ab\0\0\1\2", "is binary"),
    "image": (b"\x89PNG\r\n\x1a\n", "an image"),
    "package": (b"!<arch>\ndebian-binary   ", "an archive, such as a Debian package: unpack it"),
    "tar": (b"docs/a.md".ljust(257, b"\0") + b"ustar\x0000", "a tar archive: unpack it"),
    "office": (b"PK\x03\x04rest", "zip or office file under another name"),
    "cyrillic": ("Погода хорошая".encode("koi8-r"), "is not utf-8 (byte 0xf0 in line 1); read as koi8"),
    "accents": ("ein schöner Tag im März".encode("latin-1"), "read as windows-1252"),
    "one fault": ("schöner März, süße Äpfel, größer".encode() + b" \xff", "read as windows-1252 there, once"),
    "too large": (b"x" * 1001, "1,001 bytes long, more than max_bytes: 1000"),
    "no pdf": (b"%PDF-1.4 nothing else", "a PDF under another name"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), PROBLEMS.values(), ids=PROBLEMS.keys())
async def test_what_cannot_be_read_as_it_should_is_reported(
    data: bytes, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each problem is in `problems` and warned of, once."""
    write(tmp_path, good_dot_txt="good")
    (tmp_path / "odd.txt").write_bytes(data)
    source = files(tmp_path, "*.txt", max_bytes=1000)
    assert ids(await gathered(source))[0] == "good.txt"
    await gathered(source)
    assert len(source.problems) == 1
    assert source.problems[0].startswith("odd.txt: ")
    assert reason in source.problems[0]
    assert [(record.name, record.message) for record in caplog.records] == [("nexus_sources.files", source.problems[0])]


async def test_a_problem_is_an_error_where_the_pipeline_says_so(tmp_path: Path) -> None:
    """With `on_problem: fail` the run ends and the message names the file."""
    write(tmp_path, good_dot_txt="good")
    (tmp_path / "odd.txt").write_bytes(b"\0\0")
    source = files(tmp_path, "*.txt", on_problem="fail")
    for _ in range(2):
        with pytest.raises(SourceError, match=r"files: odd\.txt: is binary"):
            await source.gather("", RunContext())


async def test_a_solved_problem_is_forgotten(tmp_path: Path) -> None:
    """`problems` tells of the last look only."""
    write(tmp_path, good_dot_txt="good")
    (tmp_path / "odd.txt").write_bytes(b"\0\0")
    source = files(tmp_path, "*.txt")
    await gathered(source)
    write(tmp_path, odd_dot_txt="fine now")
    await gathered(source)
    assert source.problems == ()


UNREADABLE = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")


@UNREADABLE
async def test_unreadable_files_are_reported(tmp_path: Path) -> None:
    """A file without the right to read is a problem, not an end."""
    write(tmp_path, good_dot_txt="good", odd_dot_txt="secret")
    (tmp_path / "odd.txt").chmod(0)
    source = files(tmp_path, "*.txt")
    await gathered(source)
    assert "odd.txt: cannot be read (Permission denied); left out" in source.problems


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
async def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is neither file nor folder is never opened."""
    write(tmp_path, good_dot_txt="good")
    os.mkfifo(tmp_path / "pipe.txt")
    assert ids(await gathered(files(tmp_path, "*.txt", "pipe.txt"))) == ["good.txt"]


NOTHING = {
    "folder misspelt": ("dosc/**/*.md", "there is no 'dosc' in {root}, did you mean 'docs'?"),
    "file misspelt": ("docs/handbok.md", "there is no 'handbok.md' in {root}/docs, did you mean 'handbook.md'?"),
    "far off": ("zebra/*.md", "there is no 'zebra' in {root}, which holds docs and site"),
    "other kinds": ("docs/*.rst", "{root}/docs holds 2 .md and 1 .txt; folders below it are searched only"),
    "deep": ("docs/**/*.rst", "{root}/docs holds 2 .md and 1 .txt"),
    "only folders": ("*.md", "{root} holds no files, only the folders docs and site"),
    "empty": ("site/*.md", "{root}/site is empty"),
}


@pytest.mark.parametrize(("pattern", "reason"), NOTHING.values(), ids=NOTHING.keys())
async def test_a_pattern_that_matches_nothing_says_what_is_there(pattern: str, reason: str, tmp_path: Path) -> None:
    """The message names the place and what it holds, or the closest name; where nothing is found it is the error."""
    write(tmp_path, docs__handbook_dot_md="h", docs__b_dot_md="b", docs__c_dot_txt="c")
    (tmp_path / "site").mkdir()
    expected = f"paths: {pattern!r} matches no file: " + reason.format(root=tmp_path)
    source = files(tmp_path, "docs/b.md", pattern)
    await gathered(source)
    assert source.problems[0].startswith(expected)
    with pytest.raises(SourceError, match=re.escape(expected)):
        await files(tmp_path, pattern).gather("", RunContext())


async def test_an_empty_folder_is_called_empty(tmp_path: Path) -> None:
    """A folder stands for all that is in it, so there is nothing to say of patterns."""
    (tmp_path / "site").mkdir()
    source = files(tmp_path, "site", ".")
    with pytest.raises(SourceError):
        await source.gather("", RunContext())
    told = f"paths: 'site' matches no file: {tmp_path}/site is empty", f"there is no file to read: {tmp_path} holds no "
    assert source.problems[0] == told[0]
    assert source.problems[1].startswith(told[1])


@UNREADABLE
async def test_a_folder_that_cannot_be_listed_is_not_called_empty(tmp_path: Path) -> None:
    """One sentence says what is wrong."""
    (tmp_path / "site").mkdir(mode=0)
    source = files(tmp_path, "site")
    with pytest.raises(SourceError):
        await source.gather("", RunContext())
    assert source.problems == ("site: cannot be listed (Permission denied)",)


async def test_a_pattern_whose_files_another_has_found_matches_them_too(tmp_path: Path) -> None:
    """Overlapping patterns are no problem."""
    write(tmp_path, a_dot_md="a")
    source = files(tmp_path, "*.md", "a.md", "*.{md,txt}")
    await gathered(source)
    assert source.problems == ()


async def test_empty_files_alone_are_an_error(tmp_path: Path) -> None:
    """A source never yields nothing in silence."""
    write(tmp_path, a_dot_md="\n")
    with pytest.raises(SourceError, match="1 file, all of them empty"):
        await files(tmp_path, "*.md").gather("", RunContext())


async def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    """The message names the folder and the option."""
    with pytest.raises(SourceError, match=r"there is no folder .*nowhere, which `root` names"):
        await files(tmp_path, "*.md", root="nowhere").gather("", RunContext())


def test_an_unknown_encoding_is_found_when_the_source_is_built() -> None:
    """The message suggests the one that is meant."""
    with pytest.raises(ValueError, match="no encoding 'utf-9', did you mean 'utf-8'"):
        Files(paths=("a",), encoding="utf-9")


def test_declaring_the_sources_imports_nothing_heavy() -> None:
    """Lint reads the classes without any library that reads files."""
    heavy = ("bs4", "markdown_it", "pypdfium2", "orjson", "yaml", "numpy", "Stemmer", "aiohttp", "tiktoken")
    program = (
        "import sys, nexus_sources.files, nexus_sources.inline, nexus_jsonl.source\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_what_a_list_names_is_left_out_when_asked(tmp_path: Path) -> None:
    """Lists of folders as git reads them, of those above in the same repository too; the deeper one decides."""
    for name in ("repo/.git/x", "repo/docs/a.md", "repo/docs/b.md", "repo/docs/in/c.md", "repo/docs/build/d.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "repo/.gitignore").write_text("build/\n/docs/b.md\nc.md\n")
    (tmp_path / "repo/docs/in/.gitignore").write_text("!c.md\n")
    source = Files(paths=".", root=str(tmp_path / "repo/docs"), ignore=(".gitignore",), prefix="d/")
    assert [item.id for item in await source.gather("", RunContext())] == ["d/a.md", "d/in/c.md"]
    (tmp_path / "repo/docs/in/.gitignore").write_text("")
    assert [item.id for item in await source.gather("", RunContext())] == ["d/a.md"]
    assert [mark.name for mark in source.documents()] == ["d/a.md"]
