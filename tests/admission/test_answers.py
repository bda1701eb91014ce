"""Every review that can be read has an answer, in time, and what was not judged is denied."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.admission import judging
from custody.admission.review import MAX_SIZE
from custody.admission.webhook import Admission
from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.server.admission import AdmissionApp
from custody.settings import Settings
from custody.wiring import Platform
from tests.admission.test_webhook import NOW, admission, ask, found, nothing, review
from tests.policy.test_lint import images

ODD = ["x.io:99999/a:1", "a..b.example/x", "[::::]/x:1", "x" * 300, "x" * 70 + ".io/a", "☃", "UPPER/case", "a b", "a@b"]


def message(answer: dict[str, Any]) -> str:
    assert (answer["response"]["uid"], answer["response"]["allowed"]) == ("u-1", False)
    assert answer["response"]["status"]["code"] == 403
    return " ".join(answer["response"]["status"]["message"].split())


def posted(app: AdmissionApp, *chunks: bytes, path: str = "/validate") -> tuple[int, dict[str, Any]]:
    """The HTTP status and the answer."""
    sent: list[dict[str, Any]] = []

    async def send(part: Any) -> None:
        sent.append(part)

    async def main() -> None:
        left = [{"type": "http.request", "body": chunk, "more_body": at < len(chunks) - 1}
                for at, chunk in enumerate(chunks)]

        async def receive() -> Any:
            return left.pop(0)

        await app({"path": path, "method": "POST", "query_string": b"timeout=10s", "headers": []}, receive, send)

    asyncio.run(main())
    return sent[0]["status"], json.loads(sent[1]["body"])


# http-500-fails-open


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("path", ["/validate", "/mutate"])
def test_http_500_fails_open(name: str, path: str) -> None:
    asked = review()
    asked["request"]["object"]["spec"]["containers"].append({"name": "odd", "image": name})
    status, answer = posted(AdmissionApp(admission(images(imageReferences=["*"]), gather=found)),
                            json.dumps(asked).encode(), path=path)
    assert status == 200
    assert "failed to verify image" in message(answer)


def test_a_fault_in_gathering_denies_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(snapshot: Any, names: list[str]) -> Mapping[str, EvidenceSet]:
        raise ValueError("secret")

    status, answer = posted(AdmissionApp(admission(images(), gather=broken)), json.dumps(review()).encode())
    assert status == 200
    assert "unverifiable: gather: gathering failed with an internal error (ValueError)" in message(answer)
    assert "secret" not in json.dumps(answer)
    assert "evidence could not be gathered" in caplog.text


@pytest.mark.parametrize("where", ["needs", "decide"])
def test_a_fault_in_deciding_denies_with_a_reason(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RecursionError("secret")

    monkeypatch.setattr(*((PolicySet, "needs", broken) if where == "needs" else (judging, "decide", broken)))
    status, answer = posted(AdmissionApp(admission(images(), gather=found)), json.dumps(review()).encode())
    assert status == 200
    assert message(answer) == ("resource Pod/default/web was blocked: judging it failed with an internal error "
                               "(RecursionError)")


def test_a_broken_registry_denies_and_the_rest_is_judged() -> None:
    status, answer = posted(AdmissionApp(admission(images(), gather=nothing)), json.dumps(review()).encode())
    assert status == 200
    assert "no evidence was gathered (missing)" in message(answer)


# Deadlines


def test_a_decision_that_is_not_made_in_time_is_a_denial(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()

    def endless(*_: Any, **__: Any) -> None:
        begun.set()
        go.wait(30)

    monkeypatch.setattr(judging, "decide", endless)
    asked = review()
    asked["request"]["object"]["metadata"]["annotations"] = {"large": "x" * 100_000}  # decided beside the event loop

    async def main() -> tuple[bytes, bytes]:
        judge = admission(images(), gather=found)
        late = asyncio.create_task(judge.review(json.dumps(asked).encode(), mutate=False, seconds=2))
        assert await asyncio.to_thread(begun.wait, 30)
        monkeypatch.undo()
        small = await judge.review(json.dumps(review()).encode(), mutate=False)  # nobody waits for the large one
        assert not late.done()
        answer = await late
        go.set()
        return answer, small

    late, small = asyncio.run(main())
    assert message(json.loads(late)) == "resource Pod/default/web was blocked: it was not decided within 1.9 s"
    assert "no signatures found" in message(json.loads(small))


# Sizes


def test_a_review_that_is_too_large_is_denied_and_not_an_error() -> None:
    head = json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "u-1"}})
    app = AdmissionApp(admission())
    status, answer = posted(app, head[:-2].encode() + b',"x":"', *[b"x" * (1 << 20)] * 9, b'"}}')
    assert status == 200
    assert "was blocked: AdmissionReview: got '9437" in message(answer)
    assert posted(app, *[b"x" * (1 << 20)] * 9)[0] == 413


def test_a_review_that_is_too_deep_or_too_heavy_is_denied_and_not_an_error() -> None:
    head = '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1","operation":"CREATE",'
    head += '"kind":{"kind":"Widget"},"object":{"x":'
    app = AdmissionApp(admission())
    deep = posted(app, (head + "[" * 5000 + "]" * 5000 + "}}}").encode())
    assert deep[0] == 200
    assert "nested too deep" in message(deep[1])
    heavy = posted(app, (head + "[" + "[]," * 1_000_000 + "[]]}}}").encode())
    assert heavy[0] == 200
    assert "would take about" in message(heavy[1])
    assert posted(app, b'{"a":' * 5000)[0] == 400
    assert MAX_SIZE > 3_100_000


# One snapshot


def pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def keyed(key: str) -> PolicySet:
    return PolicySet([images(attestors=[{"entries": [{"keys": {"publicKeys": key}}]}])])


def test_stale_keys(tmp_path: Path) -> None:
    old, new = keyed(pem()), keyed(pem())
    asked: list[tuple[Any, ...]] = []

    class Gathering:
        def known(self, images: dict[str, frozenset[str]], keys: Any, **root: Any) -> None:
            asked.append((keys, *images.values(), root.get("root")))

        async def gather(self, images: dict[str, frozenset[str]], keys: Any, **root: Any) -> dict[str, EvidenceSet]:
            self.known(images, keys, **root)
            return {}

    platform = Platform(Settings(data_dir=str(tmp_path)), "http://x")
    judge = platform.admission(old, Gathering())  # type: ignore[arg-type]
    ask(judge, review())
    root: Any = object()
    judge.swap(Snapshot(new, root))
    ask(judge, review())
    before, after = asked[::2], asked[1::2]
    assert before == after == [(tuple(old.public_keys()), old.predicate_types(), None),
                               (tuple(new.public_keys()), new.predicate_types(), root)]
    assert before[0][0] != before[1][0]


def test_a_review_ends_with_the_snapshot_that_it_began_with() -> None:
    old, new = keyed(pem()), PolicySet([])
    go = asyncio.Event()

    async def gather(snapshot: Snapshot, names: list[str]) -> Mapping[str, EvidenceSet]:
        await go.wait()
        assert snapshot.policies is old
        return {}

    async def main() -> dict[str, Any]:
        judge = Admission(old, gather, lambda: NOW)
        under_way = asyncio.create_task(judge.review(json.dumps(review()).encode(), mutate=False))
        await asyncio.sleep(0)
        judge.policies = new
        go.set()
        answer: dict[str, Any] = json.loads(await under_way)
        after = json.loads(await judge.review(json.dumps(review()).encode(), mutate=False))
        assert after["response"]["allowed"] is True
        return answer

    assert "no evidence was gathered" in message(asyncio.run(main()))


def test_bytes_that_are_no_review_stay_http_400() -> None:
    for body in (b"", b"{}", b"[]", b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}'):
        assert posted(AdmissionApp(admission()), body)[0] == 400
    with pytest.raises(MalformedError):
        asyncio.run(admission().review(b"{}", mutate=False))
