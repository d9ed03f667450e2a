"""The table of models: sound figures, the right row for every id."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path
from typing import get_args

import nexus_openai.model_table
import pytest
import tiktoken.model
from nexus_openai.chat_messages import as_text
from nexus_openai.connector import OpenAI
from nexus_openai.model_table import find_model, load_table, snapshot
from nexus_openai.model_use import OptionName

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
        ("gpt-6.2-astra", "gpt-6.2-astra"),
        ("gpt-6.3-sol", "gpt-6"),
        ("gpt-5.4-pro-2026-03-05", "gpt-5.4-pro"),
        ("gpt-5.3-chat-latest", "gpt-5-chat-latest"),
        ("gpt-5-search-api-2025-10-14", "gpt-5-search-api"),
        ("gpt-5.1-codex-max", "gpt-5.1-codex"),
        ("gpt-4o-search-preview-2025-03-11", "gpt-4o-search-preview"),
        ("gpt-4o-mini-search-preview", "gpt-4o-mini-search-preview"),
        ("o1-pro-2025-03-19", "o1-pro"),
        ("o3-pro", "o3-pro"),
        ("o3-deep-research-2025-06-26", "o3-deep-research"),
        ("o4-mini-deep-research", "o4-mini-deep-research"),
        ("codex-mini-latest", "codex-mini-latest"),
        ("text-embedding-3-small", "text-embedding-3-small"),
        ("openai/gpt-oss-120b", "gpt-oss"),
        ("gpt-oss:20b", "gpt-oss"),
        ("moonshotai/kimi-k2.7-code", "kimi-k2.6"),
        ("glm-4.6", "glm-4.6"),
        ("glm-4.6v", ""),
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
    """No id twice, figures that fit each other, and capabilities and options of the contract's words."""
    rows = load_table()[:-1]
    ids = [row.id for row in rows]
    assert len(set(ids)) == len(ids)
    for row in rows:
        assert find_model(row.id) is row
        assert 0 <= (row.max_output or 0) <= row.window
        assert (row.max_input or 0) <= row.window
        assert row.capabilities <= {"streaming", "json", "schema", "tools", "vision", "files", "reasoning"}
        assert row.unsupported <= set(get_args(OptionName))
        assert row.description.endswith(".")
        assert row.encoding in {"o200k_base", "cl100k_base", None}


def test_tables_images_are_counted_where_they_are_taken() -> None:
    """No model that sees is without a formula at OpenAI, and its bound holds for the formula."""
    for row in load_table()[:-1]:
        assert (row.images is not None) == ("vision" in row.capabilities)
        if row.images is not None and row.images.formula == "patches":
            assert row.images.at_most == ceil(round(row.images.patches * row.images.factor, 6))


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [
        ("gpt-4.1", "chat"),
        ("o1-pro", "responses"),
        ("o3-pro-2025-06-10", "responses"),
        ("gpt-5-pro", "responses"),
        ("gpt-5.5-pro", "responses"),
        ("gpt-5.3-codex", "responses"),
        ("o4-mini-deep-research", "responses"),
        ("davinci-002", "completions"),
        ("text-embedding-3-large", "embeddings"),
    ],
)
def test_table_names_the_endpoint(model: str, endpoint: str) -> None:
    """And the model's info says it, at OpenAI."""
    assert OpenAI(model=model).model_info.endpoint == endpoint


def test_table_has_only_known_keys() -> None:
    """A misspelt key in the data is not silently ignored."""
    data = json.loads(Path(str(nexus_openai.model_table.__file__)).with_name("models.json").read_text())
    assert set(data) == {"checked", "source", "default", "images", "profiles", "models"}
    assert {row.get("profile") for row in data["models"]} == set(data["profiles"])
    assert {row["images"] for row in data["models"] if "images" in row} == set(data["images"])


@pytest.mark.parametrize("model", [row.id for row in load_table() if row.known])
def test_encodings_are_those_of_tiktoken(model: str) -> None:
    """Another project's table, kept by those who make the models, says the same where it knows the model."""
    ours = find_model(model).encoding
    try:
        assert ours == tiktoken.model.encoding_name_for_model(model).replace("harmony", "base")
    except KeyError:
        later = model.startswith(("gpt-6", "gpt-oss", "gpt-audio", "codex", "computer"))
        assert ours == ("o200k_base" if later else None)


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
