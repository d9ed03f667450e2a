"""Recording files: one JSON file for each request, with its responses in order, made to be read and compared.

Keys are sorted, lists of numbers take one line, and nothing in a file depends on when or where it was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Any, ClassVar

from attrs import frozen

from nexus_core.contract.errors import InvalidRequestError
from nexus_core.toolkit.atomic_file import sweep, whole_file

FORMAT = 1
TIMING = ".timing.json"
"""How the names of files with times end."""

_BEGINS = b'{\n  "format"'
_STEP = "  "


class RecordingError(InvalidRequestError):
    """A recording cannot be read or written; the same request would fail again, and no other model may answer it."""

    kind: ClassVar[str] = "recording"

    def __init__(self, message: str, *, provider: str = "", model: str = "") -> None:
        super().__init__(message, provider=provider, model=model, request_sent=False)


class NoRecordingError(RecordingError):
    """No recording answers a request; the message shows how it differs from the nearest one."""

    kind = "no_recording"


@frozen(kw_only=True, eq=False)
class Recording:
    """What a file holds."""

    request: Mapping[str, Any]
    responses: Sequence[Mapping[str, Any]]


def read_recording(path: Path) -> Recording | None:
    """Return what a file holds, `None` where there is none; raises RecordingError where it cannot be used."""
    found = _read(path)
    if found is None:
        return None
    request: Any = found.get("request")
    responses: Any = found.get("responses")
    if not isinstance(request, dict) or not _are_mappings(responses):
        raise unusable(path, "it has no request, or no list of responses")
    return Recording(request=request, responses=responses)


def read_timing(path: Path) -> Sequence[Any]:
    """Return the times beside a recording, one for each response; none where they cannot be used."""
    try:
        found = (_read(timing_of(path)) or {}).get("responses")
    except RecordingError:
        return ()
    return found if isinstance(found, list) else ()


def timing_of(path: Path) -> Path:
    """Return the file with the times of a recording."""
    return path.with_name(path.name.removesuffix(".json") + TIMING)


def write_recording(path: Path, recording: Recording, timing: Sequence[Any]) -> None:
    """Replace a recording, and the times beside it; raises RecordingError where that cannot be done."""
    try:
        _write(path, {"format": FORMAT, "request": recording.request, "responses": recording.responses})
        _write(timing_of(path), {"format": FORMAT, "responses": timing})
    except OSError as error:
        raise RecordingError(f"cannot write the recording {path}: {error.strerror or error}") from error


def recordings_in(folder: Path) -> list[Path]:
    """Return the files of a folder that hold recordings, by name."""
    return sorted(path for path in folder.glob("*.json") if not path.name.endswith(TIMING))


def sweep_folder(folder: Path) -> None:
    """Delete what writers that were killed have left."""
    sweep(folder, r"\..*\.json-", _BEGINS)


def pretty(value: Any, indent: str = "") -> str:
    """Return JSON text of a value: keys sorted, each part in a line of its own, numbers of a list in one."""
    inner = indent + _STEP
    if isinstance(value, Mapping) and value:
        parts = [f"{inner}{_scalar(str(key))}: {pretty(value[key], inner)}" for key in sorted(value)]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and value:
        if all(isinstance(part, int | float) for part in value):
            return "[" + ", ".join(map(_scalar, value)) + "]"
        return "[\n" + ",\n".join(f"{inner}{pretty(part, inner)}" for part in value) + f"\n{indent}]"
    return _scalar(value)


def unusable(path: Path, why: str) -> RecordingError:
    """Return the error of a file that holds no recording."""
    return RecordingError(f"the recording {path} cannot be used: {why}; delete it and record it again with --record")


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)  # what a plugin gives that is no JSON, as it shows itself
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair, which UTF-8 does not have
        return json.dumps(value)
    return text


def _read(path: Path) -> dict[str, Any] | None:
    try:
        if not S_ISREG(path.stat().st_mode):  # to open a pipe would wait for a writer
            raise RecordingError(f"cannot read the recording {path}: it is no regular file; delete it")
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordingError(f"cannot read the recording {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise unusable(path, f"it is damaged or cut ({error})") from error
    version = found.get("format") if isinstance(found, dict) else None
    if type(version) is not int or version < 1:
        raise unusable(path, "it is no recording")
    if version > FORMAT:
        raise RecordingError(
            f"the recording {path} was written by a newer version (format {version}, this one reads {FORMAT}): "
            "update contextnexus, or record it again with --record"
        )
    return found  # type: ignore[no-any-return]  # a dictionary, as looked at above


def _are_mappings(responses: Any) -> bool:
    return isinstance(responses, list) and bool(responses) and all(isinstance(part, dict) for part in responses)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with whole_file(path, begins=_BEGINS, sweeps=False) as file:
        file.write(f"{pretty(content)}\n".encode())
