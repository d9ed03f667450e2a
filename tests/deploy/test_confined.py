"""The server runs where it may write nothing but its data, as it does in the image."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

import pytest

from tests.bench.confined import NOBODY, confined, data_folder, missing, served

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
BODY = (
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="leave.md"\r\n\r\n'
    b"# Leave\nEverybody has 28 days of leave.\r\n--x--\r\n"
)


def asked(address: str, body: bytes, kind: str) -> object:
    """Return what a server answers."""
    with urlopen(Request(address, body, {"Content-Type": kind}), timeout=60) as answer:
        return json.load(answer)


def test_a_server_with_nothing_to_write_but_its_data_reads_and_answers() -> None:
    """As nobody: a document is read by the reader process, kept, found and quoted."""
    with data_folder() as data, served(confined(data), data) as (address, _):
        asked(f"{address}/api/contexts", b'{"name": "handbook"}', "application/json")
        asked(f"{address}/api/contexts/handbook/documents", BODY, "multipart/form-data; boundary=x")
        question = {"query": "How many days of leave?", "contextId": "handbook"}
        answer = asked(f"{address}/api/queries", json.dumps(question).encode(), "application/json")
        owner = (data / "store" / "store.db").stat().st_uid
    assert "28 days" in json.dumps(answer)
    assert owner == NOBODY
