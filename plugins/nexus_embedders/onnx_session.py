"""Vectors of models of sentences in ONNX, which onnxruntime runs on the processors of this machine.

A folder holds `model.onnx` and `tokenizer.json`, and as far as they differ from mean pooling and 256 tokens
`1_Pooling/config.json` and `sentence_bert_config.json`, as models of sentence-transformers have them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen
from onnxruntime import ExecutionMode, InferenceSession, SessionOptions
from tokenizers import Tokenizer

from nexus_core import PluginError
from nexus_core.toolkit import unit_vectors

Vectors = npt.NDArray[np.float32]

_MODEL, _TOKENIZER, _POOLING, _LENGTHS = (
    "model.onnx", "tokenizer.json", "1_Pooling/config.json", "sentence_bert_config.json",
)  # fmt: skip
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_MOST_TOKENS = 256
"""Of a text: what all-MiniLM-L6-v2 takes, and others where they say nothing."""


@frozen(eq=False)
class OnnxEmbedder:
    """Runs a model."""

    session: InferenceSession
    tokenizer: Any
    embedding_id: str
    dimensions: int
    inputs: tuple[str, ...]
    by_first_token: bool = False
    """The vector of a text is that of its first token, and not the mean of all."""
    batch: int = 64
    at_once: int = 1

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors, from a thread."""
        return await asyncio.to_thread(self.vectors, texts)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors.

        Each text runs alone. Together they are no faster on processors (in 8 bits 310 ms for 1,000 tokens alone, 470
        in batches of 2,048, shortest first), and the scale of 8 bits would be that of a whole batch: so a text has the
        same vector whatever stands beside it.
        """
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        for row, encoded in zip(rows, self.tokenizer.encode_batch_fast([*map(sound_text, texts)]), strict=True):
            if encoded.ids:
                row[:] = self._run(np.array([encoded.ids], np.int64))
        return unit_vectors(rows)

    def _run(self, tokens: npt.NDArray[np.int64]) -> Vectors:
        given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        output: Vectors = self.session.run(None, {name: given[name] for name in self.inputs})[0][0]
        if output.ndim == 1:
            return output
        return output[0] if self.by_first_token else np.asarray(output.mean(axis=0))


def load(model: str, *, download: bool = False, embedding_id: str = "") -> OnnxEmbedder:
    """Load a model from its folder; no network ever. Raises PluginError where that is no such model."""
    folder = Path(model)
    with loading(folder, "model of sentences"):
        pooling, lengths = _json(folder / _POOLING), _json(folder / _LENGTHS)
        model_files = open_model(folder, "model of sentences", int(lengths.get("max_seq_length") or _MOST_TOKENS))
        width = model_files.session.get_outputs()[0].shape[-1]
    if not isinstance(width, int):
        raise PluginError(f"the model in {folder} is no model of sentences: its vectors have no fixed length")
    first = bool(pooling.get("pooling_mode_cls_token"))
    name = embedding_id or f"onnx:{_digest(folder)}"
    return OnnxEmbedder(model_files.session, model_files.tokenizer, name, width, model_files.inputs, first)


@frozen(eq=False)
class OnnxModel:
    """What a folder with a model in ONNX holds, ready to run."""

    session: InferenceSession
    tokenizer: Any
    inputs: tuple[str, ...]
    """What it wants of a tokenized text, by name."""


@contextmanager
def loading(folder: Path, kind: str) -> Iterator[None]:
    """Raise PluginError, with the folder and what must be in it, where something in it cannot be read."""
    try:
        yield
    except Exception as error:  # of three libraries, some of them bare Exceptions
        if isinstance(error, PluginError):
            raise
        raise PluginError(
            f"the {kind} in {folder} cannot be loaded, which takes {_MODEL} and {_TOKENIZER}: "
            f"{type(error).__name__}: {error}"
        ) from error


def open_model(folder: Path, kind: str, window: int, **truncation: Any) -> OnnxModel:
    """Open the model of a folder, whose texts are cut after so many tokens; raises PluginError, and what is foreign."""
    tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(window, **truncation)
    session = open_session((folder / _MODEL).read_bytes())
    wanted = {entry.name for entry in session.get_inputs()}
    if not wanted <= _INPUTS:
        raise PluginError(f"the model in {folder} is no {kind}: it takes {', '.join(sorted(wanted))}")
    return OnnxModel(session, tokenizer, tuple(sorted(wanted)))


def sound_text(text: str) -> str:
    """Return a text without halves of characters, which tokenizers refuse."""
    return text.encode("utf-8", "replace").decode()


def open_session(model: bytes | str) -> InferenceSession:
    """Return a model that is ready to run: a thread for each processor, none of which waits by going in circles."""
    options = SessionOptions()
    options.intra_op_num_threads = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    options.inter_op_num_threads = 1
    options.execution_mode = ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _json(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return told


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (_MODEL, _TOKENIZER, _POOLING, _LENGTHS):
        if (folder / name).exists():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]
