"""The language server: the protocol on one side, the language service on the other."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from nexus_core.config.sibling_files import STANDARD_INPUT
from nexus_core.contract.errors import Problem
from nexus_core.lsp.analysis_thread import AnalysisThread
from nexus_core.lsp.check_schedule import CheckSchedule
from nexus_core.lsp.completion import Sort, Suggestion
from nexus_core.lsp.document_text import ENCODINGS, DocumentText, Encoding
from nexus_core.lsp.documents import OpenDocument, looks_like_pipeline, path_of, resolve, uri_of
from nexus_core.lsp.service import LanguageService

SOURCE = "nexus"
"""What diagnostics say that they come from."""
TRIGGERS = (":", " ", "-", "{", "[", ",", ".", "/", '"')
_WATCHED = "**/*.{yaml,yml,jinja,j2,json,py}"
_KINDS: dict[Sort, types.CompletionItemKind] = {
    "key": types.CompletionItemKind.Property,
    "component": types.CompletionItemKind.Class,
    "model": types.CompletionItemKind.Constant,
    "input": types.CompletionItemKind.Field,
    "variable": types.CompletionItemKind.Variable,
    "value": types.CompletionItemKind.EnumMember,
    "file": types.CompletionItemKind.File,
}
_Answer = TypeVar("_Answer")
_AtPosition = types.CompletionParams | types.HoverParams | types.DefinitionParams


class PipelineServer:
    """Serves one editor: keeps its documents, schedules checks, answers its requests in the analysis thread."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        """Take the environment that pipelines are checked with, by default that of the process."""
        self.protocol = LanguageServer(
            "nexus", version("contextnexus"), text_document_sync_kind=types.TextDocumentSyncKind.Full
        )
        self.service = LanguageService(dict(os.environ) if environment is None else environment)
        self.thread = AnalysisThread()
        self.schedule = CheckSchedule(self.service, self.thread, self._publish)
        self._patterns: tuple[str, ...] = ()
        self._uris: dict[Path, str] = {}
        for feature, handler, options in self._features():
            self.protocol.feature(feature, options)(_plain(handler))

    def run(self, reading: BinaryIO, writing: BinaryIO) -> None:
        """Serve until the editor says that it ends, or is gone."""
        self.protocol.start_io(reading, writing)

    def _features(self) -> Sequence[tuple[str, Callable[[Any], Any], Any]]:
        fixes = types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix])
        return (
            (types.INITIALIZE, self._initialize, None),
            (types.INITIALIZED, self._initialized, None),
            (types.TEXT_DOCUMENT_DID_OPEN, self._opened, None),
            (types.TEXT_DOCUMENT_DID_CHANGE, self._changed, None),
            (types.TEXT_DOCUMENT_DID_SAVE, self._saved, None),
            (types.TEXT_DOCUMENT_DID_CLOSE, self._closed, None),
            (types.WORKSPACE_DID_CHANGE_WATCHED_FILES, self._files_changed, None),
            (
                types.TEXT_DOCUMENT_COMPLETION,
                self._complete,
                types.CompletionOptions(trigger_characters=list(TRIGGERS)),
            ),
            (types.TEXT_DOCUMENT_HOVER, self._hover, None),
            (types.TEXT_DOCUMENT_DEFINITION, self._define, None),
            (types.TEXT_DOCUMENT_CODE_ACTION, self._fix, fixes),
        )

    def _initialize(self, params: types.InitializeParams) -> None:
        told = params.initialization_options
        patterns = told.get("files") if isinstance(told, dict) else getattr(told, "files", None)
        if isinstance(patterns, Sequence) and not isinstance(patterns, str):
            self._patterns = tuple(map(str, patterns))

    def _initialized(self, params: types.InitializedParams) -> None:
        workspace = self.protocol.client_capabilities.workspace
        watching = None if workspace is None else workspace.did_change_watched_files
        if watching is None or not watching.dynamic_registration:
            return
        watcher = types.FileSystemWatcher(glob_pattern=_WATCHED)
        registration = types.Registration(
            id="files",
            method=types.WORKSPACE_DID_CHANGE_WATCHED_FILES,
            register_options=types.DidChangeWatchedFilesRegistrationOptions(watchers=[watcher]),
        )
        self.protocol.client_register_capability(types.RegistrationParams(registrations=[registration]))

    def _opened(self, params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        self._take(document.uri, document.text, document.version, at_once=True)

    def _changed(self, params: types.DidChangeTextDocumentParams) -> None:
        if params.content_changes:  # the last one holds the whole text, since it is told so
            document = params.text_document
            self._take(document.uri, params.content_changes[-1].text, document.version)

    def _take(self, uri: str, text: str, number: int | None, *, at_once: bool = False) -> None:
        """Keep the text of a document, and let be checked what depends on it."""
        path, before = path_of(uri), self.service.documents.get(uri)
        was_pipeline = before is not None and before.is_pipeline  # so that it is one while it is changed, too
        document = OpenDocument(
            uri=uri,
            path=path,
            source=DocumentText(text, self._encoding()),
            version=number,
            is_pipeline=was_pipeline or looks_like_pipeline(path, text, self._patterns),
        )
        self.service.documents = {**self.service.documents, uri: document}
        if path is not None:
            self._uris[resolve(path)] = uri
        self._touch(document, at_once=at_once)

    def _encoding(self) -> Encoding:
        """Return what positions count in, as was agreed on when the editor began."""
        agreed = self.protocol.workspace.position_encoding
        for encoding in ENCODINGS:
            if agreed == encoding:
                return encoding
        return "utf-16"

    def _touch(self, document: OpenDocument, *, at_once: bool = False) -> None:
        dependents = [] if document.path is None else self.schedule.depending_on(resolve(document.path))
        # The pipelines of a template are looked for when it is opened, and known from then on.
        roots = self.service.roots(document) if at_once or not document.is_template else []
        self.schedule.touch(dict.fromkeys([*roots, *dependents]), at_once=at_once)

    def _saved(self, params: types.DidSaveTextDocumentParams) -> None:
        path = path_of(params.text_document.uri)
        if path is not None:
            self.schedule.touch(self.schedule.depending_on(resolve(path)), at_once=True)

    def _files_changed(self, params: types.DidChangeWatchedFilesParams) -> None:
        paths = [path for change in params.changes if (path := path_of(change.uri)) is not None]
        roots = [root for path in paths for root in self.schedule.depending_on(resolve(path))]
        self.schedule.touch(dict.fromkeys(roots))

    def _closed(self, params: types.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        document = self.service.documents.get(uri)
        if document is None:
            return
        self.service.documents = {name: each for name, each in self.service.documents.items() if name != uri}
        wanted = {root for each in self.service.documents.values() for root in self.service.roots(each)}
        for root in [*self.schedule.results, *self.service.roots(document)]:
            if root not in wanted:
                self.schedule.forget(root)
        self._touch_dependents(document)
        if document.path is not None:
            self._uris.pop(resolve(document.path), None)

    def _touch_dependents(self, document: OpenDocument) -> None:
        if document.path is not None:
            self.schedule.touch(self.schedule.depending_on(resolve(document.path)))

    def _publish(self, file: str, problems: tuple[Problem, ...], number: int | None) -> None:
        text = self.service.text_of(file)
        uri = self._uri(file)
        if uri is None:
            return
        diagnostics = [self._diagnostic(problem, text) for problem in problems]
        self.protocol.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri=uri, diagnostics=diagnostics, version=number)
        )

    def _uri(self, file: str) -> str | None:
        """Return the URI of a file, as the editor writes it where it has the file open."""
        if file == STANDARD_INPUT:
            return next((uri for uri, each in self.service.documents.items() if each.path is None), None)
        return self._uris.get(resolve(Path(file))) or uri_of(Path(file))

    def _diagnostic(self, problem: Problem, text: DocumentText) -> types.Diagnostic:
        start = text.index_of_place(problem.line, problem.column)
        error = problem.severity == "error"
        return types.Diagnostic(
            range=_range(text, start, text.word_end(start)),
            message=problem.message,
            severity=types.DiagnosticSeverity.Error if error else types.DiagnosticSeverity.Warning,
            code=problem.code,
            source=SOURCE,
        )

    async def _complete(self, params: types.CompletionParams) -> types.CompletionList | None:
        found = self._at(params)
        if found is None:
            return None
        document, index = found
        suggestions = await self._ask(lambda: self.service.complete(document, index))
        items = [_completion_item(each, number, document.source) for number, each in enumerate(suggestions)]
        return types.CompletionList(is_incomplete=False, items=items)

    async def _hover(self, params: types.HoverParams) -> types.Hover | None:
        found = self._at(params)
        if found is None:
            return None
        document, index = found
        told = await self._ask(lambda: self.service.explain(document, index))
        if told is None:
            return None
        contents = types.MarkupContent(kind=types.MarkupKind.Markdown, value=told.markdown)
        return types.Hover(contents=contents, range=_range(document.source, told.start, told.end))

    async def _define(self, params: types.DefinitionParams) -> types.Location | None:
        found = self._at(params)
        if found is None:
            return None
        document, index = found
        told = await self._ask(lambda: self.service.define(document, index))
        if told is None:
            return None
        path, place = told
        if path is None:
            return types.Location(uri=document.uri, range=_range(document.source, place.start, place.end))
        uri = self._uris.get(resolve(path)) or uri_of(path)
        if place.end:
            return types.Location(uri=uri, range=_range(self.service.text_of(str(path)), place.start, place.end))
        line = types.Position(line=place.line - 1, character=0)
        return types.Location(uri=uri, range=types.Range(start=line, end=line))

    async def _fix(self, params: types.CodeActionParams) -> list[types.CodeAction]:
        document = self.service.documents.get(params.text_document.uri)
        if document is None:
            return []
        actions = []
        for diagnostic in params.context.diagnostics:
            start = diagnostic.range.start
            index = document.source.index(start.line, start.character)
            fix = self.service.fix(document, diagnostic.message, index) if diagnostic.source == SOURCE else None
            if fix is not None:
                edit = types.TextEdit(range=_range(document.source, fix.start, fix.end), new_text=fix.text)
                actions.append(
                    types.CodeAction(
                        title=fix.title,
                        kind=types.CodeActionKind.QuickFix,
                        diagnostics=[diagnostic],
                        is_preferred=True,
                        edit=types.WorkspaceEdit(changes={document.uri: [edit]}),
                    )
                )
        return actions

    def _at(self, params: _AtPosition) -> tuple[OpenDocument, int] | None:
        document = self.service.documents.get(params.text_document.uri)
        if document is None:
            return None
        return document, document.source.index(params.position.line, params.position.character)

    async def _ask(self, question: Callable[[], _Answer]) -> _Answer:
        return await self.thread.submit(question)


def _plain(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a method as a function of its own, which the protocol can mark."""
    if inspect.iscoroutinefunction(handler):

        async def answer(params: Any) -> Any:
            waiting: Awaitable[Any] = handler(params)
            return await waiting

        return answer

    def take(params: Any) -> Any:
        return handler(params)

    return take


def _range(text: DocumentText, start: int, end: int) -> types.Range:
    (line, character), (last_line, last_character) = text.position(start), text.position(end)
    return types.Range(
        start=types.Position(line=line, character=character),
        end=types.Position(line=last_line, character=last_character),
    )


def _completion_item(suggestion: Suggestion, number: int, text: DocumentText) -> types.CompletionItem:
    return types.CompletionItem(
        label=suggestion.label,
        kind=_KINDS[suggestion.sort],
        detail=suggestion.detail or None,
        documentation=types.MarkupContent(kind=types.MarkupKind.Markdown, value=suggestion.documentation)
        if suggestion.documentation
        else None,
        sort_text=f"{number:04}",  # in the order of the language, and not by the alphabet
        filter_text=suggestion.label,
        text_edit=types.TextEdit(range=_range(text, suggestion.start, suggestion.end), new_text=suggestion.insert),
    )
