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
_MOST_TOKENS = 256
"""Of a text: what all-MiniLM-L6-v2 takes, and others where they say nothing."""
_TOKENS_AT_ONCE = 2048
"""How many tokens one call of the model has, with those that fill up shorter texts."""


@frozen(eq=False)
class OnnxEmbedder:
    """Runs a model."""

    session: InferenceSession
    tokenizer: Any
    embedding_id: str
    dimensions: int
    by_first_token: bool = False
    """The vector of a text is that of its first token, and not the mean of all."""
    batch: int = 256
    at_once: int = 1

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors, from a thread."""
        return await asyncio.to_thread(self.vectors, texts)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors; texts of like length run together, so that few tokens are only there to fill up."""
        sound = [text.encode("utf-8", "replace").decode() for text in texts]
        ids = [encoded.ids for encoded in self.tokenizer.encode_batch_fast(sound)]
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        for places in _groups([*map(len, ids)]):
            rows[places] = self._run([ids[place] for place in places])
        return unit_vectors(rows)

    def _run(self, ids: Sequence[Sequence[int]]) -> Vectors:
        tokens = np.zeros((len(ids), max(map(len, ids))), np.int64)
        mask = np.zeros_like(tokens)
        for row, own in enumerate(ids):
            tokens[row, : len(own)] = own
            mask[row, : len(own)] = 1
        given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        wanted = [entry.name for entry in self.session.get_inputs()]
        output: Vectors = self.session.run(None, {name: given[name] for name in wanted})[0]
        if output.ndim == 2:
            return output
        if self.by_first_token:
            return output[:, 0]
        return np.asarray(np.einsum("btd,bt->bd", output, mask.astype(np.float32)) / mask.sum(axis=1, keepdims=True))


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of texts that run together, shortest first; a text without tokens is in none."""
    group: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if lengths[place] == 0:
            continue
        if group and (len(group) + 1) * lengths[place] > _TOKENS_AT_ONCE:
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def load(model: str, *, download: bool = False, embedding_id: str = "") -> OnnxEmbedder:
    """Load a model from its folder; no network ever. Raises PluginError where that is no such model."""
    folder = Path(model)
    try:
        pooling, lengths = _json(folder / _POOLING), _json(folder / _LENGTHS)
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        tokenizer.no_padding()
        tokenizer.enable_truncation(int(lengths.get("max_seq_length") or _MOST_TOKENS))
        session = open_session((folder / _MODEL).read_bytes())
        wanted = {entry.name for entry in session.get_inputs()}
    except Exception as error:  # of three libraries, some of them bare Exceptions
        raise PluginError(
            f"the model in {folder} cannot be loaded, which takes {_MODEL} and {_TOKENIZER}: "
            f"{type(error).__name__}: {error}"
        ) from error
    width = session.get_outputs()[0].shape[-1]
    if not wanted <= {"input_ids", "attention_mask", "token_type_ids"} or not isinstance(width, int):
        raise PluginError(f"the model in {folder} is no model of sentences: it takes {', '.join(sorted(wanted))}")
    return OnnxEmbedder(
        session,
        tokenizer,
        embedding_id or f"onnx:{_digest(folder)}",
        width,
        bool(pooling.get("pooling_mode_cls_token")),
    )


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
