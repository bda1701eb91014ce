"""`custody db export` and `import`: one signed file, and what is refused of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.javaarchives import SqliteJavaArchives
from custody.cli.main import main
from custody.errors import CustodyError, MalformedError, UnsupportedError, VerificationError
from custody.formats.dsse import Envelope
from custody.formats.osv import Advisory, Affected, Range
from custody.kit.digest import sha256
from custody.kit.pae import pae
from custody.ports.javaarchives import Archive, Project
from custody.sign.keys import PrivateKey
from custody.vulns import archive
from custody.vulns.store import import_advisories
from tests.contents import feeds

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
KEY, OTHER = PrivateKey(ec.generate_private_key(ec.SECP256R1())), PrivateKey(ec.generate_private_key(ec.SECP256R1()))
KEYS, OTHERS = [KEY.public.key], [OTHER.public.key]


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> SqliteAdvisories:
    folder = tmp_path / "feeds"
    folder.mkdir()
    (folder / "tracker.json").write_bytes(feeds.debian())
    (folder / "main.json").write_bytes(feeds.alpine())
    (folder / "vex.json").write_bytes(feeds.csaf())
    (folder / "scores.csv").write_text("#model_version:v1,score_date:2026-01-01T00:00:00Z\ncve,epss,percentile\n"
                                       "CVE-2023-0286,0.5,0.9\n")
    (folder / "kev.json").write_text(json.dumps({
        "catalogVersion": "1", "dateReleased": "2026-01-01T00:00:00Z", "count": 1, "vulnerabilities": [
            {"cveID": "CVE-2023-0286", "dateAdded": "2026-01-01", "dueDate": "2026-02-01"}]}))
    store = SqliteAdvisories(tmp_path / "from.db")
    import_advisories(store, folder, NOW)
    return store


@pytest.fixture(name="file")
def _file(store: SqliteAdvisories, tmp_path: Path) -> Path:
    archive.write(store, tmp_path / "a.adv", KEY.sign, NOW)
    return tmp_path / "a.adv"


def test_the_other_side_has_the_same(store: SqliteAdvisories, file: Path, tmp_path: Path) -> None:
    target = SqliteAdvisories(tmp_path / "to.db")
    contents, added = archive.read(target, file, KEYS, LATER)
    assert contents.records == added == 14
    assert list(target.records()) == list(store.records())
    assert target.find("Debian:12", "openssl") == store.find("Debian:12", "openssl")
    assert (target.scores(["CVE-2023-0286"]), target.exploited(["CVE-2023-0286"])) == (
        store.scores(["CVE-2023-0286"]), store.exploited(["CVE-2023-0286"]))
    cursor = target.changes("").cursor
    assert archive.read(target, file, KEYS, LATER)[1] == 2  # a catalogue and scores of the same day
    assert [name for ecosystem, name in target.changes(cursor).names if ecosystem] == []
    store.remove("DEBIAN-CVE-2024-5535")
    archive.write(store, file, KEY.sign, LATER)
    archive.read(target, file, KEYS, LATER)
    assert not target.named(["CVE-2024-5535"])


def test_the_same_content_is_the_same_but_for_the_signature(store: SqliteAdvisories, tmp_path: Path) -> None:
    assert (archive.write(store, tmp_path / "a", KEY.sign, NOW) == archive.write(store, tmp_path / "b", OTHER.sign, NOW)
            == archive.write(store, tmp_path / "c", None, NOW))


def test_whose_signature_counts(store: SqliteAdvisories, file: Path, tmp_path: Path) -> None:
    target = SqliteAdvisories(tmp_path / "to.db")
    for keys in (OTHERS, []):
        with pytest.raises(VerificationError, match="no signature of the keys"):
            archive.read(target, file, keys, LATER)
    archive.write(store, tmp_path / "unsigned", None, NOW)
    with pytest.raises(VerificationError, match="is not signed"):
        archive.read(target, tmp_path / "unsigned", KEYS, LATER)
    assert not target.status().sources
    assert archive.read(target, tmp_path / "unsigned", [], LATER, unsigned=True)[1] == 14


def test_an_older_one_takes_nothing_back(store: SqliteAdvisories, file: Path, tmp_path: Path) -> None:
    target = SqliteAdvisories(tmp_path / "to.db")
    store.remove("DEBIAN-CVE-2024-5535")
    archive.write(store, tmp_path / "later", KEY.sign, LATER)
    archive.read(target, tmp_path / "later", KEYS, LATER)
    with pytest.raises(VerificationError, match="expected none older than that of 2026-01-02"):
        archive.read(target, file, KEYS, LATER)
    assert not target.named(["CVE-2024-5535"])
    archive.read(target, file, KEYS, LATER, older=True)
    assert target.named(["CVE-2024-5535"])


def _made(path: Path, content: bytes, **changes: object) -> Path:
    """Signed by the right key, whatever is in it."""
    stated = {"format": 1, "created": "2026-01-01T00:00:00Z", "sha256": sha256(content).removeprefix("sha256:"),
              "records": 1, "sources": {"x": 1}, **changes}
    payload = msgspec.json.encode(stated)
    envelope = Envelope(archive.PAYLOAD_TYPE, payload, (("", KEY.sign(pae(archive.PAYLOAD_TYPE, payload))),))
    path.write_bytes(b"CUSTODY-ADVISORIES 1\n" + envelope.to_bytes() + b"\n" + content)
    return path


def _record(**changes: object) -> bytes:
    advisory = Advisory(id="X-1", modified="2026-01-01T00:00:00Z", withdrawn=False, aliases=(), summary="",
                        severity=(), ratings=(), affected=(Affected("Debian:12", "bash"),))
    data = b"A" + msgspec.msgpack.encode(msgspec.structs.replace(advisory, **changes))
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(("content", "message"), [
    (zstandard.compress(_record())[:-3], "got"), (b"no stream", "a zstandard stream"),
    (zstandard.compress(_record()[:-2]), "half a value"), (zstandard.compress(b"\xff\xff\xff\xff"), "a value of"),
    (zstandard.compress(b"\0\0\0\1Z"), "of kind"), (zstandard.compress(b"\0\0\0\2A\x90"), "expected a record"),
    (zstandard.compress(_record(modified="yesterday")), "X-1"),
    (zstandard.compress(_record(affected=(Affected("Debian:12", "b", (Range("ECOSYSTEM", (("until", "1"),)),)),))),
     "a range of no kind")])
def test_signed_nonsense_is_a_named_error_and_takes_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    target = SqliteAdvisories(tmp_path / "to.db")
    with pytest.raises(MalformedError, match=message):
        archive.read(target, _made(tmp_path / "a", content), KEYS, NOW)
    assert not target.status().sources


_SUM = b"s" * 20


def _values(*values: tuple[bytes, object]) -> bytes:
    whole = [kind + msgspec.msgpack.encode(value) for kind, value in values]
    return b"".join(len(data).to_bytes(4, "big") + data for data in whole)


def _kept(path: Path) -> SqliteJavaArchives:
    kept = SqliteJavaArchives(path)
    kept.replace([Project(7, "org.old", "old")], [Archive(b"o" * 20, 7, "1")])
    return kept


_PROJECTS, _ARCHIVES = (b"P", [[(1, "org.a", "a"), (2, "org.b", "b")]]), (b"J", [[(_SUM, 2, "1.0")]])


@pytest.mark.parametrize(("content", "message"), [
    (_values(_PROJECTS), "without an archive"), (_values(_ARCHIVES), "a Java archive of project 2"),
    (_values(_ARCHIVES, _PROJECTS), "archives? behind|of project 2|behind Java archives"),
    (_values(_PROJECTS, _ARCHIVES, _PROJECTS), "projects behind Java archives"),
    (_values(_PROJECTS, (b"J", [[(b"short", 2, "1.0")]])), "5 bytes of SHA-1"),
    (_values(_PROJECTS, (b"J", [[(_SUM, 3, "1.0")]])), "of project 3"),
    (_values((b"P", [[(2, "org.b", "b"), (1, "org.a", "a")]]), _ARCHIVES), "Java project 1 behind 2"),
    (_values((b"P", [[(1, "org.b", "b"), (1, "org.a", "a")]]), _ARCHIVES), "Java project 1 behind 1"),
    (_values((b"P", [[(1, "org.b")]]), _ARCHIVES), "expected a record"),
    (_values(_PROJECTS, (b"J", [[("text", 2, "1.0")]])), "expected a record"),
    (_values(_PROJECTS, _ARCHIVES) + _record(), "behind the index of Java archives"),
    (_values(_PROJECTS) + _record(), "behind the index of Java archives")])
def test_an_index_that_is_none_leaves_the_one_before(tmp_path: Path, content: bytes, message: str) -> None:
    target, java = SqliteAdvisories(tmp_path / "to.db"), _kept(tmp_path / "java.db")
    with pytest.raises(MalformedError, match=message):
        archive.read(target, _made(tmp_path / "a", zstandard.compress(_record() + content)), KEYS, NOW,
                     java=lambda: java)
    assert [project.name for project in java.projects()] == ["old"]
    assert not target.status().sources


def test_an_index_is_signed_as_the_rest(store: SqliteAdvisories, tmp_path: Path) -> None:
    java = SqliteJavaArchives(tmp_path / "from-java.db")
    java.replace([Project(1, "org.a", "a"), Project(9, "org.b", "b")],
                 (Archive(number.to_bytes(20, "big"), 1 + 8 * (number % 2), "1") for number in range(25_000)))
    file = tmp_path / "a.adv"
    contents = archive.write(store, file, KEY.sign, NOW, java)
    assert (contents.java_archives, contents.records) == (25_000, 14)
    kept = _kept(tmp_path / "to-java.db")
    with pytest.raises(VerificationError, match="no signature of the keys"):
        archive.read(SqliteAdvisories(tmp_path / "to.db"), file, OTHERS, LATER, java=lambda: kept)
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    (tmp_path / "bent").write_bytes(data)
    with pytest.raises(VerificationError, match="which is signed"):
        archive.read(SqliteAdvisories(tmp_path / "to.db"), tmp_path / "bent", KEYS, LATER, java=lambda: kept)
    with pytest.raises(UnsupportedError, match="of which none is kept here"):
        archive.read(SqliteAdvisories(tmp_path / "to.db"), file, KEYS, LATER)
    assert kept.count() == 1
    archive.read(SqliteAdvisories(tmp_path / "to.db"), file, KEYS, LATER, java=lambda: kept)
    assert (list(kept.projects()), list(kept.archives())) == (list(java.projects()), list(java.archives()))


def test_an_index_alone_can_be_exported(tmp_path: Path) -> None:
    java, file = _kept(tmp_path / "java.db"), tmp_path / "a.adv"
    archive.write(SqliteAdvisories(tmp_path / "from.db"), file, KEY.sign, NOW, java)
    kept = SqliteJavaArchives(tmp_path / "to-java.db")
    assert archive.read(SqliteAdvisories(tmp_path / "to.db"), file, KEYS, NOW, java=lambda: kept)[0].records == 0
    assert kept.count() == 1
    java.clear()
    with pytest.raises(CustodyError, match="nothing to export"):
        archive.write(SqliteAdvisories(tmp_path / "from.db"), file, KEY.sign, NOW, java)


def test_another_format_and_another_payload(tmp_path: Path) -> None:
    target, content = SqliteAdvisories(tmp_path / "to.db"), zstandard.compress(_record())
    with pytest.raises(MalformedError, match="format"):
        archive.read(target, _made(tmp_path / "a", content, format=2), KEYS, NOW)
    payload = b"{}"
    envelope = Envelope("application/vnd.in-toto+json", payload,
                        (("", KEY.sign(pae("application/vnd.in-toto+json", payload))),))
    (tmp_path / "b").write_bytes(b"CUSTODY-ADVISORIES 1\n" + envelope.to_bytes() + b"\n")
    with pytest.raises(VerificationError, match=r"expected application/vnd\.custody\.advisories"):
        archive.read(target, tmp_path / "b", KEYS, NOW)
    assert archive.read(target, _made(tmp_path / "c", content), KEYS, NOW)[1] == 1


@pytest.mark.parametrize("payload", [b"no JSON", b"[1]", b"\xff", b'{"format":1}'])
@pytest.mark.parametrize("signed", [True, False])
def test_a_head_that_states_nothing(tmp_path: Path, payload: bytes, signed: bool) -> None:
    signature = (("", KEY.sign(pae(archive.PAYLOAD_TYPE, payload))),) if signed else ()
    envelope = Envelope(archive.PAYLOAD_TYPE, payload, signature)
    (tmp_path / "a").write_bytes(b"CUSTODY-ADVISORIES 1\n" + json.dumps(envelope.to_json()).encode() + b"\n")
    with pytest.raises(MalformedError, match="expected what an export states"):
        archive.read(SqliteAdvisories(tmp_path / "to.db"), tmp_path / "a", KEYS, NOW, unsigned=not signed)


@pytest.mark.parametrize("head", [b"[1]", b'"a"', b"7", b"{}", b'{"signatures":[]}'])
def test_a_head_that_is_no_envelope(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a").write_bytes(b"CUSTODY-ADVISORIES 1\n" + head + b"\n")
    with pytest.raises(VerificationError, match="is not signed"):
        archive.read(SqliteAdvisories(tmp_path / "to.db"), tmp_path / "a", KEYS, NOW)
    with pytest.raises(MalformedError, match="payload"):
        archive.read(SqliteAdvisories(tmp_path / "to.db"), tmp_path / "a", KEYS, NOW, unsigned=True)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_byte_can_be_changed(file: Path, tmp_path: Path, data: st.DataObject) -> None:
    """But for those of the envelope's JSON that say the same."""
    stated = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(stated) - 1))
    stated[place] ^= data.draw(st.integers(1, 255))
    (tmp_path / "changed").write_bytes(bytes(stated))
    target = SqliteAdvisories(tmp_path / "changed.db")
    try:
        archive.read(target, tmp_path / "changed", KEYS, NOW)
    except CustodyError:
        assert not target.status().sources
    else:
        head = bytes(stated).split(b"\n")[1]
        assert json.loads(head)["payload"] == json.loads(file.read_bytes().split(b"\n")[1])["payload"]
        target.remove("debian-tracker")
        target.remove("alpine-secdb")
        target.remove("redhat-csaf")
    (tmp_path / "changed.db").unlink()


