"""What is no AdmissionReview, or one that holds whoever reads it: an HTTP error that says why, or a denial.

Nothing of it is allowed that the policy denies, and the webhook answers the next one.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from custody.admission.review import MAX_SIZE
from custody.server.admission import _NEVER
from tests.hostile.doors import app, of_object, posted
from tests.hostile.policies import config_map, denied, legacy, nested, pod, rule
from tests.serving import served

PATHS = ("/validate", "/mutate", "/policies")
DENYING = denied("{{ request.object.metadata.name }}", "web")
"""It denies what is called web, and nothing else."""
POLICY = legacy(rule(kinds=("Secret",), validate={"message": "m", "pattern": {"metadata": {"name": "?*"}}}), name="new")

APP = app(DENYING)


def review(path: str, **change: Any) -> dict[str, Any]:
    made = of_object(POLICY if path == "/policies" else pod())
    return {**made, **change}


def request(path: str, **change: Any) -> dict[str, Any]:
    made = review(path)
    return {**made, "request": {**made["request"], **change}}


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def ask(path: str, *parts: bytes) -> tuple[int, dict[str, Any]]:
    status, body = asyncio.run(posted(APP, path, *parts))
    return status, json.loads(body)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "words"), [
    (b"", "JSON"), (b"{}", "AdmissionReview"), (b"[]", "AdmissionReview"), (b"null", "AdmissionReview"),
    (b'"a"', "AdmissionReview"), (b"1", "AdmissionReview"), (b"\xff\xfe{", "JSON"), (b"{" * 100_000, "JSON"),
    (b"[" * 1_000_000, "JSON"), (b'{"a":' * 100_000, "JSON"), (b"\x00", "JSON"), (b"%", "JSON")])
def test_bytes_that_are_no_review(path: str, body: bytes, words: str) -> None:
    status, said = ask(path, body)
    assert 400 <= status < 500, said
    assert said["error"]
    assert len(said["error"]) < 600
    assert words in said["error"] or "request body" in said["error"] or "AdmissionReview" in said["error"], said


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("change", [
    lambda path: {**review(path), "apiVersion": "admission.k8s.io/v2"},
    lambda path: {**review(path), "apiVersion": ""}, lambda path: {**review(path), "apiVersion": None},
    lambda path: {**review(path), "apiVersion": ["admission.k8s.io/v1"]},
    lambda path: without(review(path), "apiVersion"), lambda path: without(review(path), "kind"),
    lambda path: without(review(path), "request"), lambda path: {**review(path), "kind": "AdmissionReviewList"},
    lambda path: {**review(path), "request": None}, lambda path: {**review(path), "request": []},
    lambda path: {**review(path), "request": "a"}, lambda path: [review(path)],
    lambda path: {**review(path), "request": without(review(path)["request"], "uid")},
    lambda path: {**review(path), "request": without(review(path)["request"], "kind")},
    lambda path: {**review(path), "request": without(review(path)["request"], "operation")},
    lambda path: request(path, uid=None), lambda path: request(path, uid=7), lambda path: request(path, kind="Pod"),
    lambda path: request(path, operation="PATCH"), lambda path: request(path, operation=["CREATE"]),
    lambda path: request(path, object=[]), lambda path: request(path, object="a"),
    lambda path: request(path, userInfo=[]), lambda path: request(path, namespace={})])
def test_shapes_that_are_no_review(path: str, change: Any) -> None:
    status, said = ask(path, json.dumps(change(path)).encode())
    assert 400 <= status < 500, said
    assert "expected" in said["error"]
    assert "got" in said["error"]
    assert len(said["error"]) < 600


@pytest.mark.parametrize("version", ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"])
def test_both_versions_are_answered_in_their_own(version: str) -> None:
    for path in PATHS:
        status, said = ask(path, json.dumps(review(path, apiVersion=version)).encode())
        assert (status, said["apiVersion"], said["response"]["uid"]) == (200, version, "u-1")
        assert said["response"]["allowed"] is (path != "/validate")


@pytest.mark.parametrize("body", [
    b'{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "metadata": {"name": "web"}}',
    b'{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "\xff"}}',
    b'{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "\\ud800"}}',
    b'{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": NaN}}',
    b'{"kind": "Pod", "apiVersion": "v1", "metadata": {"generation": 1e999999999}}',
    b'{"kind": "Pod", "apiVersion": "v1", "spec": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}"])
@pytest.mark.parametrize("path", PATHS[:2])
def test_objects_that_two_could_read_differently(path: str, body: bytes) -> None:
    """They are refused, or judged as the API server, which decoded them before, reads them: never passed unread."""
    text = json.dumps(request(path, object={"x": 1})).encode().replace(b'{"x": 1}', body)
    status, said = ask(path, text)
    if status == 200:
        response = said["response"]
        assert response["allowed"] is False or path == "/mutate" or b"999999" in body, said
    else:
        assert 400 <= status < 500
        assert len(said["error"]) < 600


@pytest.mark.parametrize("path", PATHS[:2])
@pytest.mark.parametrize("made", [
    lambda: config_map(3_000_000, "web"), lambda: pod(10_000),
    lambda: config_map(1, "web") | {"data": {f"k{at}": "v" for at in range(100_000)}},
    lambda: pod() | {"spec": nested(400)}])
def test_large_objects_are_judged(path: str, made: Any) -> None:
    status, said = ask(path, json.dumps(of_object(made())).encode())
    assert status == 200
    assert said["response"]["allowed"] is (path == "/mutate")
    assert path == "/mutate" or "web" in said["response"]["status"]["message"]


@pytest.mark.parametrize("path", PATHS)
def test_what_is_larger_than_a_review_can_be(path: str) -> None:
    large = json.dumps(request(path, oldObject={"a": "a" * MAX_SIZE})).encode()
    status, said = ask(path, *(large[at:at + 65536] for at in range(0, len(large), 65536)))
    if status == 200:
        assert said["response"]["uid"] == "u-1"
        assert said["response"]["allowed"] is False
        assert "at most" in said["response"]["status"]["message"]
    else:
        assert status == 413
        assert "at most" in said["error"]


@pytest.mark.parametrize("path", PATHS)
def test_a_body_without_end(path: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent <= 2 * _NEVER:
            sent += 1 << 20
            yield b" " * (1 << 20)

    async def main() -> tuple[int, bytes]:
        parts, answer = endless(), []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": next(parts), "more_body": True}

        async def send(message: dict[str, Any]) -> None:
            answer.append(message)
        await APP({"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []},
                  receive, send)  # type: ignore[arg-type]
        return answer[0]["status"], answer[1]["body"]

    status, body = asyncio.run(main())
    assert status == 413
    assert "at most" in json.loads(body)["error"]
    assert sent <= _NEVER + (1 << 21)


def test_chunks_that_are_none_and_the_next_caller() -> None:
    with served(APP) as url:
        place = urlsplit(url)
        assert place.hostname is not None
        assert place.port is not None
        for path in PATHS:
            for chunks in (b"zz\r\n", b"-1\r\n", b"ffffffffffffffffffffff\r\n", b"5\r\nabc", b"1" * 100_000):
                with socket.create_connection((place.hostname, place.port), 10) as connection:
                    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
                                       + chunks)
                    connection.shutdown(socket.SHUT_WR)
                    try:
                        answer = connection.recv(100)
                    except OSError:  # it was cut off
                        answer = b""
                    assert answer[:13] in (b"", b"HTTP/1.1 400 ", b"HTTP/1.1 413 "), answer
        status, said = asyncio.run(posted(APP, "/validate", json.dumps(review("/validate")).encode()))
        assert status == 200
        assert json.loads(said)["response"]["allowed"] is False
