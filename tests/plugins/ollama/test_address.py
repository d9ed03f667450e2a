"""Where the service is, and what is known of a model without asking it."""

from __future__ import annotations

from pathlib import Path

import pytest
from nexus_ollama.connector import LOCAL_WINDOW, Ollama

from nexus_core import NotConfiguredError
from nexus_core.toolkit import load_models

MODELS = load_models(Path(__file__).parents[3] / "plugins/nexus_ollama/models.json")


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:8080", "http://box:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::1]", "http://[::1]:11434"),
        ("[::]:8080", "http://127.0.0.1:8080"),
        ("box/path", "http://box:11434/path"),
        ("http://box", "http://box"),
        ("http://box:8080/", "http://box:8080"),
        ("http://box:8080/v1", "http://box:8080"),
        ("https://box.example.com", "https://box.example.com"),
        ("ollama.com", "https://ollama.com"),
    ],
)
def test_the_address_is_what_ollama_takes_it_for(said: str, url: str) -> None:
    """A host, host and port, or a URL; what a server listens on becomes this machine."""
    assert Ollama.ADDRESS.resolve_url(None, {"OLLAMA_HOST": said}) == url


@pytest.mark.parametrize("said", ["box.example.com", "https://user:secret@box", "a b"])
def test_an_address_that_cannot_be_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http to another network, or no address at all."""
    monkeypatch.setenv("OLLAMA_HOST", said)
    with pytest.raises(NotConfiguredError, match="base_url") as caught:
        Ollama(model="m").open_client()
    assert "secret" not in str(caught.value)


def test_a_model_of_ones_own_machine_has_a_window_that_fits_there() -> None:
    """The table has that of the model; a cloud gives it whole."""
    assert Ollama(model="llama3.1:8b").model_info.window == LOCAL_WINDOW
    assert Ollama(model="llama2").model_info.window == 4096
    assert Ollama(model="qwen3-coder:480b-cloud").model_info.window == 262_144
    assert Ollama(model="deepseek-v3.1:671b", base_url="https://ollama.com").model_info.window == 163_840


def test_what_a_model_can_do_is_told_by_the_table() -> None:
    """Tags do not matter, but where one is a model of its own."""
    can = {model: Ollama(model=model).model_info.capabilities for model in ("gemma3:27b", "gemma3:1b", "gpt-oss:20b")}
    assert "vision" in can["gemma3:27b"]
    assert "vision" not in can["gemma3:1b"]
    assert {"reasoning", "tools", "generate"} <= can["gpt-oss:20b"]
    assert not Ollama(model="nomic-embed-text").model_info.capabilities


def test_every_model_that_sees_counts_its_images() -> None:
    """By the figure of the table, or an upper bound."""
    for model in MODELS.ids:
        info = Ollama(model=model).model_info
        assert (info.image_tokens is not None) == ("vision" in info.capabilities)
