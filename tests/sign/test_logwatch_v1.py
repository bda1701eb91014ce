"""Who signs in one's name in a log of Rekor v1: read entry by entry, through its shards, from anybody who serves it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from custody.cli.run import run
from custody.kit import merkle
from custody.kit.merkle import Frontier, leaf_hash
from custody.trust.checkpoint import LogSigner
from custody.trust.roots import TransparencyLog
from tests.serving import served
from tests.sign.authority import ALWAYS, IDENTITY, ISSUER, World, new_key, spki
from tests.sign.test_logwatch import _OTHERS, _entry

_WORLD = World()


@dataclass
class Shards:
    """The reading half of Rekor v1's API: each shard is a tree of its own, and its checkpoint signed as the host."""

    trees: list[list[bytes]]
    key: Any = field(default_factory=new_key)
    asked: list[list[int]] = field(default_factory=list)
    gone: frozenset[int] = frozenset()
    changed: dict[int, bytes] = field(default_factory=dict)
    """Bodies that are served in place of those that were signed."""
    status: int = 200

    def note(self, number: int) -> str:
        name = f"log1.example - {number + 7000}"
        leaves = [leaf_hash(body) for body in self.trees[number]]
        text = LogSigner(name, self.key).sign(len(leaves), merkle.root_hash(leaves)).decode()
        return text.replace(f"— {name} ", "— log1.example ")

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/api/v1/log", self._state), Route("/api/v1/log/entries", self._at),
                                 Route("/api/v1/log/entries/retrieve", self._retrieve, methods=["POST"])])

    async def _state(self, _: Request) -> Response:
        states = [{"rootHash": "", "signedTreeHead": self.note(number), "treeID": str(number + 7000),
                   "treeSize": len(tree)} for number, tree in enumerate(self.trees)]
        return JSONResponse({**states[-1], "inactiveShards": states[:-1]}, self.status)

    def _entry(self, index: int) -> dict[str, Any]:
        place, number = index, 0
        while place >= len(self.trees[number]):
            place -= len(self.trees[number])
            number += 1
        tree = self.trees[number]
        leaves = [leaf_hash(body) for body in tree]
        body = self.changed.get(index, tree[place])
        proof = {"checkpoint": self.note(number), "hashes": [h.hex() for h in merkle.inclusion_proof(leaves, place)],
                 "logIndex": place, "rootHash": merkle.root_hash(leaves).hex(), "treeSize": len(tree)}
        return {f"{7000 + number:016x}{leaves[place].hex()}": {
            "body": base64.b64encode(body).decode(), "integratedTime": 1, "logID": "00" * 32, "logIndex": index,
            "verification": {"inclusionProof": proof}}}

    async def _at(self, request: Request) -> Response:
        return JSONResponse(self._entry(int(request.query_params["logIndex"])))

    async def _retrieve(self, request: Request) -> Response:
        indexes = json.loads(await request.body())["logIndexes"]
        self.asked.append(indexes)
        if len(indexes) > 10:
            return JSONResponse({"code": 422, "message": "logIndexes in body should have at most 10 items"}, 422)
        return JSONResponse([self._entry(index) for index in reversed(indexes) if index not in self.gone])


class Watching:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def __call__(self, log: Shards, *more: str, path: str = "") -> tuple[int, list[dict[str, Any]], str]:
        tlog = TransparencyLog("https://log1.example", spki(log.key), "PKIX_ECDSA_P256_SHA_256", _id(log), ALWAYS)
        (self.folder / "root.json").write_bytes(
            msgspec.structs.replace(_WORLD.trusted_root(), tlogs=(tlog,)).to_json())
        with served(log.app()) as url:
            code = run(["log", "watch", "--once", "--log", url + path, "--trusted-root",
                        str(self.folder / "root.json"), "--identity", IDENTITY, "--issuer", ISSUER, "-o", "json",
                        *more])
        said = self.capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err


def _id(log: Shards) -> bytes:
    return LogSigner("log1.example", log.key).verifier.log_id


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Watching:
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "data"))
    return Watching(tmp_path, capsys)


