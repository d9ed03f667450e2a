"""`nexus init`: what it writes works as it stands, what is there stays, and it asks on a terminal alone."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nexus_core import Pipeline
from nexus_core.cli.main import main
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.toolkit import ServiceConnector

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without a key of any service."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def nexus(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="extractive"),
        pytest.param(("--connector", "openai"), id="openai"),
        pytest.param(("sub folder", "--connector", "anthropic", "--name", "staff", "--documents", "."), id="elsewhere"),
    ],
)
def test_the_commands_that_it_prints_work_in_an_empty_folder(
    options: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a key the documents are quoted, the tests pass, and lint has nothing to say."""
    assert nexus("init", "--yes", *options) == 0
    printed = [shlex.split(line) for line in re.findall(r"^  nexus (.*)$", capfd.readouterr().out, re.MULTILINE)]
    assert [words[0] for words in printed] == ["run", "test"]
    assert nexus(*printed[0]) == 0
    assert "Up to five days may be carried over" in capfd.readouterr().out
    assert nexus(*printed[1]) == 0
    assert " passed (1 pipeline)" in capfd.readouterr().out
    assert nexus("lint", printed[1][1]) == 0
    assert "1 file: no errors" in "".join(capfd.readouterr())


def test_the_test_of_its_plugin_passes(empty_folder: Path) -> None:
    """As pytest runs it there, without any configuration."""
    assert nexus("init", "--yes") == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"]
    done = subprocess.run(command, cwd=empty_folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_there_stays_but_for_the_file_that_is_forced(
    empty_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One clash and nothing is written; --force replaces the named file alone; `.env.example` is left."""
    for name in ("assistant.yaml", "own_ranker.py", ".env.example"):
        (empty_folder / name).write_text("mine")
    (empty_folder / ".gitignore").write_text("build")
    assert nexus("init", "--yes") == 2
    said = capfd.readouterr().err
    assert "assistant.yaml and 1 more file would be overwritten: nothing was written" in said
    assert "--force assistant.yaml" in said
    assert sorted(path.name for path in empty_folder.iterdir()) == [
        ".env.example", ".gitignore", "assistant.yaml", "own_ranker.py",
    ]  # fmt: skip
    assert nexus("init", "--yes", "--force", "assistant.yaml") == 2
    assert nexus("init", "--yes", "--force", "assistant.yaml", "--force", "own_ranker.py") == 0
    assert ".env.example was there and is left as it is" in capfd.readouterr().out
    assert (empty_folder / "assistant.yaml").read_text().startswith("# How questions")
    assert (empty_folder / ".env.example").read_text() == "mine"
    assert (empty_folder / ".gitignore").read_text() == "build\n.env\n"
    assert nexus("init", "--yes", "--name", "other", "--force", "own_ranker.py", "--force", "test_own_ranker.py") == 0
    assert (empty_folder / ".gitignore").read_text() == "build\n.env\n"


def test_an_error_takes_back_what_was_written(empty_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where the folder of the documents is a file the sample cannot be written, and then nothing else is."""
    (empty_folder / "documents").write_text("a file")
    assert nexus("init", "--yes") == 2
    assert "cannot write" in capfd.readouterr().err
    assert [path.name for path in empty_folder.iterdir()] == ["documents"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "add --yes"),
        (("--yes", "--name", "a/b"), "cannot be a pipeline's name"),
        (("--yes", "--documents", "${HOME}"), "cannot be the folder"),
        (("--yes", "--connector", "opnai"), "did you mean 'openai'"),
        (("--yes", "--model", "gpt-4o"), "needs a --connector"),
        (("--yes", "--force", "setup.py"), "no such file is written here"),
    ],
)
def test_wrong_options_write_nothing(
    options: tuple[str, ...], said: str, empty_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each is named, with what to say instead."""
    assert nexus("init", *options) == 2
    assert said in capfd.readouterr().err
    assert [*empty_folder.iterdir()] == []


def test_on_a_terminal_it_asks_what_no_option_says(empty_folder: Path) -> None:
    """What is answered is written, and asked again where it cannot be; what an option says is not asked."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-m", "nexus_core.cli.main", "init", "--documents", "texts"]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.write(ours, b"my desk\ndesk\nopnai\nopenai\ngpt-5-mini\n")
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, err
    assert "nexus test desk.yaml" in out
    assert "Error: 'my desk' cannot be a pipeline's name" in err
    assert "Error: no connector is named 'opnai', did you mean 'openai'?" in err
    assert ("Name of the pipeline" in err, "Folder with" in err) == (True, False)
    model = Pipeline.load(empty_folder / "desk.yaml", environment={}).models.list()[0]
    assert (model.info.id, model.info.provider) == ("gpt-5-mini", "openai")


def test_the_small_model_of_each_connector_is_known() -> None:
    """The one that is named where nobody says which has figures in its connector's table."""
    found = {
        name: cls
        for name, cls in PluginRegistry.installed().all_components()[Kind.CONNECTOR].items()
        if issubclass(cls, ServiceConnector) and cls.__module__.startswith("nexus_")
    }
    assert {"openai", "anthropic", "gemini", "ollama", "bedrock"} <= {*found}
    for name, cls in found.items():
        assert not cls(model=cls.SMALL_MODEL).model_info.description.startswith("Not in the table"), name
