"""Language service: what the server answers, as a function of the open documents and the plugins; no protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import define, field, frozen

from nexus_core.config.sibling_files import (
    STANDARD_INPUT,
    is_pipeline_file,
    is_template_path,
    read_start,
    tested_pipeline,
)
from nexus_core.config.yaml.reader import MOST_BYTES
from nexus_core.contract.components import Kind
from nexus_core.contract.errors import Problem
from nexus_core.engine.building.lint import lint_target, lint_text
from nexus_core.lsp.completion import Suggestion, complete, complete_template
from nexus_core.lsp.definition import DefinitionPlace, find_definition, find_name
from nexus_core.lsp.document_text import DocumentText, Encoding
from nexus_core.lsp.documents import CheckToken, OpenDocument, UnsavedFiles, resolve
from nexus_core.lsp.hover import HoverText, explain, explain_word
from nexus_core.lsp.outline import find_place, read_outline
from nexus_core.lsp.pipeline_view import PipelineView
from nexus_core.lsp.plugin_cache import PluginCache
from nexus_core.lsp.quick_fixes import TextFix, fix_of

_IN_TEMPLATES = ("X001", "X003", "X004", "X007")
_LINE = re.compile(r"(?::|\bline )([0-9]{1,6})\b")
_NAME = re.compile(r"'([A-Za-z_][A-Za-z0-9_]*)'")
_MOST_SEARCHED = 200
"""Pipelines in the folders around a template that are looked at for its name."""


@frozen(kw_only=True, eq=False, repr=False)
class CheckResult:
    """What came of checking a pipeline."""

    problems: Mapping[str, tuple[Problem, ...]]
    """By file: the pipeline itself, what it calls, its tests, and the open templates that it uses."""
    reads: frozenset[Path]
    """The files that it depends on, by resolved path."""
    version: int | None = None
    """Of the document that was checked."""


@frozen(eq=False, repr=False)
class _CancelledPlugins:
    """Plugins for one check, which ends between two of them when its result is not wanted any more."""

    plugins: PluginCache
    token: CheckToken

    def names(self, kind: Kind) -> Sequence[str]:
        return self.plugins.names(kind)

    def component(self, kind: Kind, use: str) -> type:
        self.token.require()
        return self.plugins.component(kind, use)

    def with_files(self, paths: Sequence[Path]) -> _CancelledPlugins:
        return _CancelledPlugins(self.plugins.with_files(paths), self.token)


@define(eq=False, repr=False)
class LanguageService:
    """Answers questions on open documents; one thread calls it at a time, and `documents` is replaced as a whole."""

    environment: Mapping[str, str]
    plugins: PluginCache = field(factory=PluginCache.installed)
    documents: Mapping[str, OpenDocument] = field(factory=dict)
    """By URI."""

    def roots(self, document: OpenDocument) -> list[str]:
        """Return the pipelines to check for a document, each by its file, `-` for one without a file."""
        if document.path is None:
            return [STANDARD_INPUT] if document.is_pipeline else []
        if document.is_tests:
            return [str(tested_pipeline(document.path))]
        if document.is_template:
            return [str(path) for path in self._pipelines_with(document.path)]
        return [str(document.path)] if document.is_pipeline else []

    def check(self, file: str, token: CheckToken) -> CheckResult:
        """Return every problem of a pipeline file as `nexus lint` has them; raises StaleCheckError."""
        unsaved, document = UnsavedFiles(self._texts(), token), self._document(file)
        target = lint_target(file) if document is None else file
        version = None if document is None else document.version
        found: tuple[Problem, ...]
        source = self._source(file, document)
        if isinstance(target, Problem):
            found = (target,)
        elif source is None:
            found = self._missing(file)
        else:
            plugins = _CancelledPlugins(self.plugins, token)
            found = lint_text(source, file, plugins, self.environment, unsaved=unsaved)
        problems: dict[str, list[Problem]] = {file: []}
        for problem in found:
            problems.setdefault(problem.file, []).append(problem)
        for template, problem in self._in_templates(file, source, found):
            problems.setdefault(template, []).append(problem)
        listed = {name: tuple(dict.fromkeys(each)) for name, each in problems.items()}
        return CheckResult(problems=listed, reads=frozenset({*unsaved.reads, resolve(Path(file))}), version=version)

    def complete(self, document: OpenDocument, index: int) -> list[Suggestion]:
        """Return what may stand at an index of a document."""
        if document.is_template and document.path is not None:
            return complete_template(document.source.text, index, self._views(document.path), resolve(document.path))
        return complete(self._view(document), index) if _is_read(document) else []

    def explain(self, document: OpenDocument, index: int) -> HoverText | None:
        """Return what stands at an index of a document."""
        if document.is_template and document.path is not None:
            view = next(self._views(document.path), None)
            return explain_word(view, document.source.text, index)
        return explain(self._view(document), index) if _is_read(document) else None

    def define(self, document: OpenDocument, index: int) -> tuple[Path | None, DefinitionPlace] | None:
        """Return where what stands at an index is written, and the file, `None` for the document itself."""
        if document.is_template and document.path is not None:
            for view in self._views(document.path):
                place = find_name(view, document.source.text, index)
                if place is not None:
                    return view.path, place
            return None
        place = find_definition(self._view(document), index) if _is_read(document) else None
        return None if place is None else (place.path, place)

    def fix(self, document: OpenDocument, message: str, index: int) -> TextFix | None:
        """Return the edit that the message of a problem suggests at its place."""
        return fix_of(message, document.source, index)

    def text_of(self, file: str) -> DocumentText:
        """Return the text of a file as it is open or stands on the disk, empty where it cannot be read."""
        document = self._document(file)
        if document is not None:
            return document.source
        source = self._source(file, None)
        return DocumentText("" if source is None else source.decode("utf-8-sig", "replace"), self._encoding())

    def _view(self, document: OpenDocument) -> PipelineView:
        return PipelineView.read(document.source.text, document.path, self.plugins)

    def _views(self, template: Path) -> Iterator[PipelineView]:
        """Yield the pipelines that use a template."""
        for path in self._pipelines_with(template):
            view = PipelineView.read(self.text_of(str(path)).text, path, self.plugins)
            if any(view.beside(named.text) == resolve(template) for named in view.templates()):
                yield view

    def _pipelines_with(self, template: Path) -> list[Path]:
        """Return the pipelines in the folder of a template, above it and in the editor that have its name in them."""
        found: dict[Path, Path] = {}
        for document in self.documents.values():
            if document.path is not None and document.is_pipeline and not document.is_tests:
                found[resolve(document.path)] = document.path
        for folder in (template.parent, template.parent.parent):
            for path in _pipeline_files(folder):
                found.setdefault(resolve(path), path)
        return [path for path in found.values() if template.name in self.text_of(str(path)).text]

    def _document(self, file: str) -> OpenDocument | None:
        wanted = None if file == STANDARD_INPUT else resolve(Path(file))
        for document in self.documents.values():
            if wanted is None and document.path is None and document.is_pipeline:
                return document
            if wanted is not None and document.path is not None and resolve(document.path) == wanted:
                return document
        return None

    def _texts(self) -> dict[Path, DocumentText]:
        opened = (document for document in self.documents.values() if document.path is not None)
        return {resolve(document.path): document.source for document in opened if document.path is not None}

    def _source(self, file: str, document: OpenDocument | None) -> bytes | None:
        """Return the text of a pipeline, of one that is too large as much as it takes to say so."""
        if document is not None:
            return document.source.text.encode("utf-8", "surrogatepass")[: MOST_BYTES + 1]
        try:
            return None if file == STANDARD_INPUT else read_start(Path(file), MOST_BYTES)
        except (OSError, ValueError):
            return None

    def _missing(self, file: str) -> tuple[Problem, ...]:
        """Return that the pipeline of tests is not there; a pipeline that was deleted has no problem."""
        names = [document for document in self.documents.values() if document.path is not None and document.is_tests]
        found = [lint_target(str(document.path)) for document in names
                 if str(tested_pipeline(document.path or Path())) == file]  # fmt: skip
        return tuple(problem for problem in found if isinstance(problem, Problem))

    def _in_templates(
        self, file: str, source: bytes | None, problems: Sequence[Problem]
    ) -> Iterator[tuple[str, Problem]]:
        """Yield the problems of open templates at their places there: lint has them where the pipeline names them."""
        wanted = [problem for problem in problems if problem.code in _IN_TEMPLATES]
        opened = {resolve(each.path): each for each in self.documents.values() if each.path and each.is_template}
        if not wanted or not opened or source is None:
            return
        text = DocumentText(source.decode("utf-8-sig", "replace"))
        outline = read_outline(text.text)
        for problem in wanted:
            place = find_place(outline, text.index_of_place(problem.line, problem.column))
            named = None if place is None or problem.file != file else place.scalar.text
            path = resolve(Path(file).parent / named) if named and is_template_path(named) else None
            if path in opened:
                template = opened[path]
                line, column = _place_in(template.source, problem.message)
                yield (
                    str(template.path),
                    Problem(problem.code, problem.message, str(template.path), line, column, problem.severity),
                )

    def _encoding(self) -> Encoding:
        return next((document.source.encoding for document in self.documents.values()), "utf-16")


def _is_read(document: OpenDocument) -> bool:
    return document.is_pipeline or document.is_tests


def _pipeline_files(folder: Path) -> list[Path]:
    try:
        found = [path for path in sorted(folder.iterdir()) if is_pipeline_file(path) and path.is_file()]
    except OSError:
        return []
    return found[:_MOST_SEARCHED]


def _place_in(source: DocumentText, message: str) -> tuple[int, int]:
    """Return the line and column, from 1, that a message on a template is about: of the name it quotes, or its line."""
    for name in _NAME.findall(message):
        found = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", source.text) or re.search(
            rf"\.{re.escape(name)}(?!\w)", source.text
        )
        if found is not None:
            index = found.end() - len(name)
            line = source.text.count("\n", 0, index) + 1
            return line, index - source.text.rfind("\n", 0, index)
    line_told = _LINE.search(message)
    return (1 if line_told is None else min(int(line_told[1]), len(source.starts))), 1