@given(st.integers(1, 70), st.data())
def test_what_stands_left_of_a_leaf_is_the_edge_before_it(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = [leaf_hash(b"%d" % place) for place in range(size)]
    edge = Frontier()
    for leaf in leaves[:index]:
        edge.push(leaf)
    assert merkle.left_siblings(index, size, merkle.inclusion_proof(leaves, index)) == edge.hashes


def test_every_entry_of_all_shards(watch: Watching) -> None:
    log = Shards([[*_OTHERS * 6, _entry()], [_entry(), *_OTHERS * 13]])
    code, sightings, words = watch(log)
    assert (code, [sighting["index"] for sighting in sightings]) == (0, [24, 25])
    assert "log1.example - 7000: 25 new entries of 25" in words
    assert "log1.example - 7001: 53 new entries of 53" in words
    assert sorted(index for batch in log.asked for index in batch) == [*range(78)]
    # What was seen is not asked for again; a shard that ended since is read to its end, and then the next one.
    log.asked.clear()
    log.trees[1].append(_entry())
    log.trees.append([*_OTHERS, _entry()])
    code, sightings, _ = watch(log)
    assert [sighting["index"] for sighting in sightings] == [78, 83]
    assert sorted(index for batch in log.asked for index in batch) == [*range(78, 84)]
    assert watch(log)[1] == []


def test_one_begins_anywhere(watch: Watching) -> None:
    log = Shards([[*_OTHERS * 6, _entry()], [_entry(), *_OTHERS * 5, _entry()]])
    for since, indexes in ((0, [24, 25, 46]), (24, [24, 25, 46]), (25, [25, 46]), (26, [46]), (45, [46]), (47, [])):
        code, sightings, _ = watch(log, "--since", str(since), "--state", str(watch.folder / f"{since}.json"))
        assert (code, [sighting["index"] for sighting in sightings]) == (0, indexes)
    code, _, words = watch(log, "--since", "48", "--state", str(watch.folder / "48.json"))
    assert (code, "--since: got 48" in words) == (2, True)


@pytest.mark.parametrize("path", ["/api/v1", "/", "/api/v1/"])
def test_how_the_log_is_named(watch: Watching, path: str) -> None:
    assert len(watch(Shards([[_entry()]]), path=path)[1]) == 1


def test_a_log_that_lies(watch: Watching) -> None:
    entries = [*_OTHERS * 3, _entry()]
    code, sightings, words = watch(Shards([entries], gone=frozenset({12})))
    assert (code, sightings, "entry 12 is missing" in words) == (4, [], True)
    code, sightings, words = watch(Shards([entries], changed={12: _OTHERS[0]}))
    assert (code, sightings, "rewritten: its 13 entries hash to root" in words) == (4, [], True)
    log = Shards([entries])
    assert watch(log)[0] == 0
    log.trees[0] = entries[:5]
    code, _, words = watch(log)
    assert (code, "shrunken: it had 13 entries and now has 5" in words) == (4, True)
    log.trees[0] = [*entries[1:], _OTHERS[0], _entry()]
    code, _, words = watch(log)
    assert (code, "forked or rewritten" in words) == (4, True)
    stranger = Shards([entries])
    code, _, words = watch(stranger, "--state", str(watch.folder / "other.json"))
    assert code == 0, words
    forged = Shards([entries])
    forged.note = lambda _number: stranger.note(0)  # type: ignore[method-assign]
    code, _, words = watch(forged, "--state", str(watch.folder / "forged.json"))
    assert (code, "none of its checkpoint's signatures is by a log of the trusted root" in words) == (4, True)


def test_a_beginning_that_does_not_lead_to_the_signed_root(watch: Watching) -> None:
    log = Shards([[*_OTHERS * 6, _entry()]], changed={19: _OTHERS[0]})
    code, sightings, words = watch(log, "--since", "20")
    assert (code, sightings, "forked or rewritten" in words) == (4, [], True)


def test_a_log_that_does_not_answer(watch: Watching) -> None:
    code, _, words = watch(Shards([[_entry()]], status=503), path="/api/v1")
    assert (code, "got status 503, expected 200" in words) == (6, True)
