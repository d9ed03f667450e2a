"""Finds the reader of a file: by the names in the entry-point group `contextnexus.readers`, and the user's choice.

Readers of this distribution yield to another one's only where the user says so: `readers: {.html: acme}`. Where two
others read the same format, one of them must be chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import Distribution
from posixpath import basename, splitext
from typing import Any, Literal, get_args, get_origin

from attrs import field, frozen

from nexus_core.contract.components import options_of
from nexus_core.contract.documents import READER_GROUP, Reader
from nexus_core.contract.errors import PluginError, SourceError, describe_error
from nexus_core.contract.hookspecs import installed_entry_points
from nexus_core.contract.values import Value
from nexus_core.toolkit.processes.call import ApartError, call_apart_blocking
from nexus_core.toolkit.suggest import did_you_mean, listed

OWN = "contextnexus"
"""The distribution whose readers yield to chosen ones."""
PLAIN = ".txt"
"""By whose reader everything is read that is text and no known format."""
VERSION_S = 60.0
"""Seconds: the time that the import of another distribution's reader may take, until it tells its version."""
_SUFFIX_OF_NAME = {
    "makefile": ".mk", "gnumakefile": ".mk", "dockerfile": ".sh", "containerfile": ".sh", "jenkinsfile": ".groovy",
    "rakefile": ".rb", "gemfile": ".rb", "cmakelists.txt": ".cmake",
}  # fmt: skip
_SUFFIX_OF_BYTES = (
    (b"%PDF-", ".pdf"),
    (b"{\\rtf", ".rtf"),
    (b"PK\x03\x04", ".zip"),  # whose reader looks what is in it: an office file, a book
    (b"\xd0\xcf\x11\xe0", ".doc"),
    (b"<!doctype html", ".html"),
    (b"<html", ".html"),
    (b"<?xml", ".xml"),
    (b"webvtt", ".vtt"),
    (b"diff --git ", ".diff"),
    (b"\\documentclass", ".tex"),
    (b"#!/bin/sh", ".sh"),
    (b"#!/bin/bash", ".sh"),
    (b"#!/usr/bin/env bash", ".sh"),
    (b"#!/usr/bin/env python", ".py"),
    (b"#!/usr/bin/python", ".py"),
    (b"#!/usr/bin/perl", ".pl"),
    (b"#!/usr/bin/env node", ".js"),
)
"""Those of text in lower case: white space and a mark of UTF-8 may stand before them."""
_MAIL = re.compile(
    rb"(?:(?:return-path|received|delivered-to|envelope-to|x-[\w-]{1,40}|message-id|mime-version|date|from|to|subject"
    rb"|reply-to|dkim-signature|arc-[\w-]{1,40}|authentication-results):[^\n]*\n(?:[ \t][^\n]*\n)*){3}"
)
"""Headers at the start of a file, in lower case: a mail, as folders of mail (Maildir) keep them, without a suffix."""
_MAILBOX = re.compile(rb"from \S+ +\w{3} \w{3} [ \d]\d \d\d:\d\d")
_LIGHT = frozenset({
    "nexus_readers.code", "nexus_readers.markdown.reader",
    "nexus_readers.text.asciidoc", "nexus_readers.text.latex", "nexus_readers.text.org",
    "nexus_readers.text.plain", "nexus_readers.text.roff", "nexus_readers.text.rst", "nexus_readers.text.subtitles",
})  # fmt: skip
"""Readers of text in pure Python whose time is held to the size of a file by tests."""
_NO_NAME = re.compile(r"[-_.]+")

ReaderChoice = str | Mapping[str, Any]
"""What YAML says of one format: the name of a distribution, or a mapping with `use` and options of its reader."""


@frozen(kw_only=True, eq=False)
class ReaderOrigin(Value):
    """A reader that is installed, not imported yet."""

    format: str
    """The suffix or media type that it reads."""
    distribution: str
    target: str
    """As `module:Class`."""
    load: Callable[[], Any] = field(eq=False, repr=False)
    installed: Distribution | None = field(default=None, eq=False, repr=False)

    @property
    def version(self) -> str:
        """The version of the distribution; looked up only when asked for, since reading metadata takes milliseconds."""
        return self.installed.version if self.installed else ""

    @property
    def is_own(self) -> bool:
        """Whether it came with this distribution."""
        return _named(self.distribution) == OWN

    def is_called(self, name: str) -> bool:
        """Tell whether a user who writes this name means it: the distribution's, or that of its package."""
        return _named(name) in (_named(self.distribution), _named(self.target.partition(":")[0].partition(".")[0]))

    def __str__(self) -> str:
        return f"{self.distribution} ({self.target})"


