"""What an argument of `nexus context add` means: which source reads it, and by which names its documents go."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from posixpath import splitext
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click
from attrs import evolve, field, frozen

from nexus_core.cli.source_addresses import addressed_source, expand_variables, has_password, has_source, mapping_of
from nexus_core.contract.components import Kind
from nexus_core.contract.errors import UsageError
from nexus_core.contract.protocols import Documents
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.store.ingest.read_document import MixedFiles
from nexus_core.store.records import StoredDocument, checked_name
from nexus_core.toolkit.documents.registry import ReaderChoice, ReaderRegistry
from nexus_core.toolkit.suggest import did_you_mean

_Function = TypeVar("_Function", bound=Callable[..., Any])

IGNORE_LISTS = (".gitignore", ".nexusignore")
STDIN = "stdin"
_COPIED = 2**20
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@frozen(kw_only=True, eq=False, repr=False)
class ContextInput:
    """Something to be added."""

    source: Documents
    origin: str
    """By which it is known when it is added again."""
    within: str
    """With which the names of its documents begin, or the name of the one document."""
    shown: str
    """As people see it."""
    one: bool = False
    """It is one document, which was meant by name."""
    settings: Mapping[str, Any] | None = None
    """How it is read again by its origin; None where it cannot be, or where that is another one's matter."""
    closing: TemporaryDirectory[str] | None = None
    """What is to be cleaned up after it was read."""

    def close(self) -> None:
        """Clean up."""
        if self.closing is not None:
            self.closing.cleanup()


@frozen(kw_only=True)
class InputOptions:
    """How files are read."""

    exclude: tuple[str, ...] = ()
    """Patterns of those that are left out."""
    encoding: str = ""
    """Of files that do not tell theirs."""
    follow_links: bool = False
    """Links may lead out of a folder."""
    readers: Mapping[str, ReaderChoice] = field(factory=dict)
    """By suffix, whose reader reads it, or with which options."""
    overrides: tuple[str, ...] = ()
    """Options of a source that an address stands for, as `key=value`; of files `max_bytes` alone."""
    folder: str = ""
    """From which relative paths in such options start; by default the current one."""

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> InputOptions:
        """Return how something was read when it was added."""
        return cls(
            exclude=tuple(settings.get("exclude", ())),
            encoding=settings.get("encoding", ""),
            follow_links=settings.get("follow_links", False),
            readers=settings.get("readers", {}),
            overrides=tuple(settings.get("set", ())),
            folder=settings.get("folder", ""),
        )

    def settings(self, argument: str, called: str | None) -> dict[str, Any]:
        """Return what tells how an argument is read again; the usual is left out."""
        told = {
            "argument": argument, "as": called, "exclude": list(self.exclude), "encoding": self.encoding,
            "follow_links": self.follow_links, "set": list(self.overrides),
            "readers": dict(self.readers),
        }  # fmt: skip
        return {name: value for name, value in told.items() if value}

    def files(self, catalogue: PluginRegistry, **options: Any) -> Documents:
        """Return the source of files."""
        if self.encoding:
            options["encoding"] = self.encoding
        if self.readers:
            options["readers"] = dict(self.readers)
        for text in self.overrides:
            options["max_bytes"] = _max_bytes(text)
        try:
            found: Documents = catalogue.component(Kind.SOURCE, "files")(**options)
        except ValueError as error:
            raise UsageError(f"--encoding: {error}") from error
        return found

    def with_json_lines(self, catalogue: PluginRegistry, files: Documents, name: str = "") -> MixedFiles:
        """Return the same with files of JSON lines read line by line."""
        return MixedFiles(files, catalogue.component(Kind.SOURCE, "jsonl"), name, self.encoding)


def places_of(
    arguments: Sequence[str],
    known: Sequence[StoredDocument],
    *,
    called: str | None,
    manner: InputOptions = InputOptions(),
) -> list[ContextInput]:
    """Return what several arguments mean; raises UsageError also where documents of two would go by one name."""
    found: list[ContextInput] = []
    try:
        for argument in arguments:
            found.append(place_of(argument, known, called=called, manner=manner))
            _check_alike(found)
    except BaseException:
        for place in found:
            place.close()
        raise
    return found


