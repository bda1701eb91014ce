"""What a provider's requests may cost, and that one image's trouble is no other's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from custody.errors import MalformedError, NetworkError
from custody.evidence.model import EvidenceSet, State, unreached
from custody.services import evidenceanswers
from custody.services.evidenceanswers import EvidenceAnswers
from tests.policy.gatekeeper.world import NOW
from tests.policy.test_evidence_languages import ALL, DIGEST, IMAGE, known

AWAY, BROKEN, SLOW, TAGGED = (f"away.example/{name}:1" for name in ("away", "broken", "slow", "tagged"))


class Gatherer:
    """Knows one image well."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, frozenset[str]]] = []

    async def gather(self, images: Mapping[str, frozenset[str]], keys: Any) -> dict[str, EvidenceSet]:
        self.asked.append(images)
        [name] = images
        if name == SLOW:
            await asyncio.sleep(10)
        if name == BROKEN:
            raise NetworkError("broken")
        if name == TAGGED:
            return {name: known(*ALL.values(), tag_since=NOW)}
        return {name: unreached(State.UNVERIFIABLE, "refused") if name == AWAY else known(*ALL.values())}


def told(*keys: str, digests: bool = False, **more: Any) -> dict[str, Any]:
    answers = EvidenceAnswers(Gatherer(), lambda: NOW, **{"seconds": 0.2, **more})  # type: ignore[arg-type]
    items = asyncio.run((answers.digests if digests else answers.evidence)(keys))
    assert [item["key"] for item in items] == [*dict.fromkeys(keys)]
    return {item["key"]: item.get("value") or item["error"] for item in items}


def test_each_key_has_its_own_answer() -> None:
    said = told(IMAGE, AWAY, BROKEN, SLOW, TAGGED, "No Name", IMAGE)
    assert said[IMAGE]["states"] == dict.fromkeys(ALL, "verified")
    assert said[AWAY] == "unverifiable: refused"
    assert said[BROKEN] == "unverifiable: broken"
    assert said[SLOW] == "unverifiable: not gathered within 0.2 s"
    assert said[TAGGED] == "unverifiable: what its tag means cannot be looked up now"
    assert "No Name" in said["No Name"]


def test_digests() -> None:
    said = told("ghcr.io/myorg/shop:1", AWAY, TAGGED, digests=True)
    assert said["ghcr.io/myorg/shop:1"] == f"ghcr.io/myorg/shop@{DIGEST}"
    assert said[AWAY].startswith("unverifiable")
    assert said[TAGGED].startswith("unverifiable")


def test_what_one_request_may_have_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MalformedError, match="101 keys"):
        told(*(f"a.example/{at}:1" for at in range(101)))
    monkeypatch.setattr(evidenceanswers, "_ROOM", 4000)
    said = told(*(f"ghcr.io/myorg/shop:{at}" for at in range(4)))
    assert [isinstance(answer, str) for answer in said.values()] == [False, True, True, True]
    assert "are left of 4000 for one request" in said["ghcr.io/myorg/shop:1"]