@frozen(kw_only=True, eq=False, repr=False)
class ChosenReader(Value):
    """A reader that is ready to read."""

    reader: Reader
    name: str
    """What made a document, for whoever asks later: `contextnexus html 3`."""
    suffix: str

    @property
    def streams(self) -> bool:
        """Whether it reads record by record, and never has more than one of them in memory."""
        return bool(getattr(self.reader, "streams", False))


class ReaderRegistry:
    """The readers there are, and which of them reads what; imports each when it is first asked for."""

    def __init__(self, origins: Iterable[ReaderOrigin], choices: Mapping[str, ReaderChoice] | None = None) -> None:
        self._origins: dict[str, list[ReaderOrigin]] = {}
        for origin in origins:
            known = self._origins.setdefault(origin.format.lower(), [])
            # The same distribution can be found twice on the path (a checkout and its install): that is no clash.
            if not any(origin.distribution == other.distribution for other in known):
                known.append(origin)
        self._choices = {name.lower(): choice for name, choice in (choices or {}).items()}
        self._made: dict[str, ChosenReader] = {}
        self._named: dict[str, str | SourceError] = {}
        """What was asked in other processes: the names of readers, or why there are none."""

    @classmethod
    def installed(cls, choices: Mapping[str, ReaderChoice] | None = None) -> ReaderRegistry:
        """Return the readers of the installed distributions; reads metadata and imports nothing."""
        return cls(_installed(), choices)

    @property
    def formats(self) -> list[str]:
        """The suffixes and media types that something reads, sorted."""
        return sorted(self._origins)

    def offered(self) -> list[tuple[ReaderOrigin, tuple[str, ...]]]:
        """Return each reader that is installed once, with all formats that it is named for."""
        found: dict[tuple[str, str], list[ReaderOrigin]] = {}
        for origins in self._origins.values():
            for origin in origins:
                found.setdefault((origin.distribution, origin.target), []).append(origin)
        return [(group[0], tuple(origin.format for origin in group)) for _, group in sorted(found.items())]

    def check(self) -> None:
        """Raise ValueError for a choice of a reader that there is not, or with options that it does not take."""
        for format, choice in self._choices.items():
            try:
                if not self._origins.get(format):
                    hint = did_you_mean(format, self.formats)
                    raise ValueError(f"readers: nothing that is installed reads {format!r}{hint}")
                origin = self._origin(format)
                if isinstance(choice, str):
                    continue
                if origin is None or origin.is_own:
                    self._reader(format)
                else:
                    call_apart_blocking(VERSION_S, reader_name, format, self._choices)
            except (PluginError, ApartError) as error:
                raise ValueError(f"readers: {error}") from error

    def format_of(self, name: str, media_type: str = "", head: bytes = b"") -> str:
        """Return by which suffix or media type a file is read: that of its name, its media type, its first bytes.

        What none of them tells is text: `.txt`.
        """
        path = basename(name).lower()
        media_type = media_type.partition(";")[0].strip().lower()
        for format in (media_type, splitext(path)[1], _SUFFIX_OF_NAME.get(path, "")):
            if is_format(format) and format in self._origins:
                return format
        begins = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:40].lower()
        known = (suffix for start, suffix in _SUFFIX_OF_BYTES if head.startswith(start) or begins.startswith(start))
        return next((suffix for suffix in known if suffix in self._origins), None) or _mail_format(head) or PLAIN

    def reader(self, format: str) -> ChosenReader:
        """Return the reader of a format; raises PluginError where it cannot be used, or one must be chosen."""
        if format not in self._made:
            self._made[format] = self._reader(format)
        return self._made[format]

    def is_own(self, format: str) -> bool:
        """Tell whether a format is read by this distribution; imports nothing."""
        try:
            origin = self._origin(format)
        except PluginError:
            return True  # nothing is imported for it
        return origin is None or origin.is_own

    def name_apart(self, format: str) -> str:
        """Return what a format is read by, with its version, asked in a process that ends if its import never does.

        Raises SourceError where that process tells nothing, and is empty where the reader cannot be used.
        """
        if format not in self._named:
            try:
                self._named[format] = call_apart_blocking(VERSION_S, reader_name, format, self._choices)
            except PluginError:
                self._named[format] = ""
            except ApartError as error:
                self._named[format] = SourceError(
                    f"cannot be read: its reader {self._origin(format)} cannot be used ({error})"
                )
        name = self._named[format]
        if isinstance(name, SourceError):
            raise name
        return name

    def is_light(self, format: str) -> bool:
        """Tell whether a format is read by one of the linear readers of this distribution; imports nothing."""
        try:
            origin = self._origin(format)
        except PluginError:
            return False
        return origin is not None and origin.is_own and origin.target.partition(":")[0] in _LIGHT

    def streams(self, format: str) -> bool:
        """Tell whether the reader of a format reads record by record; imports it."""
        try:
            return self.reader(format).streams
        except PluginError:
            return False

    def _origin(self, format: str) -> ReaderOrigin | None:
        found = self._origins.get(format, [])
        choice = self._choices.get(format)
        name = choice if isinstance(choice, str) else str((choice or {}).get("use", ""))
        if name:
            for origin in found:
                if origin.is_called(name):
                    return origin
            offered = [origin.distribution for origin in found]
            raise PluginError(
                f"no reader of {name!r} for {format} is installed{did_you_mean(name, offered)};"
                f" it is read by: {listed(offered) or 'nothing'}"
            )
        own = [origin for origin in found if origin.is_own]
        if own or len(found) < 2:
            return own[0] if own else found[0] if found else None
        raise PluginError(
            f"{format} is read by {listed(map(str, found))}: choose one, as"
            f" `readers: {{{format}: {found[0].distribution}}}` or --reader {format}={found[0].distribution}"
        )

    def _reader(self, format: str) -> ChosenReader:
        origin = self._origin(format)
        if origin is None:
            raise PluginError(f"no reader for {format} is installed")
        choice = self._choices.get(format, {})
        options = {} if isinstance(choice, str) else {str(k): v for k, v in choice.items() if k != "use"}
        try:
            cls = origin.load()
            _check_options(cls, options)
            made = cls(**options)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # of a plugin, whatever it raises
            raise PluginError(f"the reader {origin} of {format} cannot be used: {describe_error(error)}") from error
        if not isinstance(made, Reader):
            raise PluginError(f"the reader {origin} of {format} lacks `read` or `version`")
        told = "" if not options else " " + ", ".join(f"{name}={value}" for name, value in sorted(options.items()))
        name = f"{origin.distribution} {format.removeprefix('.')} {made.version}{told}"
        return ChosenReader(reader=made, name=name, suffix=format)


