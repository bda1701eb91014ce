"""The pods of a namespace, asked of API servers that list them in pages, slowly, wrongly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from custody.adapters.kubernetes import lookup as adapter
from custody.admission.certs import ServingCertificate
from custody.kit.clock import system_clock
from custody.ports.lookup import Answer, Answered, Failed, NamespacePods
from tests.policy.test_podsecurity_existing import pod
from tests.ports.test_lookup import ApiServer, Site, answer, status
from tests.serving import served

PODS = NamespacePods("shop")
PATH = "/api/v1/namespaces/shop/pods"
Pages = dict[str, tuple[int, Any]]
Ask = Callable[..., tuple[Answer, list[str]]]


def page(*pods: dict[str, Any], more: str = "", left: Any = None) -> tuple[int, dict[str, Any]]:
    metadata = {"resourceVersion": "1", **({"continue": more} if more else {}),
                **({"remainingItemCount": left} if left is not None else {})}
    return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": list(pods)}


class Paged(ApiServer):
    """Answers by where the list goes on; a `slow` page never comes in time."""

    def __init__(self, pages: Pages, slow: str | None) -> None:
        super().__init__()
        self.pages, self.slow = pages, slow

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        place = parse_qs(scope["query_string"].decode()).get("continue", [""])[0]
        if place == self.slow:
            await asyncio.sleep(30)
        self.answers[PATH] = self.pages[place]
        await super().__call__(scope, receive, send)


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    certificate = ServingCertificate(tmp_path / "certificates", ["127.0.0.1"])
    certificate.ensure(system_clock())
    authority = tmp_path / "ca.crt"
    authority.write_bytes(certificate.ca_bundle)

    def asked(pages: Pages, slow: str | None = None) -> tuple[Answer, list[str]]:
        server = Paged(pages, slow)
        with served(server, certificate=certificate.certificate, key=certificate.key) as url:
            return answer(Site(server, url, authority).access(), PODS), server.asked

    return asked


def names(answered: Answer) -> list[str]:
    assert isinstance(answered, Answered)
    return [name for name, _, _ in answered.value["pods"]]


def test_pages_are_read_to_the_last(ask: Ask) -> None:
    answered, asked = ask({"": page(pod("a"), pod("b", hostPID=True), more="p 2", left=2),
                           "p 2": page(pod("c"), more="p3", left=1), "p3": page(pod("d"))})
    assert names(answered) == ["a", "b", "c", "d"]
    assert answered.value["total"] == 4
    assert len(answered.value["shapes"]) == 2
    assert asked == [f"GET {PATH}?limit=500{place}" for place in ("", "&continue=p%202", "&continue=p3")]


def test_a_namespace_without_pods_is_an_answer(ask: Ask) -> None:
    for empty in (page(), (200, {"kind": "PodList", "metadata": {}, "items": None})):
        answered, _ = ask({"": empty})
        assert answered == Answered({"total": 0, "shapes": [], "pods": []})


def test_what_does_not_come_in_time_is_counted_as_there(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "PODS_WITHIN", 0.5)
    answered, _ = ask({"": page(pod("a"), more="2", left=41), "2": page(pod("b"))}, slow="2")
    assert names(answered) == ["a"]
    assert answered.value["total"] == 42
    answered, _ = ask({"": page(pod("a"), more="2"), "2": page(pod("b"))}, slow="2")
    assert answered.value["total"] == 2  # there is one more at least, though nobody says how many
    failed, _ = ask({"": page(pod("a"))}, slow="")
    assert isinstance(failed, Failed)
    assert "no answer within 0.5 s" in failed.reason


def test_a_list_without_end_is_not_read_without_end(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_MOST_PODS", 3)
    answered, asked = ask({"": page(pod("a"), more="x"), "x": page(pod("b"), more="x")})
    assert names(answered) == ["a", "b", "b"]
    assert answered.value["total"] == 4
    assert len(asked) == 3


@pytest.mark.parametrize(("reply", "words"), [
    (status(403, "Forbidden", "pods is forbidden"), "answered 403: pods is forbidden"),
    (status(404, "NotFound"), "answered 404"), ((200, {"kind": "Pod"}), "expected a PodList"),
    ((200, []), "expected a PodList"), ((200, {"kind": "PodList", "metadata": {}, "items": [1]}), "expected a PodList"),
    ((200, {"kind": "PodList", "metadata": {}, "items": {"a": 1}}), "expected a PodList"),
    ((200, {"kind": "PodList", "metadata": {}, "items": [{}]}), "metadata.name and a spec"),
    ((200, b"<html>"), "expected one JSON"), ((500, b""), "answered 500"), ((200, b"[" * 5000), "expected one JSON"),
    ((200, b"\xff"), "expected one JSON"), ((200, b"[" + b"[]," * 2_000_000 + b"[]]"), "would take")])
def test_what_is_no_list_has_failed(ask: Ask, reply: tuple[int, Any], words: str) -> None:
    for pages in ({"": reply}, {"": page(pod("a"), more="2", left=1), "2": reply}):
        failed, _ = ask(pages)
        assert isinstance(failed, Failed)
        assert words in failed.reason


def test_how_many_are_left_is_only_believed_of_a_count(ask: Ask) -> None:
    for left in (-5, "7", True, 1.5, None):
        answered, _ = ask({"": page(pod("a"), left=left)})
        assert answered.value["total"] == 1
