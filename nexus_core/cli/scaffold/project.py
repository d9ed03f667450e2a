"""The files of `nexus init`: a pipeline, its tests, a plugin with its test, and what the environment may hold."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from attrs import frozen

from nexus_core.cli.scaffold.package import NewFile, fill_text
from nexus_core.toolkit.atomic_file import whole_file

PLUGIN = "own_ranker"
ENV_EXAMPLE = ".env.example"
SAMPLE_QUESTION = "How many days of leave can be carried over?"
IGNORED = ".env"
"""The line of `.gitignore` that keeps keys out of version control."""
_CITED = '"Up to five days of leave may be carried over [1]."'


@frozen(kw_only=True)
class NewProject:
    """What a new project is to be."""

    name: str
    """The pipeline's, and its file's without the suffix."""
    documents: str
    """The folder with the documents, below that of the project, or absolute; with `/`."""
    connector: str = ""
    """The connector of the model that answers; empty: none, the documents are quoted."""
    model: str = ""
    """Its model, empty where the connector takes none."""
    key_variable: str = ""
    """The variable of the environment with its key, if it has one."""

    @property
    def pipeline(self) -> str:
        """The name of the pipeline's file."""
        return f"{self.name}.yaml"

    def files(self, *, sample: bool) -> list[NewFile]:
        """Return the files to write, with a sample document if `sample`."""
        answers = "main" if self.connector else "offline"
        values = {
            "name": self.name,
            "plugin": PLUGIN,
            "documents": json.dumps(self._pattern, ensure_ascii=False),
            "models": self._models(),
            "answers": answers,
            "said": f"    models: {{main: {_CITED}}}        # what the model is taken to answer\n"
            * bool(self.connector),
            "said_travel": '    models: {main: "It stands there [1]."}\n' * bool(self.connector),
            "connector": self.connector or "openai",
            "variables": f"{self.key_variable}=\n" if self.key_variable else "# OPENAI_API_KEY=\n",
        }
        tests = _text("tests.yaml", values) + (_text("outage.yaml", values) if self.connector else "")
        return [
            NewFile(self.pipeline, _text("pipeline.yaml", values), "the pipeline: how questions are answered"),
            NewFile(f"{self.name}.tests.yaml", tests, "its tests, which run offline"),
            NewFile(f"{PLUGIN}.py", _text("plugin.py", values), "a ranker of your own, to be changed"),
            NewFile(f"test_{PLUGIN}.py", _text("test_plugin.py", values), "the contract suite of rankers, for it"),
            NewFile(ENV_EXAMPLE, _text("env.example", values), "the variables of the environment"),
            *([NewFile(self.sample, _text("sample.md", values), "a sample")] if sample else []),
        ]

    @property
    def sample(self) -> str:
        """The path of the sample document."""
        return "handbook.md" if self.documents == "." else f"{self.documents}/handbook.md"

    @property
    def _pattern(self) -> str:
        # Beside the pipeline stand files that are no documents.
        own = "**/*.{md,txt,html,pdf,docx,pptx,xlsx}"
        return own if self.documents == "." else f"{self.documents}/**/*"

    def _models(self) -> str:
        if not self.connector:
            return (
                "  # To have a model answer, take this in, and say `generate: main` below:\n"
                "  # main: {use: openai, model: gpt-4o-mini, fallback: offline}"
            )
        key = f"  # The key: {self.key_variable}, else what `nexus secrets set {self.connector}` has stored.\n"
        model = f", model: {json.dumps(self.model)}" if self.model else ""
        return (
            f"{key if self.key_variable else ''}"
            f"  main: {{use: {self.connector}{model}, fallback: offline}}  # where it fails, offline answers"
        )


def has_documents(folder: Path) -> bool:
    """Tell whether a folder of documents is there and holds anything; raises OSError where it cannot be read."""
    return folder.is_dir() and any(folder.iterdir())


def write_project(new: Sequence[NewFile], folder: Path, *, replace: Collection[str] = ()) -> None:
    """Write files into a folder, which is made where there is none; on an error what was written is taken back.

    Only the paths in `replace` may be there: each of them is replaced as a whole. Raises FileExistsError, OSError.
    """
    written: list[Path] = []
    try:
        for file in new:
            path, content = folder / file.path, file.text.encode()
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.path in replace and os.path.lexists(path):
                with whole_file(path, begins=content[:1]) as target:
                    target.write(content)
                path.chmod(0o644)
                continue
            with path.open("xb") as target:
                written.append(path)
                target.write(content)
    except BaseException:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise


def ignore_env(folder: Path) -> bool:
    """Add a line for `.env` to the folder's `.gitignore`, unless one is there; tell whether it was added."""
    path = folder / ".gitignore"
    before = path.read_bytes() if path.exists() else b""
    if re.search(rb"^/?\.env\*?\s*$", before, re.MULTILINE):
        return False
    with path.open("ab") as file:
        file.write(b"\n" * (bool(before) and not before.endswith(b"\n")) + IGNORED.encode() + b"\n")
    return True


def _text(name: str, values: dict[str, str]) -> str:
    return fill_text(files(__package__).joinpath("texts", "project", f"{name}.txt"), values)
