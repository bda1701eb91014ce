"""Who signs in one's name: entries of every kind, logs that lie, and names that are only written."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from hypothesis import given
from hypothesis import strategies as st

from custody.cli.run import run
from custody.errors import MalformedError, UnsupportedError, UsageError, VerificationError
from custody.kit.canonical import canonical
from custody.kit.merkle import Frontier, leaf_hash, root_hash
from custody.sign.logentries import read_entry
from custody.sign.logwatch import Names, Seen, Watched, begin_at, look, parse_seen
from custody.trust.checkpoint import LogSigner
from custody.trust.log import MerkleLog
from custody.trust.tiles import TiledLog, TileTree, encode_entries
from tests.sign.authority import DAY, IDENTITY, ISSUER, NOW, World, b64, certificate, entry_body, new_key, spki
from tests.trust.test_log import SIGNER, MemoryLog

_WORLD = World()
_ROOT = _WORLD.trusted_root()
_ME = Names(subject=IDENTITY, issuer=ISSUER)
_KINDS = {"v2": "hashedrekord 0.0.2", "hashedrekord": "hashedrekord 0.0.1", "dsse": "dsse 0.0.1",
          "intoto": "intoto 0.0.2"}


def _entry(kind: str = "v2", cert: x509.Certificate | None = None, **leaf: Any) -> bytes:
    cert = cert or _WORLD.leaf(new_key(), **leaf)
    return canonical(entry_body(kind, b"m", b"p", b"s", cert.public_bytes(Encoding.DER),
                                cert.public_bytes(Encoding.PEM)))


_OTHERS = [_entry(kind, identity=f"other-{kind}@acme.example") for kind in _KINDS]


def _log(entries: list[bytes], signer: LogSigner = SIGNER) -> MemoryLog:
    log = MemoryLog()
    MerkleLog(log, log, signer).append(entries)
    return log


def _look(log: MemoryLog, seen: Seen | None = None, names: Names = _ME, **more: Any) -> Watched:
    return look(TiledLog(log), SIGNER.verifier, seen, names, _ROOT.certificate_authorities, **more)


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_right_edge_is_the_tree(size: int, more: int) -> None:
    leaves = [leaf_hash(b"%d" % place) for place in range(size + more)]
    edge = Frontier()
    for leaf in leaves[:size]:
        edge.push(leaf)
    assert edge.root() == root_hash(leaves[:size])
    edge = Frontier(edge.size, edge.hashes)
    for leaf in leaves[size:]:
        edge.push(leaf)
    assert edge.root() == root_hash(leaves)


def test_a_right_edge_of_another_size_is_none() -> None:
    with pytest.raises(ValueError, match="3 leaves is not made of 1"):
        Frontier(3, [bytes(32)])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 700])
def test_the_right_edge_is_read_of_tiles(size: int) -> None:
    entries = [b"%d" % place for place in range(700)]
    edge = Frontier()
    for entry in entries[:size]:
        edge.push(leaf_hash(entry))
    assert TileTree(_log(entries), 700).frontier(size) == edge.hashes


@pytest.mark.parametrize("kind", _KINDS)
def test_one_in_a_thousand_is_seen(kind: str) -> None:
    entries = [random.Random(1).choice(_OTHERS) for _ in range(1000)]
    entries[611] = _entry(kind)
    watched = _look(_log(entries))
    [sighting] = watched.sightings
    assert (sighting.index, sighting.kind, sighting.signer) == (611, _KINDS[kind], f"{IDENTITY} ({ISSUER})")
    assert (sighting.signed_at, sighting.doubt, sighting.known) == (NOW - timedelta(minutes=1), "", False)
    assert sighting.digest.startswith("sha256:")
    assert len(sighting.digest) == 71
    assert (watched.entries, watched.unread, watched.seen.size) == (1000, 0, 1000)


def test_what_was_seen_is_not_told_again() -> None:
    entries = [_entry(), *_OTHERS, _entry()]
    before = _look(_log(entries[:3]))
    assert [sighting.index for sighting in before.sightings] == [0]
    after = _look(_log(entries), parse_seen(before.seen.to_json(), "state"))
    assert [sighting.index for sighting in after.sightings] == [5]
    assert after.entries == 3
    assert _look(_log(entries), after.seen).entries == 0


def test_one_begins_anywhere() -> None:
    entries = [*_OTHERS * 100, _entry(), *_OTHERS]
    log = _log(entries)
    assert [sighting.index for sighting in _look(log, begin_at(TiledLog(log), SIGNER.verifier, 399)).sightings] == [400]
    assert _look(log, begin_at(TiledLog(log), SIGNER.verifier, 401)).sightings == []
    with pytest.raises(UsageError, match=r"--since: got 500, and the log log\.example has 405 entries"):
        begin_at(TiledLog(log), SIGNER.verifier, 500)


def test_one_s_own_are_known() -> None:
    mine, stranger = _entry(), _entry()
    watched = _look(_log([mine, stranger]), known=frozenset((leaf_hash(mine),)))
    assert [(sighting.index, sighting.known) for sighting in watched.sightings] == [(0, True), (1, False)]


@pytest.mark.parametrize(("names", "seen"), [
    (Names(subject=IDENTITY), True), (Names(issuer=ISSUER), True), (Names(subject_regexp="^" + IDENTITY[:4]), True),
    (Names(issuer_regexp="^https://"), True), (Names(subject=IDENTITY, issuer="https://else.example"), False),
    (Names(subject=IDENTITY[1:]), False), (Names(subject=IDENTITY.upper()), False),
    (Names(subject_regexp="nobody"), False), (Names(subject=IDENTITY, issuer_regexp="^else"), False)])
def test_all_that_is_asked_must_be_so(names: Names, seen: bool) -> None:
    assert bool(_look(_log([_entry()]), names=names).sightings) == seen


@pytest.mark.parametrize("identity", [
    "a@b.example", "https://github.com/acme/app/.github/workflows/b.yml@refs/heads/main",
    "https://x.example/" + "y" * 90,
    "https://x.example/" + "y" * 120, "https://x.example/" + "y" * 300])
def test_a_pattern_is_looked_for_in_every_name(identity: str) -> None:
    log = _log([*_OTHERS, _entry(identity=identity)])
    [sighting] = _look(log, names=Names(subject_regexp=f"^{identity}$")).sightings
    assert (sighting.index, sighting.signer) == (4, f"{identity} ({ISSUER})")
    assert _look(log, names=Names(subject_regexp=f"^{identity}.$")).sightings == []


def test_a_pattern_is_looked_for_in_all_of_several_names() -> None:
    names = [x509.DNSName("x.example"), x509.RFC822Name("b@c.d"), x509.RFC822Name(IDENTITY)]
    several = certificate(new_key(), (_WORLD.ca, _WORLD.ca_key), start=NOW, end=NOW + DAY, usages=[Usage.CODE_SIGNING],
                          extensions=[(x509.SubjectAlternativeName(names), True)])
    [sighting] = _look(_log([_entry(cert=several)]), names=Names(subject_regexp=f"^{IDENTITY}$")).sightings
    assert "3 subject alternative names" in sighting.doubt


def test_a_key_s_signatures() -> None:
    key = new_key()
    body = entry_body("v2", b"m", b"p", b"s", b"", b"")
    signature = body["spec"]["hashedRekordV002"]["signature"]
    signature["verifier"] = {"publicKey": {"rawBytes": b64(spki(key))}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    log = _log([*_OTHERS, canonical(body)])
    [sighting] = _look(log, names=Names(keys=frozenset((spki(key),)))).sightings
    assert (sighting.index, sighting.signer[:11], sighting.signed_at) == (4, "key sha256:", None)
    assert _look(log, names=Names(keys=frozenset((spki(new_key()),)))).sightings == []
    assert _look(log).sightings == []


def test_a_name_that_nobody_vouches_for_is_doubted() -> None:
    key = new_key()
    root = certificate(key, None, name="root", start=NOW - DAY, end=NOW + DAY, ca=True)
    [forged] = _look(_log([_entry(cert=_WORLD.leaf(new_key(), signed_by=(root, key)))])).sightings
    assert "no trusted authority issued it" in forged.doubt


def test_what_no_verifier_reads_is_told_where_it_has_the_name() -> None:
    two = certificate(new_key(), (_WORLD.ca, _WORLD.ca_key), start=NOW, end=NOW + DAY, usages=[Usage.CODE_SIGNING],
                      extensions=[(x509.SubjectAlternativeName([x509.RFC822Name(IDENTITY), x509.RFC822Name("b@c.d")]),
                                   True)])
    [sighting] = _look(_log([_entry(cert=two)]), names=Names(subject=IDENTITY)).sightings
    assert (sighting.signer, sighting.doubt) == (
        f"b@c.d and {IDENTITY}", "certificate: 2 subject alternative names, expected exactly one")
    for names in (Names(subject=IDENTITY, issuer_regexp="^https://token"), Names(subject_regexp=IDENTITY)):
        assert len(_look(_log([_entry(cert=two)]), names=names).sightings) == 1
    assert _look(_log([_entry(cert=two)]), names=Names(subject_regexp="nobody")).sightings == []
    server = _WORLD.leaf(new_key(), usages=[Usage.SERVER_AUTH])
    assert len(_look(_log([_entry(cert=server)]), names=Names(issuer_regexp="^https://else")).sightings) == 1
    [sighting] = _look(_log([_entry(cert=server)]), names=Names(subject=IDENTITY)).sightings
    assert "extended key usage is not codeSigning" in sighting.doubt


def test_an_envelope_in_a_log_of_version_2() -> None:
    holder = {"x509Certificate": {"rawBytes": b64(_WORLD.leaf(new_key()).public_bytes(Encoding.DER))},
              "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    body = canonical({"apiVersion": "0.0.2", "kind": "dsse", "spec": {"dsseV002": {
        "payloadHash": {"algorithm": "SHA2_256", "digest": b64(bytes(32))},
        "signatures": [{"content": b64(b"s"), "verifier": holder}]}}})
    [sighting] = _look(_log([*_OTHERS, body])).sightings
    assert (sighting.kind, sighting.digest) == ("dsse 0.0.2", "sha256:" + "00" * 32)


def test_a_certificate_that_cannot_be_read_is_told_by_its_bytes() -> None:
    der = _WORLD.leaf(new_key()).public_bytes(Encoding.DER)
    broken = der.replace(b"\x06\x03\x55\x1d\x25", b"\x06\x03\x55\x1d\x11")  # two extensions of one kind
    body = json.loads(_entry())
    body["spec"]["hashedRekordV002"]["signature"]["verifier"]["x509Certificate"]["rawBytes"] = b64(broken)
    log = _log([canonical(body)])
    for names in (_ME, Names(subject=IDENTITY), Names(subject_regexp="ann"), Names(issuer_regexp="https")):
        [sighting] = _look(log, names=names).sightings
        assert (sighting.signer, bool(sighting.doubt)) == ("a certificate that cannot be read", True)
    assert _look(log, names=Names(subject="nobody@acme.example")).sightings == []


@pytest.mark.parametrize("body", [
    b"{", b"[]", b'{"kind":"rekord","apiVersion":"0.0.1","spec":{}}', b'{"kind":1,"apiVersion":[],"spec":3}',
    b'{"kind":"dsse","apiVersion":"0.0.1","spec":{"payloadHash":{"algorithm":"a","value":"b"},"signatures":[3]}}',
    b'{"kind":"hashedrekord","apiVersion":"0.0.2","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256",'
    b'"digest":"%"},"signature":{"verifier":{"publicKey":{"rawBytes":"%"}}}}}}', b"[" * 100_000])
def test_what_is_no_entry_is_counted(body: bytes) -> None:
    assert read_entry(body) is None
    watched = _look(_log([*_OTHERS, body[:65_535]]))
    assert (watched.entries, watched.unread) == (5, 1)


@given(st.binary(max_size=300))
def test_random_bytes_are_read_or_not(body: bytes) -> None:
    assert read_entry(body) is None


@pytest.mark.parametrize(("changed", "reason"), [
    (lambda entries: entries[:9] + entries[10:] + [b"filler"], "rewritten: its 20 entries hash to root"),
    (lambda entries: [*entries[:9], _entry(), *entries[10:]], "rewritten: its 20 entries hash to root"),
    (lambda entries: entries[:19], "entry 19 is missing from its bundle of 19 entries")])
def test_what_is_served_must_be_what_is_signed(changed: Any, reason: str) -> None:
    entries = _OTHERS * 5
    log = _log(entries)
    log.files["tile/entries/000.p/20"] = encode_entries(changed(entries))
    with pytest.raises(VerificationError, match=reason):
        _look(log)


def test_a_log_that_forgets_what_was_seen() -> None:
    entries = _OTHERS * 5
    seen = _look(_log(entries)).seen
    with pytest.raises(VerificationError, match="shrunken: it had 20 entries and now has 19"):
        _look(_log(entries[:19]), seen)
    with pytest.raises(VerificationError, match="forked or rewritten: its 21 entries"):
        _look(_log([*entries[:3], b"x", *entries[4:], b"y"]), seen)
    with pytest.raises(VerificationError, match="forked or rewritten: its 20 entries"):
        _look(_log([*entries[:19], b"x"]), seen)
    other = LogSigner("other.example", ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(VerificationError, match=r"it is other\.example, and what was seen before is of log\.example"):
        look(_log(entries, other), other.verifier, seen, _ME, ())
    with pytest.raises(VerificationError, match="checkpoint"):
        _look(_log(entries, replace(SIGNER, key=ed25519.Ed25519PrivateKey.generate())), seen)


@pytest.mark.parametrize(("change", "reason"), [
    ({"type": "x"}, "type"), ({"size": 3}, "those of a tree of this size"), ({"size": -1}, "size"),
    ({"hashes": ["zz"]}, "hashes"), ({"hashes": ["00"]}, "a hash has 32 bytes"), ({"more": 1}, "more"),
    ({"asked": 1}, "asked")])
def test_a_state_that_is_none(change: dict[str, Any], reason: str) -> None:
    state = json.loads(Seen("o", 1, (bytes(32),), "").to_json())
    parse_seen(json.dumps(state).encode(), "state")
    with pytest.raises((MalformedError, UnsupportedError), match=reason):
        parse_seen(json.dumps({**state, **change}).encode(), "state")


@pytest.mark.parametrize(("names", "reason"), [
    ({}, "nobody is named"), ({"subject": "a", "subject_regexp": "b"}, "identity: given exactly and as a pattern"),
    ({"issuer": "a", "issuer_regexp": "b"}, "issuer: given exactly and as a pattern"),
    ({"subject_regexp": "("}, "--identity-regexp")])
def test_names_that_name_nobody(names: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Names(**names)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "data"))
    folder, bundles = tmp_path / "log", tmp_path / "bundles"
    bundles.mkdir()
    mine = _WORLD.keyless()
    (bundles / "build.sigstore.json").write_text(json.dumps(mine))
    [logged] = mine["verificationMaterial"]["tlogEntries"]
    own = base64.b64decode(logged["canonicalizedBody"])
    log = _log([*_OTHERS, own], _WORLD.log2)
    for path, data in {**log.files, "checkpoint": log.truth}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data or b"")
    (tmp_path / "root.json").write_bytes(_ROOT.to_json())
    asked = ["log", "watch", "--once", "--log", str(folder), "--trusted-root", str(tmp_path / "root.json"),
             "--identity", IDENTITY, "--issuer", ISSUER]
    assert run([*asked, "--known", str(bundles)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "5 new entries of 5, each where the signed tree has it: 0 strangers, 1 known" in said.err
    log = _log([*_OTHERS, own, _entry()], _WORLD.log2)
    for path, data in {**log.files, "checkpoint": log.truth}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data or b"")
    assert run([*asked, "--known", str(bundles), "-o", "json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["index"] == 5
    assert "1 signature in your name, in none of the bundles that are yours" in said.err
    (bundles / "package.json").write_text("{}")
    assert run([*asked, "--known", str(bundles), "--state", str(tmp_path / "strangers.json")]) == 3
    assert "package.json is no bundle" in capsys.readouterr().err
    assert run([*asked, "--state", str(tmp_path / "strangers.json")]) == 2
    assert "is of who looked for others" in capsys.readouterr().err
    assert run([*asked, "--state", str(tmp_path / "state.json")]) == 0
    said = capsys.readouterr()
    assert [line.partition(":")[0] for line in said.out.splitlines()] == ["entry 4", "entry 5"]
    assert run([*asked, "--known", str(tmp_path / "log")]) == 2
    assert "no bundle is in it" in capsys.readouterr().err