def reader_name(format: str, choices: Mapping[str, ReaderChoice]) -> str:
    """Return what a format is read by, with its version: for another process, since this imports the reader."""
    return ReaderRegistry.installed(choices).reader(format).name


def _mail_format(head: bytes) -> str:
    """Return the suffix of a mail or a mailbox where the first bytes of a file are one's, else nothing."""
    lower = head.lower()
    return ".eml" if _MAIL.match(lower) else ".mbox" if _MAILBOX.match(lower) else ""


def _check_options(cls: Any, options: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that a reader does not have, or one of another kind."""
    if not options:
        return
    takes = {option.name: option.annotation for option in options_of(cls)}
    for name, value in options.items():
        if name not in takes:
            hint = did_you_mean(name, takes)
            raise ValueError(f"it has no option {name!r}{hint}; its options: {listed(takes) or 'none'}")
        wanted = takes[name]
        allowed = get_args(wanted) if get_origin(wanted) is Literal else ()
        if (allowed and value not in allowed) or (wanted in (bool, int, str) and type(value) is not wanted):
            kind = " or ".join(map(repr, allowed)) or wanted.__name__
            raise ValueError(f"its option {name!r} must be {kind}, not {value!r}")


def _installed() -> Iterator[ReaderOrigin]:
    names: dict[int, str] = {}  # of distributions: their metadata are read anew each time they are asked
    for point in installed_entry_points(READER_GROUP):
        name = names.get(id(point.dist)) or (point.dist.name if point.dist else point.value.partition(":")[0])
        names[id(point.dist)] = name
        yield ReaderOrigin(
            format=point.name, distribution=name, target=point.value, load=point.load, installed=point.dist
        )


def is_format(name: str) -> bool:
    """Tell whether an entry point is named for what a file can have: a suffix with its dot, or a media type."""
    return (name.startswith(".") and len(name) > 1) or "/" in name


def _named(name: str) -> str:
    return _NO_NAME.sub("-", name).lower()
