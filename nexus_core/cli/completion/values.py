"""What the words of a command line are names of, without importing its command: shells wait for completion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

Kind = Literal["context", "pipeline", "target", "model", "conversation", "plugin", "listed plugin", ""]
"""What a word names: a `target` is a context or a pipeline; `""` is anything else, which the command knows itself."""
STORE = ("--store", "--store-url-file")


class Values(NamedTuple):
    """What a command takes."""

    arguments: tuple[Kind, ...]
    """Kinds of the arguments in their order; there may be more of them, of no kind."""
    options: str
    """Its options that take a value, apart from those of the store, but for these:"""
    named: Mapping[str, Kind] = {}
    """options whose values are names."""
    repeats: bool = False
    """Whether all arguments are of the last kind."""

    def kind_of(self, option: str) -> Kind | None:
        """Return the kind of an option's value; `None` where it takes none."""
        if option in self.named:
            return self.named[option]
        return "" if option in STORE or option in self.options.split() else None


_MODEL: Mapping[str, Kind] = {"--model": "model"}
_ASKED: Mapping[str, Kind] = {**_MODEL, "--conversation": "conversation"}
_RUN: Mapping[str, Kind] = {**_ASKED, "--context": "context"}
_CONTEXT: Mapping[str, Kind] = {"--context": "context"}
_KEYS = "--group --tag --owner --scope --expires --requests-per-minute --tokens-per-minute --concurrency"
VALUES: Mapping[str, Values] = {
    "ask": Values(
        ("context",), "-f --file --system --schema --attach --record --replay --allow-program",
        {**_ASKED, "--pipeline": "pipeline"},
    ),
    "chat": Values(("target",), "--allow-program", _RUN),
    "run": Values(("pipeline",), "--input --set --attach --record --replay --allow-program --timeout", _RUN),
    "explain": Values(("pipeline",), "--input --set --attach", _RUN),
    "lint": Values(("pipeline",), "--format --set", repeats=True),
    "test": Values(("pipeline",), "-k --junit --set --record --replay", repeats=True),
    "models of": Values(("pipeline",), "--set"),
    "context add": Values(
        ("context",),
        "--tag --readers --exclude --encoding --reader --as --language --description --embed --document-timeout --set",
    ),
    "context sync": Values(("context",), "--every --document-timeout", repeats=True),
    "context show": Values(("context",), ""),
    "context items": Values(("context",), "--tag --limit --after --count --where"),
    "context search": Values(("context",), "--limit --tag --by --where --like"),
    "context embed": Values(("context",), "--model"),
    "context grant": Values(("context",), ""),
    "context tag": Values(("context",), "--add --remove"),
    "context remove": Values(("context",), "--document"),
    "context export": Values(("context",), ""),
    "context check": Values(("context",), ""),
    "conversations delete": Values(("conversation",), "--owner", repeats=True),
    "conversations rate": Values(("conversation",), "--turn --comment --owner"),
    "conversations share": Values(("conversation",), "--owner --expires"),
    "conversations show": Values(("conversation",), "--owner --last"),
    "conversations unshare": Values(("conversation",), "--owner"),
    "keys new": Values((), _KEYS, _CONTEXT),
    "keys change": Values(("",), "--group --tag", _CONTEXT),
    "plugins": Values(("plugin",), ""),
    "directory check": Values(("listed plugin",), "--suites"),
    "directory install": Values(("listed plugin",), "--from"),
    "directory show": Values(("listed plugin",), "--from"),
}  # fmt: skip
"""By the words that a command is called by; a test compares them with the commands themselves."""


class CompletedWord(NamedTuple):
    """The word that is completed."""

    kind: Kind
    arguments: Sequence[str]
    """Of the command, those that stand before it."""
    options: Mapping[str, str]
    """With values, those of its groups included."""


def place_of(words: Sequence[str]) -> CompletedWord | None:
    """Return what comes after words (without `nexus`); `None` where that is for the command itself to say."""
    options: dict[str, str] = {}
    rest = iter(words)
    path = next(_without_store(rest, options), "")
    if path not in VALUES:
        path = f"{path} {next(_without_store(rest, options), '')}"
    if path not in VALUES:
        return None
    values, arguments = VALUES[path], list[str]()
    for word in rest:
        name, equals, value = word.partition("=")
        kind = values.kind_of(name) if word.startswith("-") else None
        if kind is None:
            arguments += [] if word.startswith("-") and word != "-" else [word]
        elif equals:
            options[name] = value
        else:
            following = next(rest, None)
            if following is None:
                return CompletedWord(kind, arguments, options)
            options[name] = following
    place = len(arguments)
    if place >= len(values.arguments) and not (values.repeats and values.arguments):
        return None
    return CompletedWord(values.arguments[min(place, len(values.arguments) - 1)], arguments, options)


def _without_store(words: Iterator[str], options: dict[str, str]) -> Iterator[str]:
    """Yield words without the options of the store, which may stand before any subcommand."""
    for word in words:
        name, equals, value = word.partition("=")
        if name in STORE:
            options[name] = value if equals else next(words, "")
        else:
            yield word
