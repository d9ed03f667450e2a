"""Replayer: answers from a folder of recordings, sends nothing and opens no connector.

The n-th time that something is asked it gives the n-th response, and the last one from then on. A whole answer is
replayed for a stream, and a stream for a whole answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from nexus_core.config.yaml.environment import CompletedEnvironment
from nexus_core.contract.errors import ConnectorError, UsageError
from nexus_core.contract.values import Chunk
from nexus_core.engine.calls.stream_accumulator import chunk_of
from nexus_core.engine.interceptors import ConnectorRequest, Interceptor
from nexus_core.recordings.canonical_request import canonical_request, digest, file_name
from nexus_core.recordings.nearest import RecordingIndex
from nexus_core.recordings.recorder import Recorder
from nexus_core.recordings.recording_file import NoRecordingError, read_recording, recordings_in, unusable
from nexus_core.recordings.response_fields import ResponseFieldError, check_response
from nexus_core.recordings.responses import CLASSES, read_chunks, read_completion, read_error, read_results

T = TypeVar("T")

SUBSTITUTE = "https://replay.invalid"
"""Stands for each variable of the environment that a pipeline needs and a replay lacks; RFC 6761 keeps it from ever
leading anywhere."""


class Replayer(Interceptor):
    """Replays a folder of recordings; raises NoRecordingError for what none of them answers."""

    sends = False

    def __init__(self, folder: Path) -> None:
        """Take the folder; raises UsageError where there are no recordings in it."""
        if not folder.is_dir() or not recordings_in(folder):
            why = "holds no recordings" if folder.is_dir() else "is no folder"
            raise UsageError(f"cannot replay {folder}: it {why}; record a run with --record {folder}")
        self._folder = folder
        self._index = RecordingIndex(folder)
        self._answered: dict[str, int] = {}

    async def call(self, request: ConnectorRequest, send: Callable[[], Awaitable[T]]) -> T:
        """Return the recorded answer, vectors or relevances, or raise the recorded error."""
        response, path = self._next(request)
        found: Any
        with _readable(path):
            check_response(response, CLASSES)
            found = read_completion(response) if request.prompt is not None else read_results(response)
        return found  # type: ignore[no-any-return]  # what the method returns

    async def stream(
        self, request: ConnectorRequest, send: Callable[[], AsyncIterator[Chunk]]
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the recorded chunks, and raise the recorded error where the stream ended with one."""
        response, path = self._next(request)
        with _readable(path):
            check_response(response, CLASSES)
            error = read_error(response)
            if "chunks" in response or error is not None:
                chunks = read_chunks(response)
            else:
                chunks = [chunk_of(read_completion(response))]
        for chunk in chunks:
            yield chunk
        if error is not None:
            raise error

    def _next(self, request: ConnectorRequest) -> tuple[Mapping[str, Any], Path]:
        canonical = canonical_request(request)
        name = file_name(canonical)
        path = self._folder / name
        recording = read_recording(path)
        if recording is None or digest(recording.request) != digest(canonical):
            raise NoRecordingError(
                f"no recording in {self._folder} answers this request of {request.model!r}; "
                + self._index.difference(canonical),
                provider=request.info.provider,
                model=request.info.id,
            )
        place = self._answered.get(name, 0)
        self._answered[name] = place + 1
        return recording.responses[min(place, len(recording.responses) - 1)], path


def recording_interceptor(record: Path | None = None, replay: Path | None = None) -> Interceptor | None:
    """Return what records into a folder, or replays one, for `Pipeline.load(..., interceptor=...)`; `None` for neither.

    Raises UsageError for both, for a folder that cannot be made, and for one without recordings.
    """
    if record is not None and replay is not None:
        raise UsageError("--record and --replay exclude one another: record anew, or replay what is there")
    if replay is not None:
        return Replayer(replay)
    return None if record is None else Recorder(record)


def replay_environment(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return an environment for `Pipeline.load` in which a variable that is needed and not set is `SUBSTITUTE`."""
    return CompletedEnvironment(environment, SUBSTITUTE)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Tell of a response that cannot be read by its file; a recorded error passes."""
    try:
        yield
    except ConnectorError:
        raise
    except ResponseFieldError as error:
        raise unusable(path, f"in a response {error}") from error
    except KeyError as error:
        raise unusable(path, f"in a response the key `{error.args[0]}` is missing") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise unusable(path, f"a response cannot be read ({type(error).__name__}: {error})") from error
