"""What a provider's requests may cost, and that one image's trouble is no other's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from custody.errors import MalformedError, NetworkError
from custody.evidence.model import EvidenceSet, State, unreached
from custody.services import evidenceanswers
from custody.services.evidenceanswers import EvidenceAnswers
from tests.policy.gatekeeper.world import NOW
from tests.policy.test_evidence_languages import ALL, DIGEST, IMAGE, known

AWAY, NOBODY, SLOW, TAGGED, EMPTY, FAULTY = (
    f"away.example/{name}:1" for name in ("away", "nobody", "slow", "tagged", "empty", "faulty"))


class Gatherer:
    """Knows one image well."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, frozenset[str]]] = []

    async def gather(self, images: Mapping[str, frozenset[str]], keys: Any) -> dict[str, EvidenceSet]:
        self.asked.append(images)
        if NOBODY in images:
            raise NetworkError("broken")
        if SLOW in images:
            await asyncio.sleep(10)
        return {name: self._of(name) for name in images}

    async def held(self, images: Mapping[str, frozenset[str]], keys: Any) -> dict[str, EvidenceSet]:
        return {name: self._of(name) for name in images if name != SLOW}

    @staticmethod
    def _of(name: str) -> EvidenceSet:
        if name == TAGGED:
            return known(*ALL.values(), tag_since=NOW)
        if name == EMPTY:
            return EvidenceSet(subject="")
        if name == FAULTY:
            return known(ALL["sbom"], msgspec.structs.replace(ALL["findings"], signer="nobody"))
        return unreached(State.UNVERIFIABLE, "refused") if name == AWAY else known(*ALL.values())


def told(*keys: str, digests: bool = False, **more: Any) -> dict[str, Any]:
    answers = EvidenceAnswers(Gatherer(), lambda: NOW, **{"seconds": 1, **more})  # type: ignore[arg-type]
    items = asyncio.run((answers.digests if digests else answers.evidence)(keys))
    assert [item["key"] for item in items] == [*dict.fromkeys(keys)]
    return {item["key"]: item.get("value") or item["error"] for item in items}


def test_each_key_has_its_own_answer() -> None:
    said = told(IMAGE, AWAY, SLOW, TAGGED, EMPTY, FAULTY, "No Name", IMAGE)
    assert said[IMAGE]["states"] == dict.fromkeys(ALL, "verified")
    assert said[AWAY] == "unverifiable: refused"
    assert said[EMPTY] == "unverifiable: nothing is known of it"
    assert said[FAULTY] == "unverifiable: reading its evidence failed with AttributeError"
    assert said[SLOW] == "unverifiable: not gathered within 0.8 s"
    assert said[TAGGED] == "unverifiable: what its tag means cannot be looked up now"
    assert "No Name" in said["No Name"]


def test_where_nobody_can_be_asked() -> None:
    assert told(IMAGE, NOBODY) == {IMAGE: "unverifiable: broken", NOBODY: "unverifiable: broken"}


def test_all_are_gathered_at_once() -> None:
    gatherer = Gatherer()
    keys = [f"a.example/{at}:1" for at in range(20)]
    asyncio.run(EvidenceAnswers(gatherer, lambda: NOW, seconds=1).evidence(keys))  # type: ignore[arg-type]
    assert [[*asked] for asked in gatherer.asked] == [keys]


def test_what_nobody_waits_for_any_more_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def slow(named: Any, *about: Any) -> Any:
        read.append(named.name)
        time.sleep(0.3)
        return {"digest": DIGEST}

    monkeypatch.setattr(evidenceanswers, "view", slow)
    said = told(*(keys := [f"a.example/{at}:1" for at in range(9)]), seconds=0.2)
    assert read == keys[:1]
    assert [*said.values()][1:] == ["unverifiable: not read within 0.2 s"] * 8


def test_where_no_room_is_left_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def large(named: Any, *about: Any) -> Any:
        read.append(named.name)
        return "x" * 3600

    monkeypatch.setattr(evidenceanswers, "view", large)
    monkeypatch.setattr(evidenceanswers, "_ROOM", 4000)
    said = told(*(keys := [f"a.example/{at}:1" for at in range(9)]))
    assert read == keys[:1]
    assert all("are left of 4000 for one request" in answer for answer in [*said.values()][1:])


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
