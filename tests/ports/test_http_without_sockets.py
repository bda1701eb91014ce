"""What every HTTP adapter must do, of those that answer from this machine: an OCI layout, and what was kept before."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.filesystem.layout import LayoutHttp
from custody.errors import NetworkError, UnsupportedError
from custody.formats.revocationanswers import Exchange
from custody.kit.digest import sha256
from custody.ports.http import Content, Http
from custody.registry.layout import Layout
from custody.sign.notary.stapled import RecordingHttp, StapledHttp

DATA = bytes(range(256)) * 2000
URL = f"http://layout.example/v2/app/blobs/{sha256(DATA)}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / sha256(DATA)[7:]).write_bytes(DATA)
    (tmp_path / "layout" / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (tmp_path / "layout" / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    return tmp_path / "layout"


@pytest.fixture(params=["layout", "recording", "stapled"])
def http(request: pytest.FixtureRequest, folder: Path) -> Http:
    if request.param == "stapled":
        return StapledHttp([Exchange("GET", URL, b"", DATA)])
    layout = LayoutHttp(Layout(folder))
    return layout if request.param == "layout" else RecordingHttp(layout)


def run(http: Http, work: Callable[[Http], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        try:
            return await work(http)
        finally:
            await http.close()

    return asyncio.run(main())


def test_the_body_whole_and_in_pieces(http: Http) -> None:
    async def work(http: Http) -> tuple[int, bytes, bytes]:
        async with await http.request("GET", URL) as answer:
            whole = await answer.read(len(DATA))
        async with await http.request("GET", URL, headers={"Accept": "*/*"}) as answer:
            assert all(name == name.lower() for name in answer.headers)
            return answer.status, whole, b"".join([piece async for piece in answer.chunks()])

    assert run(http, work) == (200, DATA, DATA)


def test_more_than_the_limit(http: Http) -> None:
    async def work(http: Http) -> None:
        async with await http.request("GET", URL) as answer:
            await answer.read(len(DATA) - 1)

    with pytest.raises(NetworkError, match=f"got more than {len(DATA) - 1} bytes"):
        run(http, work)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", f"v2/app/blobs/{sha256(b'')}", 404), ("GET", "v2/app/manifests/v1", 404), ("GET", "elsewhere", 404),
    ("HEAD", f"v2/app/blobs/{sha256(DATA)}", 200), ("DELETE", "v2/app/manifests/v1", 405), ("GET", "v2/", 200)])
@pytest.mark.parametrize("recording", [False, True])
def test_every_answer_is_one_whatever_its_status(method: str, path: str, status: int, recording: bool, folder: Path
                                                 ) -> None:
    layout: Http = LayoutHttp(Layout(folder))
    recorder = RecordingHttp(layout)

    async def work(http: Http) -> tuple[int, bytes]:
        async with await http.request(method, f"http://layout.example/{path}") as answer:
            return answer.status, await answer.read(1 << 16)

    given, body = run(recorder if recording else layout, work)
    assert given == status
    assert method != "HEAD" or body == b""
    # What is kept is what was answered well.
    assert len(recorder.exchanges) == (recording and status == 200)


@pytest.mark.parametrize(("method", "url", "body"), [
    ("POST", URL, b""), ("GET", f"{URL}?n=1", b""), ("GET", URL, b"more"),
    ("GET", URL.replace("http:", "https:"), b"")])
def test_what_was_not_asked_before_is_no_answer(method: str, url: str, body: bytes) -> None:
    with pytest.raises(NetworkError, match="nothing is stapled that answers this"):
        run(StapledHttp([Exchange("GET", URL, b"", DATA)]), lambda http: http.request(method, url, body=body))


def test_a_body_that_is_not_in_memory_is_not_kept(folder: Path) -> None:
    content = Content(4, lambda: io.BytesIO(b"data"))
    with pytest.raises(UnsupportedError, match="a request is kept with its body"):
        run(RecordingHttp(LayoutHttp(Layout(folder))), lambda http: http.request("POST", URL, body=content))
    with pytest.raises(NetworkError, match="nothing is stapled"):
        run(StapledHttp([]), lambda http: http.request("POST", URL, body=content))
