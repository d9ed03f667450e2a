"""The table of models: sound figures, the right row for every id."""

from __future__ import annotations

import json
from pathlib import Path

import nexus_openai.model_table
import pytest
import tiktoken.model
from nexus_openai.chat_messages import as_text
from nexus_openai.connector import OpenAI
from nexus_openai.model_table import find_model, load_table, snapshot

from nexus_core import Message
from nexus_core.toolkit import token_counter


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("gpt-4o", "gpt-4o"),
        ("GPT-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("ft:gpt-4o-mini-2024-07-18:org::id", "gpt-4o-mini"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4-1106-preview", "gpt-4-turbo"),
        ("gpt-4.1-nano-2025-04-14", "gpt-4.1-nano"),
        ("gpt-5", "gpt-5"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("gpt-5.9-whatever", "gpt-5"),
        ("gpt-5-nano", "gpt-5-nano"),
        ("gpt-5.1-chat-latest", "gpt-5-chat-latest"),
        ("o3", "o3"),
        ("o3-mini-2025-01-31", "o3-mini"),
        ("gpt-35-turbo", "gpt-3.5-turbo"),
        ("gpt-3.5-turbo-instruct-0914", "gpt-3.5-turbo-instruct"),
        ("llama3.1:8b", ""),
        ("gpt-4.5", ""),
        ("my-gpt-4o", ""),
        ("", ""),
    ],
)
def test_model_is_found(model: str, row: str) -> None:
    """Snapshots, fine-tunes, routers' names; and nothing by resemblance."""
    assert find_model(model).id == row


def test_table_is_sound() -> None:
    """No id twice, figures that fit each other, and capabilities of the contract's words."""
    rows = load_table()[:-1]
    ids = [row.id for row in rows]
    assert len(set(ids)) == len(ids)
    for row in rows:
        assert find_model(row.id) is row
        assert 0 < (row.max_output or 0) <= row.window
        assert (row.max_input or 0) <= row.window
        assert row.capabilities <= {"streaming", "json", "tools", "vision", "offline"}
        assert row.description.endswith(".")
        assert row.encoding in {"o200k_base", "cl100k_base"}


def test_table_has_only_known_keys() -> None:
    """A misspelt key in the data is not silently ignored."""
    data = json.loads(Path(str(nexus_openai.model_table.__file__)).with_name("models.json").read_text())
    assert set(data) == {"default", "profiles", "models"}


@pytest.mark.parametrize("model", [row.id for row in load_table() if row.known])
def test_encodings_are_those_of_tiktoken(model: str) -> None:
    """Another project's table, kept by those who make the models, says the same."""
    assert find_model(model).encoding == tiktoken.model.encoding_name_for_model(model)


@pytest.mark.parametrize(
    ("model", "date"),
    [
        ("gpt-4o-2024-08-06", "2024-08-06"),
        ("gpt-4-0613", "0613"),
        ("gpt-4-1106-preview", "1106"),
        ("gpt-4o", ""),
        ("llama3.1", ""),
    ],
)
def test_snapshot_is_the_version(model: str, date: str) -> None:
    """The date in an id."""
    assert snapshot(model) == date
    assert OpenAI(model=model).model_info.version == date


@pytest.mark.parametrize(
    "texts",
    [["Hello"], ["Be brief.", "What is it?"], ["", "x\n\n", "\n", "?"], ["a " * 50] * 9, ["1.", "é🙂", "--", "\t"]],
    ids=["one", "two", "blanks", "nine", "odd"],
)
def test_completions_text_stays_within_its_declared_overhead(texts: list[str]) -> None:
    """Messages made into one text never take more than what the packer counts for them."""
    info = OpenAI(model="davinci-002").model_info
    count = token_counter(info.encoding).count
    roles = ["system", "user", "assistant"]
    messages = [Message(roles[at % 3], text) for at, text in enumerate(texts)]  # type: ignore[arg-type]
    allowed = sum(count(text) + info.tokens_per_message for text in texts) + info.tokens_per_prompt
    assert count(as_text(messages)) <= allowed