def place_of(
    argument: str, known: Sequence[StoredDocument], *, called: str | None, manner: InputOptions = InputOptions()
) -> ContextInput:
    """Return what an argument means, given the documents that are in the context already; raises UsageError."""
    if called is not None:
        checked_name(called, "--as")
        if "/" in called:
            raise UsageError(f"--as {called!r} has a slash: it is one name, such as handbook")
    catalogue = PluginRegistry.installed()
    if argument.lower().startswith(("http://", "https://")):
        return evolve(
            _web_page(expand_variables(argument), manner, catalogue), settings=_page_settings(argument, manner)
        )
    if has_source(argument):
        made = _addressed(argument, called, manner, catalogue)
        _check_names(made, known)
        return made
    if _SCHEME.match(argument):
        raise UsageError(f"{argument} is no page that can be read: give an address with https:// or http://, or a path")
    if argument == "-":
        return _standard_input(called or STDIN, manner, catalogue)
    path = Path(os.path.expanduser(argument))
    if not path.exists():
        raise UsageError(_absent(path))
    whole = path.resolve()
    ancestor = _ancestor(whole, known)
    if ancestor is not None and called is None:
        origin, prefix = ancestor
        name = "/".join((prefix, *whole.relative_to(origin).parts))
    else:
        origin, name = whole, called or whole.name or "root"
    place = _folder if whole.is_dir() else _file
    made = place(whole, name, manner, catalogue)
    settings = manner.settings(str(whole), name) if origin == whole else None
    made = evolve(made, origin=str(origin), shown=argument, settings=settings)
    _check_names(made, known)
    return made


def _folder(path: Path, name: str, manner: InputOptions, catalogue: PluginRegistry) -> ContextInput:
    files = manner.files(
        catalogue, paths=".", root=str(path), prefix=f"{name}/", exclude=manner.exclude, ignore=IGNORE_LISTS,
        follow_links=manner.follow_links,
    )  # fmt: skip
    return ContextInput(source=manner.with_json_lines(catalogue, files), origin="", within=f"{name}/", shown="")


def _file(path: Path, name: str, manner: InputOptions, catalogue: PluginRegistry) -> ContextInput:
    files = manner.files(catalogue, paths=glob.escape(path.name), root=str(path.parent))
    return ContextInput(
        source=manner.with_json_lines(catalogue, files, name), origin="", within=name, shown="", one=True
    )


def _web_page(url: str, manner: InputOptions, catalogue: PluginRegistry) -> ContextInput:
    try:
        source: Documents = catalogue.component(Kind.SOURCE, "url")(url=url, readers=dict(manner.readers))
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    (mark,) = source.documents()
    return ContextInput(source=source, origin=mark.name, within=mark.name, shown=mark.name, one=True)


def _page_settings(url: str, manner: InputOptions) -> Mapping[str, Any] | None:
    """Return how a page is read again; one whose address holds a password is read without it, which is not kept."""
    return None if has_password(url) else InputOptions(readers=manner.readers).settings(url, None)


def _addressed(argument: str, called: str | None, manner: InputOptions, catalogue: PluginRegistry) -> ContextInput:
    if manner.follow_links:
        raise UsageError("--follow-links is for folders")
    prefix = f"{called}/" if called else ""
    given: dict[str, Any] = {"exclude": list(manner.exclude), "encoding": manner.encoding, "prefix": prefix}
    given["readers"] = dict(manner.readers)
    folder = manner.folder or os.getcwd()
    source = addressed_source(argument, manner.overrides, given, folder, catalogue)
    settings = manner.settings(argument, called) | {"folder": folder}
    return ContextInput(
        source=source, origin=source.origin, within=source.within, shown=source.origin, settings=settings
    )


def _standard_input(name: str, manner: InputOptions, catalogue: PluginRegistry) -> ContextInput:
    """Put what is piped in into a file, so that it is read like one."""
    folder = TemporaryDirectory(prefix="nexus-")
    start = sys.stdin.buffer.read(_COPIED)
    if not start.strip():
        folder.cleanup()
        raise UsageError("standard input is empty: pipe in a text, or one JSON object a line")
    is_lines = start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and not splitext(name)[1]
    path = Path(folder.name, "input.jsonl" if is_lines else f"input{splitext(name)[1] or '.txt'}")
    with path.open("wb") as file:
        while start:
            file.write(start)
            start = sys.stdin.buffer.read(_COPIED)
    made = _file(path, name, manner, catalogue)
    return evolve(made, origin=f"- {name}", shown="standard input", closing=folder)


