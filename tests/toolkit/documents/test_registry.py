"""Which reader reads a file: by name alone, by the user's choice, and never by chance."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nexus_sources.files import Files

from nexus_core import PluginError, RunContext
from nexus_core.cli.main import main
from nexus_core.toolkit import DocumentReader, FileOrigin, ReaderRegistry, ReadSettings

Install = Callable[..., None]

READER = """
    from nexus_core import Paragraph, component, option

    @component
    class Acme:
        version = "7"
        word: str = option("acme", help="What it says.")

        def read(self, file, hints):
            yield Paragraph(text=self.word + " " + file.read().decode())
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write a distribution with a reader into a folder on the path."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(distribution: str, *formats: str, code: str = READER) -> None:
        module = f"{distribution.replace('-', '_')}_module"
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        points = "".join(f"{format} = {module}:Acme\n" for format in formats)
        (info / "entry_points.txt").write_text(f"[contextnexus.readers]\n{points}")
        monkeypatch.delitem(sys.modules, module, raising=False)
        sys.path.insert(0, sys.path.pop(0))
        monkeypatch.syspath_prepend(str(folder / distribution))  # another path: the metadata is read anew

    return write


def items_of(folder: Path, **options: Any) -> list[str]:
    source = Files(paths="*", root=str(folder), **options)
    return [item.text for item in asyncio.run(source.gather("", RunContext()))]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder of one document."""
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


def test_reader_of_another_distribution_reads_its_own_format(install: Install, docs: Path) -> None:
    """A new suffix needs no word in YAML; nothing is imported until a file of it is read."""
    install("acme-reader", ".acme")
    (docs / "a.acme").write_text("text")
    assert "acme_reader_module" not in sys.modules
    assert items_of(docs) == ["acme text"]


def test_own_reader_yields_only_where_it_is_told_to(install: Install, docs: Path) -> None:
    """Another distribution's reader of `.md` is not used before `readers:` names it."""
    install("acme-reader", ".md")
    (docs / "a.md").write_text("text")
    assert items_of(docs) == ["text"]
    assert items_of(docs, readers={".md": "acme-reader"}) == ["acme text"]
    assert items_of(docs, readers={".md": "acme_reader_module"}) == ["acme text"]
    assert items_of(docs, readers={".md": {"use": "Acme_Reader", "word": "so"}}) == ["so text"]


def test_two_readers_of_one_format_are_an_error_that_names_both(install: Install, docs: Path) -> None:
    """Which one is used is nobody's guess; naming one settles it."""
    install("acme-reader", ".acme")
    install("other-reader", ".acme")
    (docs / "a.acme").write_text("text")
    (docs / "b.txt").write_text("plain")
    source = Files(paths="*", root=str(docs))
    items = asyncio.run(source.gather("", RunContext()))
    assert [item.text for item in items] == ["plain"]
    assert "acme-reader" in source.problems[0]
    assert "other-reader" in source.problems[0]
    assert "plain" in items_of(docs, readers={".acme": "other-reader"})[1]


@pytest.mark.parametrize(
    ("readers", "said"),
    [
        ({".md": "nobody"}, "no reader of 'nobody' for .md is installed"),
        ({".nothing": "acme"}, "nothing that is installed reads '.nothing'"),
        ({".acme": {"wrod": "x"}}, "wrod"),
    ],
)
def test_wrong_choice_is_found_when_it_is_declared(
    install: Install, docs: Path, readers: dict[str, object], said: str
) -> None:
    """Before any file is read, with what there is instead."""
    install("acme-reader", ".acme")
    with pytest.raises(ValueError, match="readers: ") as caught:
        Files(paths="*", root=str(docs), readers=readers)
    assert said in str(caught.value)


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import nothing_there", "Acme = dict"])
def test_broken_reader_fails_its_own_files_alone(install: Install, docs: Path, code: str) -> None:
    """The other documents are read, and the problem names the reader."""
    install("acme-reader", ".acme", code=code)
    (docs / "a.acme").write_text("text")
    (docs / "b.md").write_text("fine")
    source = Files(paths="*", root=str(docs))
    assert [item.text for item in asyncio.run(source.gather("", RunContext()))] == ["fine"]
    assert "acme-reader" in source.problems[0]


