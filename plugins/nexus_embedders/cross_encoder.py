"""Cross-encoders in ONNX: a query and a text are read together by onnxruntime, on the processors of this machine.

A folder holds `model.onnx` and `tokenizer.json`. The model gives one number for a pair, or one for each of two classes,
of which the second is the positive one. How many tokens it takes stands in `sentence_bert_config.json` or
`tokenizer_config.json`, as models of sentence-transformers have them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from onnxruntime import InferenceSession
from tokenizers import Encoding

from nexus_core import PluginError
from nexus_core.toolkit import counted
from nexus_embedders.onnx_session import loading, open_model, sound_text

_LENGTHS = (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length"))
_MOST_TOKENS = 512
"""Of a pair: what most cross-encoders take, and others where they say nothing."""
_FEWEST_TOKENS = 16


def _one_worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="cross-encoder")


@frozen(eq=False)
class OnnxCrossEncoder:
    """Runs a model; texts of several runs take turns, since each of them uses all processors."""

    folder: Path
    session: InferenceSession
    tokenizer: Any
    inputs: tuple[str, ...]
    window: int
    """How many tokens a query and a text may have together, with the marks around them."""
    _worker: ThreadPoolExecutor = field(factory=_one_worker)

    async def relevance(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return the relevance of each text; a cancelled run ends after the text that is being read."""
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(self._worker, partial(self.best, query, text)) for text in texts]

    def best(self, query: str, text: str) -> float:
        """Return the relevance of a text: that of its best part where it is longer than the window.

        Pairs run alone, as texts of embedders do: in 8 bits the scale would be that of a whole batch.
        """
        return max(map(self._run, self._pairs(sound_text(query), sound_text(text))))

    def _pairs(self, query: str, text: str) -> Iterator[Encoding]:
        """Yield the query with one part of the text after the other; a query has half of the window at most."""
        asked = self.tokenizer.encode(query, add_special_tokens=False)
        most = (self.window - self.tokenizer.num_special_tokens_to_add(True)) // 2
        pair = self.tokenizer.encode(query[: asked.offsets[most - 1][1]] if len(asked) > most else query, text)
        yield pair
        yield from pair.overflowing

    def _run(self, pair: Encoding) -> float:
        rows = {"input_ids": pair.ids, "attention_mask": pair.attention_mask, "token_type_ids": pair.type_ids}
        given = {name: np.array([rows[name]], np.int64) for name in self.inputs}
        try:
            logits = np.asarray(self.session.run(None, given)[0], np.float64).reshape(-1)
        except Exception as error:  # of onnxruntime, which has no class for them
            raise PluginError(
                f"the cross-encoder in {self.folder} failed at {len(pair.ids)} tokens: {type(error).__name__}: {error}"
            ) from error
        if len(logits) not in (1, 2) or not all(map(isfinite, logits)):
            raise PluginError(
                f"the cross-encoder in {self.folder} gave {_shown(logits)} for a pair, not one finite number or two"
            )
        return float(logits[-1] - (logits[0] if len(logits) == 2 else 0.0))


def load(model: str) -> OnnxCrossEncoder:
    """Load a model from its folder and try it on a pair that fills its window; raises PluginError. No network ever."""
    folder = Path(model)
    with loading(folder, "cross-encoder"):
        window = _window(folder)
        files = open_model(folder, "cross-encoder", window, stride=window // 8, strategy="longest_first")
    encoder = OnnxCrossEncoder(folder, files.session, files.tokenizer, files.inputs, window)
    encoder.best("a", "a " * window)
    return encoder


def _window(folder: Path) -> int:
    for name, key in _LENGTHS:
        told = json.loads((folder / name).read_text("utf-8")).get(key) if (folder / name).exists() else None
        if told:
            return int(max(_FEWEST_TOKENS, min(told, _MOST_TOKENS)))
    return _MOST_TOKENS


def _shown(logits: Any) -> str:
    return counted(len(logits), "number") if len(logits) not in (1, 2) else ", ".join(map(str, logits))
