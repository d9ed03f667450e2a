"""Pipeline view: what the text of a pipeline declares, as far as it can be read while it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import evolve, frozen

from nexus_core.config.keys import PipelineKeys
from nexus_core.config.sibling_files import FileRefusedError, SiblingFiles, is_template_path, tested_pipeline
from nexus_core.config.yaml.reader import MOST_BYTES
from nexus_core.lsp.grammar import Expected, Grammar, TestsFileKeys
from nexus_core.lsp.outline import (
    OutlineBlock,
    OutlinePair,
    OutlinePlace,
    OutlineScalar,
    find_place,
    read_outline,
)
from nexus_core.lsp.plugin_cache import PluginCache

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\.?")


@frozen(eq=False, repr=False)
class PipelineView:
    """The text of a pipeline, of a file of tests, or of a part of them."""

    text: str
    path: Path | None
    """`None` where it has not been saved yet: then the working directory is its folder."""
    root: OutlineBlock
    grammar: Grammar
    plugins: PluginCache
    """Without the plugin files that it names."""

    @classmethod
    def read(cls, text: str, path: Path | None, plugins: PluginCache) -> PipelineView:
        """Return the view of a text; of one that is too large for a pipeline nothing is known."""
        root = read_outline(text if len(text) <= MOST_BYTES else "")
        keys = TestsFileKeys if path is not None and tested_pipeline(path) is not None else PipelineKeys
        view = cls(text, path, root, Grammar(plugins, keys), plugins)
        files = [found for entry in view._plugin_entries() if (found := view.plugin_file(entry)) is not None]
        return evolve(view, grammar=Grammar(plugins.with_files(files), keys)) if files else view

    @property
    def folder(self) -> Path:
        """The folder that the files beside it are in."""
        return Path() if self.path is None else self.path.parent

    def at(self, index: int) -> tuple[OutlinePlace, list[Expected]] | None:
        """Return what stands at an index and what is expected there and around it."""
        place = find_place(self.root, index)
        return None if place is None else (place, self.grammar.along(place.chain))

    def models(self) -> Mapping[str, OutlinePair]:
        """Return the entries of the models by name and alias."""
        block = self.root.block("models")
        found = dict(block.items()) if block is not None else {}
        for entry in [*found.values()]:
            for alias in _texts(entry.value.entry("aliases") if isinstance(entry.value, OutlineBlock) else None):
                found.setdefault(alias.text, entry)
        return found

    def inputs(self) -> Mapping[str, OutlinePair]:
        """Return the entries of the declared inputs by name."""
        block = self.root.block("inputs")
        return dict(block.items()) if block is not None else {}

    def kept_names(self) -> Mapping[str, OutlineScalar]:
        """Return the names that steps keep their results under, by `as`, with where they are given."""
        found: dict[str, OutlineScalar] = {}
        steps = self.root.block("steps")
        waiting = [] if steps is None else [steps]
        while waiting:
            for entry in waiting.pop().entries:
                if isinstance(entry.value, OutlineBlock):
                    waiting.append(entry.value)
                elif entry.key is not None and entry.key.text == "as" and entry.value is not None:
                    found.setdefault(entry.value.text, entry.value)
        return found

    def beside(self, text: str) -> Path | None:
        """Return the file that a text names, relative to the folder of the pipeline, if it is there."""
        try:
            path = self.folder / text
            return path.resolve() if text and path.is_file() else None
        except (OSError, ValueError, RuntimeError):
            return None

    def plugin_file(self, entry: OutlineScalar) -> Path | None:
        """Return a plugin file, if it may be used as one."""
        try:
            return SiblingFiles("-" if self.path is None else str(self.path)).plugin(entry.text)
        except FileRefusedError:
            return None

    def templates(self) -> Iterator[OutlineScalar]:
        """Yield the texts that name a template file."""
        waiting = [self.root]
        while waiting:
            for entry in waiting.pop().entries:
                if isinstance(entry.value, OutlineBlock):
                    waiting.append(entry.value)
                elif entry.value is not None and entry.key is not None and is_template_path(entry.value.text):
                    yield from [entry.value] if entry.key.text in ("prompt", "template") else []

    def _plugin_entries(self) -> list[OutlineScalar]:
        return [*_texts(self.root.entry("plugins"))]


def _texts(entry: OutlinePair | None) -> Iterator[OutlineScalar]:
    """Yield the single values of an entry that is one or a list of them."""
    if entry is None or entry.value is None:
        return
    values = [each.value for each in entry.value.entries] if isinstance(entry.value, OutlineBlock) else [entry.value]
    for value in values:
        if isinstance(value, OutlineScalar):
            yield value


def expression_word(text: str, start: int, index: int) -> tuple[str, int] | None:
    """Return the dotted word that ends at an index within `{{ }}` or `{% %}`, and where it begins; `None` outside.

    `start` is where the value or template begins that the index is in.
    """
    before = text[start:index]
    if max(before.rfind("{{"), before.rfind("{%")) <= max(before.rfind("}}"), before.rfind("%}")):
        return None
    word = re.search(r"[A-Za-z0-9_.]*+$", before[-128:])
    length = 0 if word is None else len(word[0])
    return text[index - length : index], index - length


def dotted_word_at(text: str, index: int) -> tuple[str, int] | None:
    """Return the dotted word around an index up to the part that the index is in, and where it begins."""
    begin = index
    while begin > 0 and index - begin < 128 and (text[begin - 1].isalnum() or text[begin - 1] in "_."):
        begin -= 1
    match = _WORD.match(text, begin)
    if match is None or match.end() < index:
        return None
    end = match[0].find(".", index - begin)
    return (match[0] if end < 0 else match[0][:end]).rstrip("."), begin