@pytest.mark.parametrize("name", ["", "acme", "."])
def test_reader_named_for_no_format_takes_no_files(
    install: Install, docs: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Neither those without a media type nor others; `nexus plugins` tells what is wrong with its name."""
    install("acme-reader", name)
    for file in ("acme", "b.md", "c."):
        (docs / file).write_text("fine")
    assert items_of(docs) == ["fine"] * 3
    assert run("plugins") == 0
    assert "BROKEN" in capsys.readouterr().out


def test_reader_that_ends_the_process_is_listed_as_broken(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """The list of plugins goes on to its end."""
    install("acme-reader", ".acme", code="raise SystemExit(9)")
    assert run("plugins", ".acme") == 2
    assert "SystemExit: 9" in capsys.readouterr().out


@pytest.mark.parametrize("code", ["import os; os._exit(9)", "while True: pass"], ids=["exits", "hangs"])
def test_reader_that_ends_or_hangs_at_import_fails_its_own_files_alone(
    install: Install, docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """The command reads the other documents, and tells of which reader it is."""
    install("acme-reader", ".acme", code=code)
    (docs / "a.acme").write_text("text")
    (docs / "b.md").write_text("The mill opens at nine.")
    monkeypatch.setattr("nexus_core.toolkit.documents.registry.VERSION_S", 1.0)
    monkeypatch.setenv("NEXUS_STORE", str(docs.parent / "store"))
    assert run("context", "add", "notes", str(docs)) == 1
    told = "".join(capsys.readouterr())
    assert "1 of 2 documents read" in told
    assert "a.acme: cannot be read: its reader acme-reader (acme_reader_module:Acme) cannot be used" in told


@pytest.mark.parametrize("code", ["import os; os._exit(9)", "while True: pass"], ids=["exits", "hangs"])
def test_options_of_a_reader_that_ends_or_hangs_at_import_are_refused(
    install: Install, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Whoever declares them is told of it, and goes on."""
    install("acme-reader", ".acme", code=code)
    monkeypatch.setattr("nexus_core.toolkit.documents.registry.VERSION_S", 1.0)
    with pytest.raises(ValueError, match="readers: its process ended|readers: did not end"):
        Files(paths="*", readers={".acme": {"word": "b"}})


def test_reader_of_another_distribution_is_never_imported_by_the_command(
    install: Install, docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not to ask its version, or to check its options."""
    install("acme-reader", ".acme")
    (docs / "a.acme").write_text("text")
    monkeypatch.setenv("NEXUS_STORE", str(docs.parent / "store"))
    assert run("context", "add", "notes", str(docs), "--reader", "acme={word: so}") == 0
    assert run("context", "search", "notes", "so") == 0
    assert "so text" in capsys.readouterr().out
    assert "acme_reader_module" not in sys.modules


def test_values_that_are_no_blocks_are_an_error(install: Install, docs: Path) -> None:
    """No text is lost without a word."""
    install("acme-reader", ".acme", code=READER.replace("yield Paragraph(text=", "yield str("))
    (docs / "a.acme").write_text("text")
    (docs / "b.md").write_text("fine")
    source = Files(paths="*", root=str(docs))
    assert [item.text for item in asyncio.run(source.gather("", RunContext()))] == ["fine"]
    assert "values of the class str, which are no blocks" in source.problems[0]


def test_format_is_told_by_media_type_name_and_first_bytes() -> None:
    """In this order; what nothing tells is text."""
    registry = ReaderRegistry.installed()
    assert registry.format_of("page", "text/html; charset=utf-8") == "text/html"
    assert registry.format_of("A/PAGE.HTML") == ".html"
    assert registry.format_of("Makefile") == ".mk"
    assert registry.format_of("paper", head=b"%PDF-1.7\n") == ".pdf"
    assert registry.format_of("changes", head=b"diff --git a/one b/one\n") == ".diff"
    assert registry.format_of("notes.unknown") == ".txt"


def test_reader_tells_who_made_a_document(install: Install, docs: Path) -> None:
    """Distribution, format, version and options: by them it is known when to read again."""
    install("acme-reader", ".acme")
    plain = DocumentReader().reader_of(FileOrigin(name="a.acme"))
    chosen = DocumentReader(ReadSettings(readers={".acme": {"word": "b"}})).reader_of(FileOrigin(name="a.acme"))
    assert (plain, chosen) == ("acme-reader acme 7", "acme-reader acme 7 word=b")


def test_document_is_read_again_once_what_was_missing_is_installed(
    install: Install, docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version names the extras that it misses; when one comes, unchanged files are read with it."""
    version = 'version_with("7", better="module_that_comes_later")'
    code = READER.replace("from nexus_core", "from nexus_core.toolkit import version_with\n    from nexus_core", 1)
    install("acme-reader", ".acme", code=code.replace('"7"', version))
    (docs / "a.acme").write_text("text")
    monkeypatch.setenv("NEXUS_STORE", str(docs.parent / "store"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    for expected in ("1 of 1 document read", "1 unchanged"):
        assert run("context", "add", "notes", str(docs)) == 0
        assert expected in capsys.readouterr().out
    assert run("context", "show", "notes") == 0
    assert "read by acme-reader acme 7 without better" in capsys.readouterr().out
    (docs.parent / "packages" / "module_that_comes_later.py").touch()
    importlib.invalidate_caches()
    assert run("context", "add", "notes", str(docs)) == 0
    assert "1 of 1 document read" in capsys.readouterr().out


def test_read_shows_captions_and_notes(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks what was read of a file sees all words that were."""
    page = "<figure><img src=a.png alt='A wiring plan'><figcaption>Plan of the hut</figcaption></figure>"
    (docs / "a.html").write_text(page)
    (docs / "a.md").write_text("The fee is 40.[^1]\n\n[^1]: In May alone.\n")
    assert run("context", "read", str(docs / "a.html")) == run("context", "read", str(docs / "a.md")) == 0
    shown = capsys.readouterr().out
    assert "A wiring plan / Plan of the hut" in shown
    assert "[^1] In May alone." in shown
    assert "metadata" not in shown


@pytest.mark.parametrize("suffix", ["docx", "ipynb", "mhtml", "msg", "parquet", "pdf", "xml"])
def test_empty_file_is_left_out_and_no_failure(docs: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever its format asks for, there is nothing in it that could be damaged."""
    (docs / f"a.{suffix}").touch()
    (docs / "b.md").write_text("text")
    assert run("context", "add", "notes", str(docs), "--store", str(docs.parent / "store")) == 0
    assert f"a.{suffix}: is empty; left out" in "".join(capsys.readouterr())


def test_choice_of_one_that_is_not_there_is_an_error_of_the_registry(install: Install) -> None:
    """`PluginError` says what reads the format instead."""
    with pytest.raises(PluginError, match="it is read by: contextnexus"):
        ReaderRegistry.installed({".md": "nobody"}).reader(".md")


def test_command_line_chooses_readers(
    install: Install, docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--reader` names the distribution, for `nexus context read` and `nexus context add`."""
    install("acme-reader", ".md")
    (docs / "a.md").write_text("text")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("NEXUS_STORE", str(docs.parent / "store"))
    assert run("context", "read", str(docs / "a.md"), "--markdown", "--reader", "md=acme-reader") == 0
    assert capsys.readouterr().out == "acme text\n"
    assert run("context", "read", str(docs / "a.md"), "--reader", ".md=nobody") != 0
    assert "no reader of 'nobody' for .md is installed" in capsys.readouterr().err
    assert run("context", "add", "notes", str(docs), "--reader", ".md=acme-reader") == 0
    assert run("context", "search", "notes", "acme") == 0
    assert "acme text" in capsys.readouterr().out


def test_command_line_gives_options_to_readers(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in YAML; what is no mapping, or no option, is an error, and `sync` reads in the same way."""
    (docs / "a.html").write_text("<p>Menu of the week</p><main><p>The mill opens at nine.</p></main>")
    main_text, store = "html={main_text: true}", str(docs.parent / "store")
    assert run("context", "add", "notes", str(docs), "--reader", main_text, "--store", store) == 0
    (docs / "a.html").write_text("<p>Menu of the week</p><main><p>The mill opens at ten.</p></main>")
    assert run("context", "sync", "notes", "--store", store) == 0
    assert run("context", "search", "notes", "menu mill", "--store", store) == 0
    shown = capsys.readouterr().out
    assert "opens at ten" in shown
    assert "Menu" not in shown
    assert run("context", "read", str(docs / "a.html"), "--reader", ".html={main_txt: true}") == 2
    assert run("context", "read", str(docs / "a.html"), "--reader", ".html={main_text") == 2
    assert run("context", "read", str(docs / "a.html"), "--reader", ".pdf={ocr: 3}") == 2
    told = capsys.readouterr().err
    assert "is no mapping" in told
    assert "has no option 'main_txt', did you mean 'main_text'?" in told
    assert "option 'ocr' must be 'auto' or 'off', not 3" in told


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_plugins_lists_readers(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them by their formats, one with its options, and a broken one with its reason."""
    install("acme-reader", ".acme", ".acm")
    install("broken-reader", ".brk", code="import nothing_there")
    assert run("plugins") == 0
    shown = capsys.readouterr().out
    assert ".acme .acm" in shown
    assert "BROKEN" in shown
    assert run("plugins", ".ACME") == 0
    assert "What it says." in capsys.readouterr().out
    assert run("plugins", ".brk", "--json") != 0
    assert "nothing_there" in capsys.readouterr().out
    assert run("plugins", ".acmee") != 0
    assert "did you mean '.acme'" in capsys.readouterr().err


def test_folder_of_mail_is_read_as_mail(tmp_path: Path) -> None:
    """A Maildir keeps its mails without a suffix, and mailboxes of Unix have none either: their headers tell."""
    headers = "Return-Path: <a@b.example>\nFrom: Ada <a@b.example>\nSubject: =?utf-8?q?Caf=C3=A9?=\n"
    mail = f"{headers}\nThe café opens at ten.\n"
    (tmp_path / "cur").mkdir()
    (tmp_path / "cur" / "1700000000.M1P2.host:2,S").write_text(mail)
    (tmp_path / "INBOX").write_text(f"From a@b.example Mon Jan  5 09:00:00 2026\n{mail}")
    source = Files(paths="**", root=str(tmp_path))
    items = asyncio.run(source.gather("", RunContext()))
    assert any(item.title.endswith("Café") for item in items)
    assert all("DKIM" not in item.text and "opens at ten" in item.text for item in items)
    assert len(items) == 2
