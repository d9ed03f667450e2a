"""A Python client that `openapi-python-client` makes of the OpenAPI document, and a running server that it asks."""

from __future__ import annotations

import asyncio
import importlib
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Running

PACKAGE = "nexus_generated_client"
PROGRAM = str(Path(sys.executable).with_name("openapi-python-client"))


async def generate(folder: Path, origin: str) -> str:
    """Make the client in a folder, unformatted, and return what the program says."""
    config = folder / "config.yaml"
    config.write_text("post_hooks: []\n")
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "generate", f"--url={origin}/openapi.json", f"--output-path={folder / PACKAGE}",
        f"--config={config}", "--meta=none", "--fail-on-warning",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


def snake(name: str) -> str:
    """Return an operationId as the program names modules: `listOpenAIModels` is `list_open_ai_models`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@pytest.fixture
async def client(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return `call(tag, operation, **arguments)`, which asks the running server, and the classes of the schemas."""
    said = await generate(tmp_path, running.origin)
    assert "WARNING" not in said
    monkeypatch.syspath_prepend(tmp_path)

    async def call(operation: str, *path: str, **arguments: Any) -> Any:
        tag, _, name = operation.partition(".")
        module = importlib.import_module(f"{PACKAGE}.api.{tag}.{name}")
        async with importlib.import_module(PACKAGE).Client(base_url=running.origin) as opened:
            answer = await module.asyncio_detailed(*path, client=opened, **arguments)
        return answer.parsed

    yield call, importlib.import_module(f"{PACKAGE}.models")
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


Call = Callable[..., Any]


async def test_client_has_every_route_and_asks_a_server(
    running: Running, client: tuple[Call, Any], tmp_path: Path
) -> None:
    """Each operation of the document is a function, chat completions too; answers and failures come back as objects."""
    call, models = client
    document = (await running.call("GET", "/openapi.json"))[1]
    expected = {
        f"{each['tags'][0]}/{snake(each['operationId'])}.py" for methods in document["paths"].values()
        for each in methods.values()
    }  # fmt: skip
    api = tmp_path / PACKAGE / "api"
    assert {path.relative_to(api).as_posix() for path in api.glob("*/*.py") if path.name != "__init__.py"} == expected

    assert [each.name for each in (await call("contexts.list_contexts")).contexts] == ["handbook"]
    created = await call("contexts.create_context", body=models.NewContext(name="notes"))
    assert (created.name, created.items, created.vectors) == ("notes", 0, None)
    items = [models.NewItem(id="a", text="The kettle boils at noon.", tags=["tea"])]
    assert (await call("contexts.add_items", "notes", body=models.NewItems(items=items))).new == 1
    found = await call("contexts.search_context", "notes", body=models.Search(query="kettle"))
    assert [(each.item.id, each.item.tags) for each in found.found] == [("a", ["tea"])]
    assert (await call("contexts.get_item", "notes", "a")).text == "The kettle boils at noon."
    file = importlib.import_module(f"{PACKAGE}.types").File(payload=io.BytesIO(b"Some words."), file_name="b.md")
    sent = await call("contexts.upload_documents", "notes", body=models.UploadedFiles(file=[file]))
    assert (sent.found, sent.failed) == (1, [])

    asked = models.Query(query="How many days of leave?", context_id="handbook")
    answer = await call("queries.ask_question", body=asked)
    assert answer.context_id == "handbook"
    assert "28 days" in answer.response
    message = models.ChatMessage(role="user", content="How many days of leave?")
    chat = models.ChatCompletionRequest(model="nexus/quotes/handbook", messages=[message], temperature=0)
    completion = await call("openai.create_chat_completion", body=chat)
    assert completion.choices[0].message.role == "assistant"
    assert "28 days" in completion.choices[0].message.content
    request = models.ResponseRequest(model="nexus/quotes/handbook", input_="How many days of leave?")
    response = await call("openai.create_response", body=request)
    assert "28 days" in response.output[0].content[0].text
    assert (await call("openai.get_open_ai_model", "nexus/quotes/handbook")).id == "nexus/quotes/handbook"

    failure = await call("contexts.get_context", "nowhere")
    assert (type(failure), failure.status_code, failure.code) == (models.Failure, 404, "context_not_found")
    body = models.ChatCompletionRequest(model="nexus/none", messages=[models.ChatMessage(role="user", content="Why?")])
    refused = await call("openai.create_chat_completion", body=body)
    assert type(refused) is models.OpenAIFailure
    assert refused.error.param == "model"
