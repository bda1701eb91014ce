"""Whose image an alert is about: from evidence and the inventory, and never waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.sqlite.inventory import SqliteInventory
from custody.errors import NetworkError
from custody.evidence.model import Evidence, EvidenceSet, KeylessSigner, State, Verified, seal, unreached
from custody.formats.slsa import PROVENANCE_V1, told_of
from custody.ports.inventory import Sighting
from custody.runtime.containers import Container, Containers
from custody.runtime.event import Place
from custody.services.enriching import EvidenceEnricher

A = "sha256:" + "a" * 64
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
COMMIT = "0123456789" * 4
PLACE = Place(digest=A, image="r.example/shop:1")
PROVENANCE = {
    "buildDefinition": {"resolvedDependencies": [{"uri": "pkg:x"}, {"uri": "git+https://g.example/shop",
                                                                    "digest": {"gitCommit": COMMIT}}]},
    "runDetails": {"builder": {"id": "https://builder.example"}, "metadata": {"finishedOn": "2026-11-20T12:00:00Z"}}}
VEX = {"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "a", "timestamp": "2026-11-20T12:00:00Z",
       "version": 1, "statements": [{"vulnerability": {"name": "CVE-1"}, "status": "not_affected",
                                     "justification": "component_not_present", "products": [{"@id": A}]}]}


def verified(kind: str, predicate_type: str, predicate: Any) -> Verified:
    return seal(Evidence(subject=A, media_type="", data=predicate_type.encode(), source="s"), kind=kind,
                predicate_type=predicate_type, predicate=predicate, signed_at=NOW - timedelta(days=2), log=None,
                signer=KeylessSigner(subject="ann@example.org", issuer="https://i.example"))


def enriched(about: Any, sightings: Sequence[Sighting] = (), folder: Path | None = None, place: Place = PLACE,
             containers: Containers | None = None) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What is told at first, and then; and who was asked for."""
    asked: list[str] = []

    async def gather(name: str) -> EvidenceSet:
        asked.append(name)
        if isinstance(about, Exception):
            raise about
        assert isinstance(about, EvidenceSet)
        return about

    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        store = SqliteInventory(folder / "i.db") if folder is not None else None
        if store is not None:
            store.see(sightings)
        enrich = EvidenceEnricher(store, gather, lambda: NOW, containers)
        first = dict(enrich(place))
        await enrich.work()
        return first, dict(enrich(place))

    return *asyncio.run(main()), asked


def test_it_is_told_with_what_is_verified(tmp_path: Path) -> None:
    about = EvidenceSet(subject=A, verified=(
        verified("signature", "https://sigstore.dev/cosign/sign/v1", {}),
        verified("attestation", PROVENANCE_V1, PROVENANCE),
        verified("attestation", "https://openvex.dev/ns/v0.2.0", VEX)))
    first, then, asked = enriched(about, [Sighting(A, "admission", "shop/Pod/web", NOW),
                                          Sighting(A, "name", "other.example/shop:2", NOW)], tmp_path)
    assert first == {"custody.evidence": "pending"}
    assert asked == [f"other.example/shop@{A}"]
    assert then == {
        "custody.evidence": "known", "custody.signer": "ann@example.org (https://i.example)",
        "custody.source.commit": COMMIT, "custody.source.repository": "git+https://g.example/shop",
        "custody.builder": "https://builder.example", "custody.image.age": 10.0, "custody.vex": "1 not_affected",
        "custody.admission": "2026-11-30T12:00:00Z as shop/Pod/web"}


def test_an_unsigned_image_is_signed_by_nobody() -> None:
    _, then, _ = enriched(EvidenceSet(subject=A))
    assert (then["custody.evidence"], then["custody.signer"]) == ("known", "nobody")


@pytest.mark.parametrize("about", [NetworkError("the registry is gone"),
                                   unreached(State.UNVERIFIABLE, "the registry is gone")])
def test_what_could_not_be_had_is_unknown_and_not_nobodys(about: Any) -> None:
    _, then, _ = enriched(about)
    assert then == {"custody.evidence": "unknown", "custody.evidence.reason": "the registry is gone"}


def test_a_fault_costs_that_image_alone() -> None:
    _, then, _ = enriched(ValueError("a bug"))
    assert then == {"custody.evidence": "unknown"}


def test_a_place_without_an_image_has_none() -> None:
    assert enriched(EvidenceSet(subject=A), place=Place())[:2] == ({"custody.evidence": "none"},) * 2


def test_a_container_is_enough_to_know_the_image() -> None:
    containers = Containers()
    containers.note([Container("0123456789abcdef", A, "r.example/shop")])
    _, then, asked = enriched(EvidenceSet(subject=A), place=Place(container_id="0123456789ab"), containers=containers)
    assert (then["custody.signer"], asked) == ("nobody", [f"r.example/shop@{A}"])


def test_what_an_event_claims_of_a_container_that_the_cluster_knows_does_not_count() -> None:
    containers = Containers()
    containers.note([Container("0123456789abcdef", A, "r.example/shop")])
    place = Place(container_id="0123456789ab", digest="sha256:" + "b" * 64, image="evil.example/x")
    assert enriched(EvidenceSet(subject=A), place=place, containers=containers)[2] == [f"r.example/shop@{A}"]


def test_a_repository_without_evidence_says_nothing_of_another_one() -> None:
    async def gather(name: str) -> EvidenceSet:
        if name.startswith("evil.example"):
            await asyncio.sleep(3600)
        return EvidenceSet(subject=A, verified=(verified("signature", "https://sigstore.dev/cosign/sign/v1", {}),))

    async def main() -> list[Any]:
        enrich = EvidenceEnricher(None, gather, lambda: NOW)
        places = [Place(digest=A, image="evil.example/x"), PLACE]
        for place in places:
            enrich(place)
        await enrich.work()
        return [enrich(place) for place in places]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("custody.services.enriching._LONGEST", 0.05)
        hung, answered = asyncio.run(main())
    assert hung["custody.evidence.reason"].startswith("no answer within ")
    assert answered["custody.signer"] == "ann@example.org (https://i.example)"


def test_the_inventory_alone_is_an_answer(tmp_path: Path) -> None:
    async def main() -> Any:
        store = SqliteInventory(tmp_path / "i.db")
        store.see([Sighting(A, "signer", "ann", NOW)])
        enrich = EvidenceEnricher(store, None, lambda: NOW)
        enrich(PLACE)
        await enrich.work()
        return enrich(PLACE)

    assert asyncio.run(main()) == {"custody.evidence": "known", "custody.signer": "ann",
                                   "custody.admission": "no record"}


def test_provenance_of_version_0_2() -> None:
    told = told_of("https://slsa.dev/provenance/v0.2", {
        "builder": {"id": "b"}, "materials": [{"uri": "docker://x", "digest": {"sha1": COMMIT}},
                                              {"uri": "git+https://g", "digest": {"sha1": COMMIT}}],
        "metadata": {"buildFinishedOn": "yesterday"}})
    assert told is not None
    assert told == ("b", "git+https://g", COMMIT, None)
    assert told_of("https://example.org/other", {}) is None


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(("runDetails", "builder", "id", "metadata", "digest", "uri",
                                                       "buildDefinition", "resolvedDependencies")), inner)))
def test_provenance_of_any_shape_is_read(predicate: Any) -> None:
    told_of(PROVENANCE_V1, predicate)
