"""The names that a shell completes: read from files of this machine, without opening a store or asking a service."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from click import Command
from click.shell_completion import CompletionItem, get_completion_class

from nexus_core.cli.completion.values import CompletedWord, place_of
from nexus_core.cli.main import COMPLETE
from nexus_core.cli.output.echo import echo, one_line
from nexus_core.store.database.stored_names import context_names, conversation_ids
from nexus_core.toolkit.lazy_module import LazyModule

platformdirs = LazyModule("platformdirs")
_LISTED = Path(__file__).parent.parent / "directory" / "plugins.yaml"
_LISTED_NAME = re.compile(r'\{name: "?([\w.-]+)"?, .*?summary: "?(.*?)"?[,}]')
_MODEL_SECTION = re.compile(r"^models:[^\S\n]*(?:#.*)?\n((?:(?:[ \t#].*)?\n)*)", re.MULTILINE)
_KEY = re.compile(r"^( +)([\w.-]+):", re.MULTILINE)
_ENDINGS = (".yaml", ".yml")
_WIDTH = 60
"""Characters of what a name is."""
Names = Iterable[tuple[str, str]]
"""Each with what it is."""


def complete(environment: Mapping[str, str]) -> bool:
    """Print the names that a shell asks for; return `False` where the command has to be asked, and nothing is printed.

    It never fails: what cannot be read has no names.
    """
    shell, _, order = environment.get(COMPLETE, "").partition("_")
    found = get_completion_class(shell) if order == "complete" else None
    if found is None:
        return False
    asked = found(Command("nexus"), {}, "nexus", COMPLETE)
    try:
        words, begin = asked.get_completion_args()
        place = None if begin.startswith("-") else place_of(words)
    except (KeyError, ValueError):  # no shell asks so
        return False
    if place is None or not place.kind:
        return False
    try:
        names = list(_names(place, begin, environment))
    except Exception:  # noqa: BLE001 - a shell that completes shows nothing of what is wrong, and nobody waits for it
        names = []
    items = [CompletionItem(one_line(name), help=one_line(about)[:_WIDTH] or None) for name, about in names]
    if not items and place.kind in ("pipeline", "target"):
        items = [CompletionItem(begin, type="file")]
    for item in items:
        echo(asked.format_completion(item))
    return True


def _names(place: CompletedWord, begin: str, environment: Mapping[str, str]) -> Names:
    match place.kind:
        case "context":
            return _contexts(place, begin, environment)
        case "conversation":
            folder = _store(place, environment)
            return [] if folder is None else conversation_ids(folder, begin, place.options.get("--owner", ""))
        case "pipeline":
            return _pipelines(begin)
        case "target":
            return [*_contexts(place, begin, environment), *_pipelines(begin)]
        case "model":
            return _beginning(begin, _models(place))
        case "plugin":
            return _beginning(begin, ((each.name, "") for each in entry_points(group="contextnexus")))
        case "listed plugin":
            return _beginning(begin, _LISTED_NAME.findall(_LISTED.read_text("utf-8")))
        case _:
            return []


def _beginning(begin: str, names: Names) -> Names:
    return sorted({name: about for name, about in names if name.startswith(begin)}.items())


def _contexts(place: CompletedWord, begin: str, environment: Mapping[str, str]) -> Names:
    folder = _store(place, environment)
    return [] if folder is None else context_names(folder, begin)


def _store(place: CompletedWord, environment: Mapping[str, str]) -> Path | None:
    """Return the folder of the store that the command would open; `None` where that is elsewhere, or is not there."""
    named = place.options.get("--store") or environment.get("NEXUS_STORE", "")
    if "--store-url-file" in place.options or "://" in named:
        return None
    if not named:
        return Path(platformdirs.user_data_path("contextnexus", appauthor=False), "store")
    return Path(os.path.expanduser(named))


def _pipelines(begin: str) -> Names:
    """Return files of YAML whose paths begin so, but for those of tests, and folders; nothing for a folder alone.

    That one is for the shell to complete, which puts no space behind it.
    """
    folder, name = os.path.split(begin)
    with os.scandir(os.path.expanduser(folder) or ".") as entries:
        found = [entry for entry in entries if entry.name.startswith(name) and entry.name[0] != "."]
    names = [entry.name + "/" * entry.is_dir() for entry in found if entry.is_dir() or _is_pipeline(entry.name)]
    return [(os.path.join(folder, each), "") for each in sorted(names)] if any(map(_is_pipeline, names)) else []


def _is_pipeline(name: str) -> bool:
    stem, dot, ending = name.rpartition(".")
    return dot + ending in _ENDINGS and not stem.endswith(".tests")


def _models(place: CompletedWord) -> Names:
    """Return the models of the pipeline that is named, else those of the default one, by the table of OpenAI's."""
    path = place.options.get("--pipeline") or next(iter(place.arguments), "")
    if path.endswith(_ENDINGS):
        section = _MODEL_SECTION.search(Path(os.path.expanduser(path)).read_text("utf-8") + "\n")
        keys = _KEY.findall(section[1] if section else "")
        return [(name, "of the pipeline") for indent, name in keys if indent == keys[0][0]]
    return [("offline", "quotes; sends nothing"), ("openai", "the default model of OpenAI"), *_of_openai()]


def _of_openai() -> Names:
    spec = find_spec("nexus_openai")
    if spec is None or spec.origin is None:
        return []
    table = json.loads(Path(spec.origin).with_name("models.json").read_text("utf-8"))
    return [(each["id"], each.get("description", "")) for each in table["models"]]
