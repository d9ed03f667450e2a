"""The files of a new plugin's package, made from the texts beside this module, and how they come to be on disk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from secrets import token_hex

from attrs import frozen

from nexus_core.cli.scaffold.names import PluginNames

KINDS = ("connector", "ranker", "template", "sink", "source", "tool")
_GAP = re.compile(r"<<(\w+)>>")


@frozen
class NewFile:
    """A file to write."""

    path: str
    """Below the package's folder, with `/`."""
    text: str
    purpose: str
    """One line for the listing of what was written."""


_COMMON = (
    ("README.md", "README.md", "how to use, change, test and publish it"),
    ("pyproject.toml", "pyproject.toml", "names the package and, as its entry point, the plugin"),
    (".gitignore", "gitignore", "what is not for version control"),
    (".github/workflows/test.yml", "test.yml", "runs all checks for every push"),
    (".github/dependabot.yml", "dependabot.yml", "asks for newer versions of the actions, which are pinned"),
)
_OF_KIND: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "connector": (
        ("{module}/connector.py", "connector.py", "the connector: its address, and what is known of its models"),
        ("{module}/wire.py", "wire.py", "what the service is sent, and what its bytes mean"),
        ("tests/test_wire.py", "test_wire.py", "tests of what is your service's own"),
    ),
    "ranker": (("{module}/ranker.py", "ranker.py", "the rankers: one as a class, one as a function"),),
    "template": (
        ("{module}/template.py", "template.py", "the template and its options"),
        ("{module}/messages.jinja", "messages.jinja", "the messages, with gaps to be filled in"),
    ),
    "sink": (("{module}/sink.py", "sink.py", "the sink and its options"),),
    "source": (
        ("{module}/source.py", "source.py", "the source and its options"),
        ("pipelines/notes/leave.txt", "leave.txt", "a note for the example"),
        ("pipelines/notes/travel.txt", "travel.txt", "another one"),
    ),
    "tool": (("{module}/tool.py", "tool.py", "the tools: one as a class, one as a function"),),
}
_IN_EACH = (
    ("tests/test_contract.py", "test_contract.py", "the contract suite of the kind, for this plugin"),
    ("tests/test_pipeline.py", "test_pipeline.py", "the example, linted and run"),
    ("pipelines/{name}.yaml", "pipeline.yaml", "an example that runs"),
)
_REPOSITORY = (
    (".github/workflows/publish.yml", "publish.yml", "runs the suites and publishes each release, without a token"),
    ("LICENSE", "LICENSE", "MIT: put your name into it, or choose another one"),
    ("directory-entry.yaml", "directory-entry.yaml", "what the directory of plugins is to say"),
    ("tests/test_contract.py", "test_contract.py", "runs the suites that the package ships"),
)
"""What a repository has beside a package, and in the place of its file of the same name."""
_SHIPPED = ("{module}/contract.py", "test_contract.py", "the contract suite of the kind, for this plugin")
_LICENCE = 'license = "MIT"\nlicense-files = ["LICENSE"]\n'
_NO_LICENCE = """\
# license = "MIT"              # choose one, and put its text beside this file
# license-files = ["LICENSE"]
"""
_CONTRACTS = """
# The suites that the plugin is held to: `nexus directory check {name}` runs them.
[project.entry-points."contextnexus.contracts"]
{name} = "{module}.contract"
"""
_DATA = {"template": ', "*.jinja"'}


def new_package(kind: str, names: PluginNames, *, repository: bool = False) -> list[NewFile]:
    """Return all files of a package with one plugin of a kind, or of a repository that tests and publishes it."""
    texts = files(__package__).joinpath("texts")
    own = texts.joinpath(kind)
    values = {
        "kind": kind,
        "name": names.name,
        "distribution": names.distribution,
        "module": names.module,
        "class": names.class_prefix,
        "variable": names.variable_prefix,
        "requirement": "contextnexus" + _core(version("contextnexus")),
        "core": _core(version("contextnexus")),
        "licence": _LICENCE if repository else _NO_LICENCE,
        "contracts": _CONTRACTS.format(name=names.name, module=names.module) if repository else "",
        "data": _DATA.get(kind, ""),
    }
    values["pipeline"] = fill_text(own.joinpath("pipeline.yaml.txt"), values)
    shared = texts.joinpath("repository" if repository else "common")
    values["publish"] = fill_text(shared.joinpath("publish.md.txt"), values)
    values["guide"] = fill_text(own.joinpath("guide.md.txt"), values)
    made = [_new_file(texts.joinpath("common"), row, values) for row in _COMMON]
    made += [
        NewFile(f"{names.module}/__init__.py", f'"""The {kind} `{names.name}` for ContextNexus."""\n', ""),
        NewFile(f"{names.module}/py.typed", "", ""),
    ]
    made += [_new_file(own, row, values) for row in (*_OF_KIND[kind], *_IN_EACH)]
    if not repository:
        return made
    made = [file for file in made if file.path not in [path for path, _, _ in _REPOSITORY]]
    return [*made, _new_file(own, _SHIPPED, values), *(_new_file(shared, row, values) for row in _REPOSITORY)]


def write(new: list[NewFile], folder: Path) -> None:
    """Write files into a folder that does not exist yet: all of them, or nothing.

    Raises FileExistsError where there is something by that name, and OSError where it cannot be written.
    """
    if os.path.lexists(folder):
        raise FileExistsError(f"{folder} exists")
    # Beside it, so that the last step is a renaming within one file system.
    draft = folder.with_name(f".{folder.name}.{token_hex(4)}")
    draft.mkdir()
    try:
        for file in new:
            path = draft / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8", newline="\n")
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _new_file(texts: Traversable, row: tuple[str, str, str], values: Mapping[str, str]) -> NewFile:
    path, text, purpose = row
    return NewFile(path.format_map(values), fill_text(texts.joinpath(f"{text}.txt"), values), purpose)


def fill_text(text: Traversable, values: Mapping[str, str]) -> str:
    """Return a text with its gaps, as in `<<name>>`, filled in."""
    # No template language: the texts are full of the signs that one would need, in YAML, Jinja and TOML.
    return _GAP.sub(lambda gap: values[gap[1]], text.read_text(encoding="utf-8"))


def _core(installed: str) -> str:
    """Return the range of versions that keep what is promised today: until the next minor one before 1.0."""
    major, minor = (int(part) for part in re.findall(r"\d+", installed)[:2])
    after = f"{major + 1}" if major else f"0.{minor + 1}"
    return f">={major}.{minor},<{after}"