def test_by_its_commands(store: SqliteAdvisories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    assert main(["generate-key-pair"]) == 0
    assert main(["db", "import", "feeds"]) == 0
    assert main(["db", "export", "x.adv"]) == 2
    assert main(["db", "export", "x.adv", "--key", "cosign.key"]) == 0
    (tmp_path / "gap").mkdir()
    monkeypatch.chdir(tmp_path / "gap")
    capsys.readouterr()
    assert main(["db", "import", "../x.adv"]) == 2
    assert "whose signature counts?" in capsys.readouterr().err
    assert main(["db", "import", "../x.adv", "--key", "../cosign.pub"]) == 0
    (tmp_path / "gap" / "custody.toml").write_text('[advisories]\nkeys = ["../cosign.pub"]\n')
    assert main(["db", "update", "--from", "../x.adv"]) == 0
    capsys.readouterr()
    assert main(["db", "show", "CVE-2023-0286"]) == 0
    said = capsys.readouterr().out
    assert "EPSS 0.50000" in said
    assert "not_affected: never affected" in said
    assert main(["db", "show", "CVE-2023-0286", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["advisories"][0]["source"] == "debian-tracker"
    assert main(["db", "show", "CVE-1999-0001"]) == 4
    assert main(["db", "remove", "debian-tracker"]) == 0
    assert main(["db", "remove", "debian-tracker"]) == 2
    capsys.readouterr()
    assert main(["db", "list", "--ecosystem", "Debian"]) == 4
    assert "--ecosystem Debian: no record is of it" in capsys.readouterr().err
    assert main(["db", "list", "--source", "alpine-secdb"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7
    assert main(["db", "status"]) == 0
    assert "alpine-secdb" in capsys.readouterr().out
