"""Gatekeeper's external data over real TLS: providers that answer, hang, lie, redirect, or are somebody else."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from custody.adapters.http import providers
from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.providers import ClientFiles, ProviderClient, ProviderLookup
from custody.admission.certs import ServingCertificate
from custody.admission.judging import Judged, Judging
from custody.kit.clock import system_clock
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Request, Verdict
from custody.policy.phases import Course
from custody.policy.record import replay
from custody.policy.snapshot import Snapshot
from custody.ports.http import secured
from custody.ports.lookup import Answer, Answered, ExternalData, Failed, NamespaceLabels
from custody.server.asgi import read_body
from tests.policy.gatekeeper.test_mutators import external
from tests.policy.gatekeeper.world import Json, constraint, pod, provider, template
from tests.server.test_certificates import Authority
from tests.serving import served

SOURCE = """package images
violation[{"msg": msg}] {
  response := external_data({"provider": "scan", "keys": [image | image := input.review.object.spec.containers[_].image]})
  verdict := response.responses[_]
  verdict[1] == "bad"
  msg := sprintf("%v is bad", [verdict[0]])
}
violation[{"msg": msg}] {
  response := external_data({"provider": "scan", "keys": [image | image := input.review.object.spec.containers[_].image]})
  error := response.errors[_]
  msg := sprintf("%v: %v", [error[0], error[1]])
}"""


def told(*items: Json, **more: Any) -> Json:
    return {"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderResponse",
            "response": {"idempotent": True, "items": [*items], **more}}


GOOD = told({"key": "nginx", "value": "good"})


class Stand:
    """A provider that answers what it is told to."""

    def __init__(self) -> None:
        self.status, self.answer, self.wait = 200, GOOD, 0.0
        self.headers: list[tuple[bytes, bytes]] = []
        self.asked: list[Any] = []
        self.sent: dict[str, str] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.sent = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = await read_body(receive, 1 << 22)
        self.asked.append(json.loads(body))
        await asyncio.sleep(self.wait)
        answer = self.answer(self.asked[-1]) if callable(self.answer) else self.answer
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        await send({"type": "http.response.start", "status": self.status,
                    "headers": [(b"content-length", b"%d" % len(data)), *self.headers]})
        await send({"type": "http.response.body", "body": data})


class Place:
    def __init__(self, stand: Stand, url: str, authority: str, folder: Path) -> None:
        self.stand, self.url, self.authority, self.folder = stand, url, authority, folder

    def question(self, *keys: str, timeout: int = 5, **more: Any) -> ExternalData:
        return msgspec.structs.replace(
            ExternalData("scan", keys or ("nginx",), f"{self.url}/validate", timeout, self.authority), **more)

    def provider(self, **more: Any) -> Json:
        return provider("scan", url=f"{self.url}/validate", caBundle=base64.b64encode(self.authority.encode()).decode(),
                        **{"timeout": 5, **more})


@contextmanager
def standing(folder: Path, client_ca: Path | None = None) -> Iterator[Place]:
    certificate = ServingCertificate(folder / "certificates", ["127.0.0.1"])
    certificate.ensure(system_clock())
    stand = Stand()
    with served(stand, certificate=certificate.certificate, key=certificate.key, client_ca=client_ca) as url:
        yield Place(stand, url, certificate.ca_bundle.decode(), folder)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with standing(tmp_path) as made:
        yield made


def using(work: Callable[[ProviderClient], Awaitable[Any]], files: ClientFiles | None = None, **given: Any) -> Any:
    async def main() -> Any:
        http = AiohttpHttp()
        try:
            return await work(ProviderClient(partial(secured, http), files, **given))
        finally:
            await http.close()
            await asyncio.sleep(0.05)  # until TLS that was broken off has said goodbye: the loop ends here

    return asyncio.run(main())


def ask(question: ExternalData, files: ClientFiles | None = None, **given: Any) -> Answer:
    return using(lambda client: client.ask(question), files, **given)  # type: ignore[no-any-return]


def test_the_protocol_to_the_letter(place: Place) -> None:
    assert ask(place.question()) == Answered(
        {"response": {"idempotent": True, "items": [{"key": "nginx", "value": "good"}], "systemError": ""}})
    assert place.stand.asked == [{"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest",
                                  "request": {"keys": ["nginx"]}}]
    assert place.stand.sent["content-type"] == "application/json"


@pytest.mark.parametrize(("answer", "reason"), [
    (b"<html>", "expected one JSON document"), (b"", "expected one JSON document"), ([], "expected a ProviderResponse"),
    (b'{"kind":"ProviderResponse","kind":"ProviderResponse"}', "kind"),
    ({**GOOD, "kind": "ProviderRequest"}, "kind: got 'ProviderRequest', expected ProviderResponse"),
    ({**GOOD, "apiVersion": "v1"}, "apiVersion: got 'v1'"), ({**GOOD, "response": None}, "response: got null"),
    ({**GOOD, "response": {"items": {}}}, "response.items: got a map"),
    (told("nginx"), "items[0]: got "),  # type: ignore[arg-type]
    (told(), "got 'nothing about nginx'"), (told({"key": "other", "value": "good"}), "items[0].key: got 'other'"),
    (told({"key": "nginx", "value": "good"}, {"key": "nginx", "value": "good"}), "items[1].key: got 'nginx', expected one of the keys"),
    (told({"key": "nginx", "error": 1}), "items[0].error"), (told(systemError=7), "response.systemError"),
    (told({"key": "nginx"}, idempotent="yes"), "response.idempotent"),
    (b"[" * 400 + b"]" * 400, "nest"), (b" " * (2 << 20) + b"{}", "more than 2097152 bytes"),
    (b"[" + b"{}," * 600_000 + b"{}]", "few small parts")])
def test_a_provider_that_lies(place: Place, answer: Any, reason: str) -> None:
    place.stand.answer = answer
    failed = ask(place.question())
    assert isinstance(failed, Failed)
    assert reason in failed.reason, failed.reason
    assert len(failed.reason) <= 500


@pytest.mark.parametrize(("status", "reason"), [
    (302, "answered 302; redirects are not followed"), (307, "answered 307; redirects"), (403, "answered 403"), (500, "answered 500")])
def test_only_200_is_an_answer(place: Place, status: int, reason: str) -> None:
    place.stand.status = status
    place.stand.headers = [(b"location", place.url.encode() + b"/other")]
    failed = ask(place.question())
    assert isinstance(failed, Failed)
    assert reason in failed.reason
    assert len(place.stand.asked) == 1


def test_one_that_hangs_ends_with_its_own_timeout(place: Place) -> None:
    place.stand.wait = 5
    begun = time.monotonic()
    assert ask(place.question(timeout=1)) == Failed(f"{place.url}/validate: no answer within 1 s")
    assert time.monotonic() - begun < 2


def test_one_that_hangs_holds_up_no_other(place: Place, tmp_path: Path) -> None:
    place.stand.wait = 2

    async def work(client: ProviderClient) -> float:
        hanging = [asyncio.create_task(client.ask(place.question(f"k{at}", timeout=1))) for at in range(40)]
        await asyncio.sleep(0.1)
        begun = asyncio.get_running_loop().time()
        assert isinstance(await client.ask(other.question()), Answered)
        took = asyncio.get_running_loop().time() - begun
        assert all(isinstance(answer, Failed) for answer in await asyncio.gather(*hanging))
        return took

    with standing(tmp_path / "other") as other:
        assert using(work) < 0.8


def test_nobody_is_believed_but_by_the_bundle(place: Place, tmp_path: Path) -> None:
    stranger = Authority("stranger").pem.decode()
    assert "certificate verify failed" in ask(place.question(authorities=stranger)).reason  # type: ignore[union-attr]
    named = place.question(url=place.url.replace("127.0.0.1", "localhost") + "/validate")
    certificate = ServingCertificate(tmp_path / "named", ["elsewhere.example"])
    certificate.ensure(system_clock())
    with served(Stand(), certificate=certificate.certificate, key=certificate.key) as url:
        failed = ask(place.question(url=f"{url}/validate", authorities=certificate.ca_bundle.decode()))
    assert "certificate verify failed" in failed.reason  # type: ignore[union-attr]
    assert "localhost" in named.url
    assert place.stand.asked == []


@pytest.mark.parametrize(("newest", "reason"), [
    (ssl.TLSVersion.TLSv1_2, "Cannot connect to host"), (ssl.TLSVersion.TLSv1_3, "disconnected")])
def test_tls_before_1_3_is_refused(tmp_path: Path, newest: ssl.TLSVersion, reason: str) -> None:
    """A server that hangs up on every request: by TLS 1.3 there is one."""
    certificate = ServingCertificate(tmp_path, ["127.0.0.1"])
    certificate.ensure(system_clock())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    context.maximum_version = newest
    requests: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readline())
        writer.close()

    async def main() -> Answer:
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        http = AiohttpHttp()
        try:
            return await ProviderClient(partial(secured, http)).ask(ExternalData(
                "scan", ("nginx",), f"https://127.0.0.1:{port}/", 2, certificate.ca_bundle.decode()))
        finally:
            await http.close()
            server.close()

    failed = asyncio.run(main())
    assert isinstance(failed, Failed)
    assert reason in failed.reason
    assert bool(requests) is (newest is ssl.TLSVersion.TLSv1_3)


def test_mutual_tls(tmp_path: Path) -> None:
    authority, stranger = Authority("ours"), Authority("stranger")
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    for name, signer in (("ours", authority), ("stranger", stranger)):
        certificate, key = signer.leaf()
        (tmp_path / f"{name}.crt").write_bytes(certificate)
        (tmp_path / f"{name}.key").write_bytes(key)
        (tmp_path / f"{name}.key").chmod(0o600)
    ours = ClientFiles(tmp_path / "ours.crt", tmp_path / "ours.key")
    with standing(tmp_path / "server", tmp_path / "ca.crt") as place:
        assert isinstance(ask(place.question(), ours), Answered)
        for files in (None, ClientFiles(tmp_path / "stranger.crt", tmp_path / "stranger.key")):
            failed = ask(place.question(), files)
            assert isinstance(failed, Failed)
            assert re.search("disconnected|alert", failed.reason), failed.reason  # whichever is heard first
        missing = ask(place.question(), ClientFiles(tmp_path / "none.crt", tmp_path / "ours.key"))
        assert "none.crt: No such file" in missing.reason  # type: ignore[union-attr]
        mixed = ask(place.question(), ClientFiles(tmp_path / "ours.crt", tmp_path / "stranger.key"))
        assert "expected a certificate in PEM and its key" in mixed.reason  # type: ignore[union-attr]
        assert len(place.stand.asked) == 1


def test_what_was_said_counts_for_its_time_and_what_failed_does_not(place: Place) -> None:
    place.stand.answer = lambda asked: told(*(  # type: ignore[assignment]
        {"key": key, "error": "unknown"} if key == "odd" else {"key": key, "value": f"{key}!"}
        for key in asked["request"]["keys"]))
    now = [0.0]

    async def work(client: ProviderClient) -> None:
        question = place.question("a", "odd", "b")
        assert client.known(question) is None
        first = await client.ask(question)
        assert isinstance(first, Answered)
        assert [item["key"] for item in first.value["response"]["items"]] == ["a", "odd", "b"]
        assert client.known(question) is None  # what failed is asked again
        assert await client.ask(place.question("c", "odd", "a")) != first
        assert [asked["request"]["keys"] for asked in place.stand.asked] == [["a", "odd", "b"], ["c", "odd"]]
        assert isinstance(client.known(place.question("a", "b", "c")), Answered)
        assert client.known(place.question("a", authorities=place.authority * 2)) is None  # another provider's
        now[0] = 180.0
        assert client.known(place.question("a")) is None

    using(work, clock=lambda: now[0])


def test_what_is_kept_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.adapters.http.providers._MAX_KEPT", 3)
    place.stand.answer = lambda asked: told(*({"key": key, "value": 1} for key in asked["request"]["keys"]))  # type: ignore[assignment]

    async def work(client: ProviderClient) -> None:
        await client.ask(place.question("a", "b", "c", "d"))
        assert [client.known(place.question(key)) is not None for key in "abcd"] == [False, True, True, True]

    using(work)


def test_too_many_keys_are_not_asked(place: Place) -> None:
    failed = ask(place.question(*(f"k{at}" for at in range(1001))))
    assert isinstance(failed, Failed)
    assert "1001 keys" in failed.reason
    assert place.stand.asked == []


def test_other_questions_go_on() -> None:
    async def work(client: ProviderClient) -> Answer:
        return await ProviderLookup(client).answer(NamespaceLabels("shop"))

    assert isinstance(using(work), Failed)
    assert isinstance(ask(ExternalData("scan", ("nginx",))), Failed)


# ── in a decision ───────────────────────────────────────────────────────────────────────────────────────────────────

def judged(place: Place, policies: list[Json], document: Json, *, seconds: float = 5) -> Judged:
    async def work(client: ProviderClient) -> Judged:
        async def gather(*_: object) -> dict[str, Any]:
            return {}

        judging = Judging(gather, system_clock, ProviderLookup(client))
        deadline = asyncio.get_running_loop().time() + seconds
        return await judging.judge(Request.create(document), Snapshot(PolicySet.load([*policies, place.provider()])),
                                   Course.ADMISSION, deadline=deadline)

    return using(work)  # type: ignore[no-any-return]


def test_a_template_asks_and_a_replay_asks_nobody(place: Place) -> None:
    policies = [template(SOURCE, schema=None), {**constraint(), "spec": {}}]
    good = judged(place, policies, pod())
    assert good.decision.verdict is Verdict.ALLOWED
    place.stand.answer = told({"key": "nginx", "value": "bad"})
    bad = judged(place, policies, pod())
    assert [result.message for result in bad.decision.results] == ["nginx is bad"]
    place.stand.answer = told({"key": "nginx", "error": "not scanned"})
    assert [result.message for result in judged(place, policies, pod()).decision.results] == ["nginx: not scanned"]
    asked = len(place.stand.asked)
    for made in (good, bad):
        again = replay(made.record())
        assert again.inputs_digest == made.decision.inputs_digest
        assert again.verdict is made.decision.verdict
    assert len(place.stand.asked) == asked


@pytest.mark.parametrize(("change", "reason"), [
    ({"wait": 3.0}, "not answered within"), ({"status": 302}, "redirects are not followed"),
    ({"answer": b"<html>"}, "expected one JSON document"), ({"answer": told()}, "got 'nothing about nginx'"),
    ({"answer": told({"key": "nginx", "value": "good"}, systemError="down")}, "provider scan: down"),
    ({"answer": told(systemError="the database is away")}, "provider scan: the database is away")])
def test_a_failure_never_allows_where_the_template_does_not_look(place: Place, change: dict[str, Any], reason: str) -> None:
    for name, value in change.items():
        setattr(place.stand, name, value)
    decision = judged(place, [template(SOURCE, schema=None), {**constraint(), "spec": {}}], pod(), seconds=1).decision
    [result] = decision.results
    assert (decision.verdict, result.outcome) == (Verdict.DENIED, "error")
    assert reason in result.message
    assert "nothing is known against the object" in result.message


def test_a_template_may_say_itself_what_a_failure_means(place: Place) -> None:
    place.stand.status = 500
    source = SOURCE + """
