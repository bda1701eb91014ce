"""Lists of many pages: an API server that forgets the version in the middle, and one that never ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from custody.adapters.kubernetes.client import ClusterClient
from custody.adapters.kubernetes.cluster import Reply
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError

PODS = ApiResource(version="v1", kind="Pod", plural="pods", namespaced=True)


def page(name: str, more: str) -> tuple[int, Any]:
    return 200, {"metadata": {"continue": more, "resourceVersion": "1"}, "items": [{"metadata": {"name": name}}]}


def expired(more: str | None) -> tuple[int, Any]:
    return 410, {"kind": "Status", "reason": "Expired", "metadata": {} if more is None else {"continue": more}}


class Forgetful:
    """Answers by the place to go on from."""

    url = "https://cluster.example"

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def ask(self, _method: str, path: str, **_: Any) -> Reply:
        place = parse_qs(urlsplit(path).query).get("continue", [""])[0]
        self.asked.append(place)
        status, body = self._answers[place]
        return Reply(status, json.dumps(body).encode())


def listed(cluster: Forgetful, *, mixed: bool) -> list[str]:
    async def run() -> list[str]:
        return [item["metadata"]["name"] async for page in ClusterClient(cluster).pages(  # type: ignore[arg-type]
            PODS, mixed=mixed) for item in page.items]
    return asyncio.run(run())


def test_who_is_late_goes_on_where_the_api_server_says() -> None:
    answers = {"": page("a", "2"), "2": expired("2b"), "2b": page("b", "3"), "3": expired("3b"), "3b": page("c", "")}
    assert listed(Forgetful(answers), mixed=True) == ["a", "b", "c"]
    with pytest.raises(ApiError):
        listed(Forgetful(answers), mixed=False)


@pytest.mark.parametrize("answers", [
    {"": page("a", "2"), "2": expired(None)}, {"": expired("x"), "x": page("a", "")},
    {"": page("a", "2"), "2": expired("2"), "x": page("b", "")}])
def test_without_a_place_to_go_on_from_and_twice_in_a_row_it_ends(answers: dict[str, tuple[int, Any]]) -> None:
    cluster = Forgetful(answers)
    with pytest.raises(ApiError) as refused:
        listed(cluster, mixed=True)
    assert refused.value.expired
    assert len(cluster.asked) <= 3