def _ancestor(path: Path, known: Sequence[StoredDocument]) -> tuple[Path, str] | None:
    """Return the folder that a path belongs to and that was added before, with the name that it goes by."""
    prefixes = {document.origin: document.name.partition("/")[0] for document in known if "/" in document.name}
    for folder in path.parents:
        if str(folder) in prefixes:
            return folder, prefixes[str(folder)]
    return None


def _check_names(place: ContextInput, known: Sequence[StoredDocument]) -> None:
    """Raise UsageError where other documents go by the names that these would get."""
    other = next(
        (
            document
            for document in known
            if document.origin != place.origin
            and (document.name == place.within or (not place.one and document.name.startswith(place.within)))
        ),
        None,
    )
    if other is not None:
        name = place.within.rstrip("/")
        raise UsageError(
            f"{other.name} is there already, from {other.origin}: to keep both, add {place.shown} with --as OTHER-NAME;"
            f" to replace it, remove it first with `nexus context remove NAME --document '{name}*'`"
        )


def _check_alike(places: Sequence[ContextInput]) -> None:
    """Raise UsageError where the last of several places would replace what another one brings."""
    *others, last = places
    for other in others:
        if other.within == last.within and other.origin != last.origin:
            raise UsageError(
                f"{other.shown} and {last.shown} would both go by the name {last.within.rstrip('/')}: add the folder "
                "that holds both, or each with a command of its own and --as OTHER-NAME"
            )


def _max_bytes(text: str) -> int:
    """Return what `max_bytes=...` says; raises UsageError for another option, which files have none of."""
    key, _, value = text.partition("=")
    if key.strip() != "max_bytes":
        raise UsageError(
            "--set is for addresses of sources, such as git+https://...; files take max_bytes=NUMBER alone"
        )
    size = value.strip().replace("_", "")
    if not size.isdecimal() or int(size) < 1:
        raise UsageError(f"--set {text}: give the bytes that a file may have, as in max_bytes=50000000")
    return int(size)


def _absent(path: Path) -> str:
    if path.is_symlink():
        return f"{path} is a link that leads nowhere"
    parent = path.absolute().parent
    there = sorted(entry.name for entry in parent.iterdir()) if parent.is_dir() else []
    close = (name for name in there if did_you_mean(path.stem, [Path(name).stem]))  # an ending alone makes none close
    return f"there is no file or folder {path}{did_you_mean(path.name, close)}"


# The option --reader


def reader_option(function: _Function) -> _Function:
    """Add --reader, which may come several times, as `readers`."""
    return click.option(
        "--reader",
        "readers",
        multiple=True,
        metavar="SUFFIX=NAME",
        help="Whose reader reads a format, as .html=acme, or its options, as '.html={main_text: true}' (repeatable).",
    )(function)


def reader_choices(told: Sequence[str]) -> dict[str, ReaderChoice]:
    """Return what the option says, by suffix; raises UsageError for what is no choice, or not installed."""
    choices: dict[str, ReaderChoice] = {}
    for each in told:
        suffix, equals, name = each.partition("=")
        suffix, name = suffix.strip().lower(), name.strip()
        if not equals or not suffix or not name:
            raise UsageError(f"--reader {each}: write it as SUFFIX=NAME, such as .html=acme")
        choice: ReaderChoice = mapping_of(name, "--reader") if name.startswith("{") else name
        if "/" not in suffix and not suffix.startswith("."):
            suffix = f".{suffix}"
        if choices.setdefault(suffix, choice) != choice:
            raise UsageError(f"--reader: two readers are named for {suffix}: {choices[suffix]} and {name}")
    try:
        ReaderRegistry.installed(choices).check()
    except ValueError as error:
        raise UsageError(f"--reader: {str(error).removeprefix('readers: ')}") from error
    return choices