violation[{"msg": msg}] {
  response := external_data({"provider": "scan", "keys": ["nginx"]})
  response.system_error != ""
  msg := sprintf("%v: nobody knows", [response.status_code])
}"""
    decision = judged(place, [template(source, schema=None), {**constraint(), "spec": {}}], pod()).decision
    assert [result.message for result in decision.results] == ["500: nobody knows"]


@pytest.mark.parametrize("command", [("check",), ("policy", "apply", "--filename")])
def test_commands_ask_too(place: Place, tmp_path: Path, command: tuple[str, ...]) -> None:
    folder, bad = tmp_path / "policies", tmp_path / "pod.yaml"
    folder.mkdir()
    for name, document in (("template", template(SOURCE, schema=None)), ("constraint", {**constraint(), "spec": {}}),
                           ("provider", place.provider(timeout=20))):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    bad.write_text(yaml.safe_dump(pod()))
    arguments = ["check", str(bad), "--policy", str(folder)] if command == ("check",) else [
        *command, str(folder), "--filename", str(bad)]

    def said() -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-m", "custody.cli.main", *arguments], cwd=tmp_path, capture_output=True,
                              text=True, timeout=120, check=False)
        return done.returncode, done.stdout

    assert said()[0] == 0
    place.stand.answer = told({"key": "nginx", "value": "bad"})
    code, out = said()
    assert (code != 0, "nginx is bad" in out) == (True, True), out
    place.stand.answer = b"<html>"
    code, out = said()
    assert (code != 0, "expected one JSON document" in out) == (True, True), out


def test_mutators_ask_too(place: Place) -> None:
    place.stand.answer = told({"key": "nginx", "value": "nginx@sha256:" + "1" * 64})
    mutators = [external(provider="scan")]
    made = judged(place, mutators, pod())
    assert made.decision.patch == [{"op": "replace", "path": "/spec/containers/0/image", "value": "nginx@sha256:" + "1" * 64}]
    place.stand.answer = told({"key": "nginx", "value": "x"}, idempotent=False)
    refused = judged(place, mutators, pod()).decision
    assert refused.verdict is Verdict.DENIED
    assert "not idempotent" in refused.results[0].message
    default = judged(place, [external(provider="scan", failurePolicy="UseDefault", default="a:1")], pod())
    assert default.decision.patch[0]["value"] == "a:1"
    assert decide(default.request, {}, default.snapshot.policies, default.context, at=default.at,
                  answers=default.answers).patch == default.decision.patch


def test_a_client_is_closed_after_the_last_who_asks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_CLIENTS", 1)
    closed: list[str] = []
    made: list[str] = []

    async def main() -> list[Answer]:
        http = AiohttpHttp()

        def opened(context: ssl.SSLContext) -> Any:
            client, name = secured(http, context), f"client {len(made)}"
            made.append(name)
            close = client.close

            async def note() -> None:
                closed.append(name)
                await close()

            client.close = note  # type: ignore[method-assign]
            return client

        asking = ProviderClient(opened, keep=0)
        place.stand.wait = 0.5
        first = asyncio.create_task(asking.ask(place.question()))
        await asyncio.sleep(0.2)
        place.stand.wait = 0.0
        second = await asking.ask(place.question(provider="other"))
        assert closed == []
        answers = [await first, second]
        assert closed == ["client 0"]
        await http.close()
        return answers

    first, second = asyncio.run(main())
    assert isinstance(first, Answered), first
    assert isinstance(second, Answered), second
    assert made == ["client 0", "client 1"]
