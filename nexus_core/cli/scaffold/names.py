"""The name of a new plugin: whether it can be one, and everything that is called after it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint

from attrs import frozen

LONGEST = 30
"""Characters of a name; up to here every line of a new package keeps within its 120 characters."""
PREFIX = "contextnexus"
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
# YAML 1.1 reads these as something else than text, and so do the editors that check a pipeline by its schema.
_NO_TEXT_IN_YAML = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


@frozen
class PluginNames:
    """A plugin's name in all the forms that its package needs."""

    name: str
    """As YAML says it: `my-model`."""

    @property
    def distribution(self) -> str:
        """As installers know it: `contextnexus-my-model`."""
        return f"{PREFIX}-{self.name.replace('_', '-')}"

    @property
    def module(self) -> str:
        """As Python imports it: `contextnexus_my_model`."""
        return f"{PREFIX}_{self.name.replace('-', '_')}"

    @property
    def class_prefix(self) -> str:
        """What its classes begin with: `MyModel`."""
        return "".join(word.capitalize() for word in re.split("[-_]", self.name))

    @property
    def variable_prefix(self) -> str:
        """What its environment variables begin with: `MY_MODEL`."""
        return self.name.replace("-", "_").upper()


def problem_of(name: str, installed: Iterable[EntryPoint]) -> str:
    """Return why no new plugin can have this name, or an empty text; `installed` are the plugins there are."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        return (
            f"{name!r} cannot be the name of a plugin: use lower-case letters, digits and single - or _ between "
            f"them, begin with a letter, {LONGEST} characters at most{_instead(name)}"
        )
    if _same(name).startswith(f"{PREFIX}-"):
        return f"{name!r} holds the prefix that packages get anyway: leave {PREFIX!r} out{_instead(name)}"
    if keyword.iskeyword(name):
        return f"{name!r} is a word of Python's own: choose another name"
    if name in _NO_TEXT_IN_YAML:
        return f"{name!r} is no text in YAML (`use: {name}`): choose another name"
    for entry in installed:
        if _same(entry.name) == _same(name):
            by = f"{entry.dist.name} {entry.dist.version} ({entry.value})" if entry.dist else entry.value
            return f"the name {name!r} is claimed by {by}, installed here: choose another name, or uninstall that"
    return ""


def _same(name: str) -> str:
    """Return what two names share that would give their packages one name."""
    return name.replace("_", "-")


def _instead(name: str) -> str:
    """Return `, such as 'x'` where the name can be made into one."""
    words = re.findall("[a-z0-9]+", re.sub("([a-z0-9])([A-Z])", r"\1-\2", name).lower())
    while words and (words[0] == PREFIX or words[0][0].isdigit()):
        del words[0]
    made = "-".join(words)[:LONGEST].rstrip("-")
    return f", such as {made!r}" if made else ""
