"""An editor: a client that speaks to `nexus lsp`, a child process, over its standard input and output."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest_asyncio
from lsprotocol import types
from pygls.lsp.client import LanguageClient
from pygls.uris import from_fs_path

ROOT = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "nexus_core.cli.main", "lsp", "--stdio")


class Editor:
    """One editor with its language server; positions are (line, character) from 0, in UTF-16 units."""

    def __init__(self) -> None:
        self.client = LanguageClient("test-editor", "1")
        self.published: dict[str, list[types.PublishDiagnosticsParams]] = {}
        self.registered: list[str] = []
        self.news = asyncio.Event()
        self.versions: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.result: types.InitializeResult | None = None

        def publish(params: types.PublishDiagnosticsParams) -> None:
            self.published.setdefault(params.uri, []).append(params)
            self.news.set()

        def register(params: types.RegistrationParams) -> None:
            self.registered += [registration.method for registration in params.registrations]

        self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(publish)
        self.client.feature(types.CLIENT_REGISTER_CAPABILITY)(register)

    async def start(self, command: Sequence[str] = COMMAND, options: Any = None, **more: Any) -> None:
        await self.client.start_io(*command, **more)
        watching = types.DidChangeWatchedFilesClientCapabilities(dynamic_registration=True)
        capabilities = types.ClientCapabilities(
            workspace=types.WorkspaceClientCapabilities(did_change_watched_files=watching)
        )
        parameters = types.InitializeParams(capabilities=capabilities, initialization_options=options)
        self.result = await self.client.initialize_async(parameters)
        self.client.initialized(types.InitializedParams())

    async def stop(self) -> None:
        with suppress(Exception):
            await self.client.shutdown_async(None)
            self.client.exit(None)
        await self.client.stop()  # type: ignore[no-untyped-call]

    def open(self, path: Path, text: str | None = None, uri: str = "") -> str:
        """Open a file, or a text in its place, and return its URI."""
        uri = uri or uri_of(path)
        self.texts[uri] = path.read_text("utf-8") if text is None else text
        self.versions[uri] = 1
        item = types.TextDocumentItem(uri=uri, language_id="yaml", version=1, text=self.texts[uri])
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=item))
        return uri

    def change(self, uri: str, text: str) -> int:
        """Change the text of a document, and return its new version."""
        self.texts[uri] = text
        self.versions[uri] += 1
        document = types.VersionedTextDocumentIdentifier(uri=uri, version=self.versions[uri])
        change = types.TextDocumentContentChangeWholeDocument(text=text)
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(text_document=document, content_changes=[change])
        )
        return self.versions[uri]

    def close(self, uri: str) -> None:
        document = types.TextDocumentIdentifier(uri=uri)
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(text_document=document))

    def tell_changed(self, path: Path, kind: types.FileChangeType) -> None:
        event = types.FileEvent(uri=uri_of(path), type=kind)
        self.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams(changes=[event]))

    async def diagnostics(
        self, uri: str, version: int | None = None, after: int | None = None
    ) -> list[types.Diagnostic]:
        """Return the diagnostics of a version, the newest one if none is said, or what comes after `after` others."""
        version = self.versions.get(uri) if version is None and after is None else version
        async with asyncio.timeout(60):  # only a server that hangs takes so long
            while True:
                self.news.clear()
                for published in self.published.get(uri, [])[after or 0 :]:
                    if version is None or published.version == version:
                        return list(self.published[uri][-1].diagnostics)
                await self.news.wait()

    async def complete(self, uri: str, position: tuple[int, int]) -> Mapping[str, types.CompletionItem]:
        """Return the suggestions at a position by their labels."""
        found = await self.client.text_document_completion_async(types.CompletionParams(*self._at(uri, position)))
        items = found.items if isinstance(found, types.CompletionList) else found or []
        return {item.label: item for item in items}

    async def hover(self, uri: str, position: tuple[int, int]) -> str:
        """Return what a hover says, empty where there is none."""
        found = await self.client.text_document_hover_async(types.HoverParams(*self._at(uri, position)))
        contents: Any = None if found is None else found.contents
        return str(contents.value) if isinstance(contents, types.MarkupContent) else ""

    async def define(self, uri: str, position: tuple[int, int]) -> types.Location | None:
        found = await self.client.text_document_definition_async(types.DefinitionParams(*self._at(uri, position)))
        assert found is None or isinstance(found, types.Location)
        return found

    async def fixes(self, uri: str, diagnostic: types.Diagnostic) -> list[types.CodeAction]:
        """Return the quick fixes of a diagnostic."""
        document, context = types.TextDocumentIdentifier(uri=uri), types.CodeActionContext(diagnostics=[diagnostic])
        parameters = types.CodeActionParams(text_document=document, range=diagnostic.range, context=context)
        found = await self.client.text_document_code_action_async(parameters)
        return [action for action in found or [] if isinstance(action, types.CodeAction)]

    def find(self, uri: str, marked: str) -> tuple[int, int]:
        """Return the position of `|` in a part of a document that is marked with it."""
        before, _, after = marked.partition("|")
        text = self.texts[uri]
        index = text.index(before + after) + len(before)
        line = text.count("\n", 0, index)
        start = text.rfind("\n", 0, index) + 1
        return line, len(text[start:index].encode("utf-16-le")) // 2

    def _at(self, uri: str, position: tuple[int, int]) -> tuple[types.TextDocumentIdentifier, types.Position]:
        return types.TextDocumentIdentifier(uri=uri), types.Position(*position)


def uri_of(path: Path) -> str:
    uri = from_fs_path(str(path))
    assert uri is not None
    return str(uri)


def shown(diagnostics: Sequence[types.Diagnostic]) -> list[tuple[int, int, str, str, str]]:
    """Return diagnostics as lint has problems: line and column from 1, code, severity, message."""
    severities = {types.DiagnosticSeverity.Error: "error", types.DiagnosticSeverity.Warning: "warning"}
    return [
        (one.range.start.line + 1, one.range.start.character + 1, str(one.code), severities[one.severity], one.message)
        for one in diagnostics
        if one.severity is not None
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def editor() -> AsyncIterator[Editor]:
    """An editor whose server runs; the tests of a module share it, each with documents of its own."""
    editor = Editor()
    await editor.start()
    yield editor
    await editor.stop()
