"""The registry keeps what it acknowledges: full disks, two requests for one session, two processes, lost files.

Tests are named after what once went wrong.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from custody.adapters.filesystem.blobs import BlobDirectory, FilesystemBlobs
from custody.adapters.sqlite.repositories import SqliteRepositories, SqliteTransaction
from custody.errors import ConflictError, StorageFullError, UsageError
from custody.formats import oci
from custody.registry.scrub import Archive, scrub
from tests.registry import endurance
from tests.registry.api import Api, OpenRequest, Process, custody, process, sha
from tests.serving import registry_on

MIB = 1 << 20


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with registry_on(tmp_path) as (host, _):
        yield Api(host)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# 01: a full disk

def limit_files(server: Process, size: int) -> None:
    _, hard = resource.prlimit(server.child.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.child.pid, resource.RLIMIT_FSIZE, (size or hard, hard))


def test_01_disk_full_resume(tmp_path: Path) -> None:
    """A write that fails in the middle of a chunk left bytes in the file that nobody had hashed."""
    data = os.urandom(3_000_000)
    with process(tmp_path) as server:
        api, place = server.api, server.api.start("shop")
        limit_files(server, 1_234_567)
        status, _, body = api("PATCH", place, data)
        assert (status, json.loads(body)["errors"][0]["code"]) == (507, "UNKNOWN")
        assert str(tmp_path).encode() not in body
        kept = api.received(place)
        assert kept == 1_234_567 == (server.registry / "uploads" / place.rpartition("/")[2]).stat().st_size
        limit_files(server, 0)
        assert api("PATCH", place, data[kept:], Content_Range=f"{kept}-{len(data) - 1}")[0] == 202
        assert api("PUT", f"{place}?digest={sha(data)}")[0] == 201
        assert api("GET", f"/v2/shop/blobs/{sha(data)}")[2] == data
        assert custody(tmp_path, "registry", "scrub").returncode == 0


@pytest.mark.parametrize("way", ["POST", "PUT", "PUT small", "manifest"])
def test_01_disk_full_is_507_and_service_goes_on(tmp_path: Path, way: str) -> None:
    data = os.urandom(2_000_000 if "small" not in way else 600_000)
    with process(tmp_path) as server:
        api = server.api
        api.image("shop", "v1")

        def push() -> tuple[int, dict[str, str], bytes]:
            if way == "manifest":
                body = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [],
                                   "annotations": {"x": "y" * 600_000}}).encode()
                return api("PUT", "/v2/shop/manifests/v2", body, Content_Type=oci.INDEX)
            if way == "POST":
                return api("POST", f"/v2/shop/blobs/uploads/?digest={sha(data)}", data)
            return api("PUT", f"{api.start('shop')}?digest={sha(data)}", data)

        limit_files(server, 500_000)
        status, _, body = push()
        assert (status, json.loads(body)["errors"][0]["message"].partition(":")[2]) == (507, " File too large")
        assert api("GET", "/v2/shop/manifests/v1")[0] == 200
        limit_files(server, 0)
        assert push()[0] == 201
        report = json.loads(custody(tmp_path, "registry", "scrub", "-o", "json").stdout)
        assert (report["damaged"], report["missing"], report["orphans"]) == ([], [], [])


def test_01_disk_full_on_a_small_filesystem(tmp_path: Path) -> None:
    """The index is on the full disk too: nothing is lost, and all works again when there is room."""
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], check=False,
                                      capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root and the right to mount")
    try:
        with process(small / "d") as server:
            kept, refused = [], 0
            for _ in range(200):
                data = os.urandom(100_000)
                status, _, body = server.api("POST", f"/v2/a/blobs/uploads/?digest={sha(data)}", data)
                if status == 201:
                    kept.append(data)
                else:
                    assert (status, json.loads(body)["errors"][0]["code"]) == (507, "UNKNOWN"), body
                    refused += 1
            assert kept
            assert refused > 50
            assert server.api("DELETE", f"/v2/a/blobs/{sha(kept.pop())}")[0] in (202, 507)
            for data in kept[-5:]:
                assert server.api("GET", f"/v2/a/blobs/{sha(data)}")[2] == data
            subprocess.run(["mount", "-o", "remount,size=24m", small], check=True)
            server.api.push("a", os.urandom(1_000_000))
            assert custody(small / "d", "registry", "scrub").returncode == 0
    finally:
        subprocess.run(["umount", "-l", small], check=True)


# 02: two requests for one session

def test_02_patch_during_commit(api: Api) -> None:
    """A PATCH that was still open wrote into the file that had become a blob."""
    data = os.urandom(20 * MIB)
    victim = api.push("victim/app", data)
    outcomes = []
    for _ in range(4):
        place = api.start("shop")
        with OpenRequest(api.host, "PATCH", place) as patch:
            for start in range(0, len(data), MIB):
                patch.send(data[start:start + MIB])
            until(lambda place=place: api.received(place) == len(data))  # type: ignore[misc]
            put = threading.Thread(target=lambda place=place: outcomes.append(  # type: ignore[misc]
                api("PUT", f"{place}?digest={sha(data)}")[0]))
            put.start()
            while put.is_alive():
                patch.send(b"BAD")
                time.sleep(0.002)
            put.join()
            assert patch.status() == 409
        # Bytes that came before the PUT did are part of the upload, and then it is not the digest's.
        assert outcomes[-1] in (201, 400)
        assert api("GET", f"/v2/shop/blobs/{sha(data)}")[2] == data or 201 not in outcomes
        assert api("GET", f"/v2/victim/app/blobs/{victim}")[2] == data
        assert api.code("GET", place) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_put_ends_an_open_patch(api: Api) -> None:
    place = api.start("shop")
    with OpenRequest(api.host, "PATCH", place) as patch:
        patch.send(b"first ")
        until(lambda: api.received(place) == 6)
        with OpenRequest(api.host, "PUT", f"{place}?digest={sha(b'first second')}") as put:
            assert patch.status() == 409
            patch.send(b"BAD")
            put.send(b"second")
            until(lambda: api.received(place) == 12)
            for method in ("PATCH", "PUT", "DELETE"):  # a PUT is ended by nobody
                assert api.code(method, f"{place}?digest={sha(b'')}", b"") == (409, "BLOB_UPLOAD_INVALID")
            put.end()
            assert put.status() == 201
    assert api("GET", f"/v2/shop/blobs/{sha(b'first second')}")[2] == b"first second"


def test_a_second_patch_is_refused_while_one_is_open(api: Api) -> None:
    place = api.start("shop")
    with OpenRequest(api.host, "PATCH", place) as patch:
        patch.send(b"first ")
        until(lambda: api.received(place) == 6)
        assert api.code("PATCH", place, b"second", Content_Range="6-11") == (409, "BLOB_UPLOAD_INVALID")
        assert api.received(place) == 6
    # The client went away: what it sent may be continued.
    until(lambda: api("PATCH", place, b"second", Content_Range="6-11")[0] == 202)
    assert api("PUT", f"{place}?digest={sha(b'first second')}")[0] == 201


def test_a_cancelled_session_ends_its_open_patch(api: Api) -> None:
    place = api.start("shop")
    with OpenRequest(api.host, "PATCH", place) as patch:
        patch.send(b"bytes")
        until(lambda: api.received(place) == 5)
        assert api("DELETE", place)[0] == 204
        assert patch.status() == 409
    assert api.code("PATCH", place, b"more") == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("sent", [b"", b"bytes"])
def test_a_session_of_another_repository_is_unknown(tmp_path: Path, method: str, sent: bytes) -> None:
    query = f"?digest={sha(b'bytes')}"
    with registry_on(tmp_path) as (host, _):
        api = Api(host)
        place = api.start("victim/app")
        if sent:
            api("PATCH", place, sent)
        other = place.replace("victim/app", "attacker/x")
        assert api.code(method, other + query, b"" if method != "GET" else None) == (404, "BLOB_UPLOAD_UNKNOWN")
        assert api("GET", place)[0] == 204
    if sent:
        with registry_on(tmp_path) as (host, _):  # found on the disk, it is the same repository's still
            assert Api(host).code(method, other + query) == (404, "BLOB_UPLOAD_UNKNOWN")
            assert Api(host)("PUT", place + query)[0] == 201


def test_an_existing_blob_survives_a_push_that_lies(tmp_path: Path) -> None:
    with registry_on(tmp_path) as (host, _):
        api, good = Api(host), os.urandom(3 * MIB)
        digest = api.push("victim", good)
        for data in (good[:-1] + b"x", b"short", good + b"y"):
            assert api.code("PUT", f"{api.start('attacker')}?digest={digest}", data) == (400, "DIGEST_INVALID")
        assert api("GET", f"/v2/victim/blobs/{digest}")[2] == good
        assert api("HEAD", f"/v2/attacker/blobs/{digest}")[0] == 404
        (tmp_path / "blobs" / "sha256" / digest[7:]).write_bytes(good[:-1] + b"x")
        api.push("other", good)  # proven bytes replace damaged ones
        assert api("GET", f"/v2/victim/blobs/{digest}")[2] == good


# 03: two processes

def test_03_two_processes(tmp_path: Path) -> None:
    with process(tmp_path) as server:
        second = custody(tmp_path, "serve", "--roles", "registry", "--port", "0")
        assert second.returncode == 1
        assert f"another process has it (process {server.child.pid})" in second.stderr
        server.api.push("a", b"data")
        assert custody(tmp_path, "registry", "scrub").returncode == 0  # looks on beside it
        refused = custody(tmp_path, "registry", "scrub", "--remove-orphans")
        assert (refused.returncode, "another process has it" in refused.stderr) == (1, True)
    with process(tmp_path) as server:
        assert server.api("GET", f"/v2/a/blobs/{sha(b'data')}")[2] == b"data"


def test_a_directory_is_free_again_after_close(tmp_path: Path) -> None:
    first = FilesystemBlobs(tmp_path)
    with pytest.raises(ConflictError, match="one writes to a registry"):
        FilesystemBlobs(tmp_path)
    first.close()
    FilesystemBlobs(tmp_path).close()


# 04: lists bounded in bytes

def test_04_referrers_bytes(tmp_path: Path) -> None:
    with registry_on(tmp_path) as (host, _):
        api = Api(host)
        subject, data = api.image("edge/a", "v1")
        descriptor = {"mediaType": oci.MANIFEST, "digest": subject, "size": len(data)}
        largest = 4 * MIB - 1000
        sizes = [3_900_000, 100, 2_000_000, 1_900_000, largest, 300_000]
        pushed = {api.image("edge/a", "", artifactType="a/x", subject=descriptor,
                            annotations={"i": str(number), "p": "é" * (size // 2)})[0]
                  for number, size in enumerate(sizes)}
        found: list[str] = []
        path: str | None = f"/v2/edge/a/referrers/{subject}?artifactType=a/x"
        pages = 0
        while path:
            status, headers, body = api("GET", path)
            assert (status, headers["oci-filters-applied"]) == (200, "artifactType")
            assert len(body) <= 4 * MIB
            index = oci.parse_manifest(body, "page", oci.INDEX)
            assert isinstance(index, oci.Index)
            found += [entry.digest for entry in index.manifests]
            path = headers["link"].partition("<")[2].partition(">")[0] if "link" in headers else None
            pages += 1
        assert found == sorted(pushed)
        assert 4 <= pages <= len(pushed)


def test_tags_and_catalog_are_bounded_whatever_is_asked_for(tmp_path: Path) -> None:
    with registry_on(tmp_path) as (host, store):
        api = Api(host)
        digest, _ = api.image("r", "a")
        with store.repositories.transaction() as transaction:
            descriptor = transaction.manifest("r", digest)
            assert descriptor is not None
            for number in range(10_010):
                transaction.put_manifest("r", descriptor, None, [f"t{number:05}"], store._clock())
            for number in range(1_010):
                transaction.link_blob(f"many/{number:04}", digest, 1)
        for path, key, most in (("/v2/r/tags/list", "tags", 10_000), ("/v2/_catalog", "repositories", 1_000)):
            for asked in ("", "?n=999999999999"):
                _, headers, body = api("GET", path + asked)
                names = json.loads(body)[key]
                assert len(names) == most
                assert headers["link"] == f'<{path}?n={most}&last={names[-1].replace("/", "%2F")}>; rel="next"'
            assert json.loads(api("GET", f"{path}?n=0")[2])[key] == []
            assert api.code("GET", f"{path}?n=-1") == (400, "UNSUPPORTED")
            assert api.code("GET", f"{path}?n={'9' * 5000}") == (400, "UNSUPPORTED")


def test_catalog_names_repositories_while_they_hold_something(api: Api) -> None:
    digest = api.push("a/b", b"x")
    manifest, _ = api.image("c", "v1")
    assert json.loads(api("GET", "/v2/_catalog")[2])["repositories"] == ["a/b", "c"]
    api("DELETE", f"/v2/a/b/blobs/{digest}")
    for blob in (b"{}", b"layer"):
        api("DELETE", f"/v2/c/blobs/{sha(blob)}")
    assert json.loads(api("GET", "/v2/_catalog")[2])["repositories"] == ["c"]
    api("DELETE", f"/v2/c/manifests/{manifest}")
    assert json.loads(api("GET", "/v2/_catalog")[2])["repositories"] == []


def test_an_index_of_the_version_before_is_filled(tmp_path: Path) -> None:
    import sqlite3

    from custody.adapters.sqlite import repositories

    old = sqlite3.connect(tmp_path / "index.db")
    old.executescript(f"{repositories._MIGRATIONS[0]}; PRAGMA user_version=1;"
                      f"INSERT INTO blob VALUES ('b', '{sha(b'1')}', 1), ('a', '{sha(b'1')}', 1);"
                      f"INSERT INTO manifest VALUES ('c', '{sha(b'2')}', 'm', 1, NULL, NULL, '{{}}')")
    old.close()
    new = SqliteRepositories(tmp_path / "index.db")
    assert new.names("", 10) == ["a", "b", "c"]
    new.close()


# 08: scrub sees both sides

def test_08_scrub_blind(tmp_path: Path) -> None:
    with process(tmp_path) as server:
        api = server.api
        api.image("r", "v1")
        blobs = server.registry / "blobs"
        (blobs / "sha256" / sha(b"layer")[7:]).unlink()
        (blobs / "sha256" / ".nfs0001").touch()
        (blobs / "sha256" / ("0" * 64)).mkdir()
        (blobs / "lost+found").mkdir()
        (blobs / "sha256" / "x\nmissing \x1b[31m").touch()
        api.push("other", b"changed")
        (blobs / "sha256" / sha(b"changed")[7:]).write_bytes(b"Changed")
        (blobs / "sha256" / sha(b"nobody's")[7:]).write_bytes(b"nobody's")
        done = custody(tmp_path, "registry", "scrub", "-o", "json")
        report = json.loads(done.stdout)
        assert done.returncode == 4
        assert report["missing"] == [{"digest": sha(b"layer"), "repositories": ["r"]}]
        assert report["damaged"] == [{"digest": sha(b"changed"), "repositories": ["other"]}]
        assert [Path(stray["path"]).name for stray in report["strays"]] == [
            "lost+found", ".nfs0001", "0" * 64, "x\nmissing \x1b[31m"]
        assert report["orphans"] == [sha(b"nobody's")]
        assert (report["quarantine_files"], report["quarantine_bytes"]) == (1, 7)
        shown = custody(tmp_path, "registry", "scrub")
        assert f"missing    {sha(b'layer')}  in r" in shown.stdout
        assert "x\\nmissing \\x1b[31m: not named by a digest" in shown.stdout  # no line and no colour of its own
        assert f"no file of: {sha(b'changed')}, {sha(b'layer')}" in shown.stderr
        # What is missing is 404, so that a push repairs it.
        assert api("GET", "/v2/r/manifests/v1")[0] == 404
        assert api("HEAD", f"/v2/r/blobs/{sha(b'layer')}")[0] == 404
        api.push("r", b"layer")
        api.push("other", b"changed")
        assert api("GET", "/v2/r/manifests/v1")[0] == 200
        assert custody(tmp_path, "registry", "scrub").returncode == 0


def test_orphans_are_removed_only_when_old_and_alone(tmp_path: Path) -> None:
    blobs = FilesystemBlobs(tmp_path)
    repositories = SqliteRepositories(tmp_path / "index.db")
    old, young = sha(b"old"), sha(b"young")
    blobs.publish([(old, b"old"), (young, b"young"), (sha(b"kept"), b"kept")])
    with repositories.transaction() as transaction:
        transaction.link_blob("r", sha(b"kept"), 4)
    os.utime(tmp_path / "blobs" / old.replace(":", "/"), (1, 1))
    with pytest.raises(UsageError, match="needs the registry to itself"):
        scrub(Archive(BlobDirectory(tmp_path), repositories), remove_orphans=True)
    report = scrub(Archive(blobs, repositories, blobs), remove_orphans=True)
    assert (sorted(report.orphans), report.removed) == (sorted([old, young]), [old])
    assert (blobs.size(old), blobs.size(young)) == (None, 5)
    blobs.close()
    repositories.close()


def test_quarantine_takes_only_the_file_that_was_hashed(tmp_path: Path) -> None:
    """A push may put good bytes there between the hash and the move."""
    blobs = FilesystemBlobs(tmp_path)
    digest = sha(b"good")
    blobs.publish([(digest, b"good")])
    opened = blobs.open(digest)
    assert opened is not None
    with opened as blob:
        assert not BlobDirectory(tmp_path).quarantine(digest, blob.version + "1")
        assert blob.read(0, 10) == b"good"
    before = blobs.changes()
    assert BlobDirectory(tmp_path).quarantine(digest, blob.version)  # as another process would
    assert (blobs.size(digest), blobs.changes() != before) == (None, True)
    blobs.close()


def test_a_manifest_whose_part_went_behind_our_back_is_not_there(tmp_path: Path) -> None:
    """Its parts are looked at once, and again after anybody removed a file."""
    with registry_on(tmp_path) as (host, _):
        api = Api(host)
        api.image("r", "v1")
        assert api("GET", "/v2/r/manifests/v1")[0] == 200
        (tmp_path / "blobs" / "sha256" / sha(b"layer")[7:]).unlink()
        assert api.code("GET", "/v2/r/manifests/v1") == (404, "MANIFEST_UNKNOWN")
        api.push("r", b"layer")
        assert api("GET", "/v2/r/manifests/v1")[0] == 200
        assert api("DELETE", f"/v2/r/blobs/{sha(b'layer')}")[0] == 202
        assert api.code("GET", "/v2/r/manifests/v1") == (404, "MANIFEST_UNKNOWN")


def test_sparse_indexes_are_for_those_who_say_so(tmp_path: Path) -> None:
    index = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [
        {"mediaType": oci.MANIFEST, "digest": sha(b"elsewhere"), "size": 9}]}).encode()
    for sparse, status in ((False, 400), (True, 201)):
        with registry_on(tmp_path / str(sparse), sparse_indexes=sparse) as (host, _):
            answer = Api(host)("PUT", "/v2/r/manifests/v1", index, Content_Type=oci.INDEX)
            assert answer[0] == status
            if sparse:
                assert Api(host)("GET", "/v2/r/manifests/v1")[2] == index
            else:
                assert json.loads(answer[2])["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"


def test_conditional_pushes_hold_under_concurrency(tmp_path: Path) -> None:
    """Sixteen writers add themselves to one list, as clients do with fallback tags: no entry is lost."""
    with registry_on(tmp_path) as (host, _):
        api = Api(host)

        def add(number: int) -> None:
            while True:
                status, headers, body = api("GET", "/v2/r/manifests/list")
                names = json.loads(body)["annotations"] if status == 200 else {}
                data = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [],
                                   "annotations": {**names, str(number): ""}}).encode()
                condition = {"If_Match": headers["etag"]} if status == 200 else {"If_None_Match": "*"}
                status = api("PUT", "/v2/r/manifests/list", data, Content_Type=oci.INDEX, **condition)[0]
                if status == 201:
                    return
                assert status == 412

        threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(json.loads(api("GET", "/v2/r/manifests/list")[2])["annotations"]) == 16


def test_a_manifest_of_an_unknown_type_is_the_clients_error(api: Api) -> None:
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/x"}).encode()
    assert api.code("PUT", "/v2/r/manifests/v", manifest, Content_Type="application/x") == (400, "MANIFEST_INVALID")


def test_conditions_are_kept_to_or_refused(api: Api) -> None:
    one, manifest = api.image("r", "v", b"one")
    two, _ = api.image("r", "w", b"two")
    place = "/v2/r/manifests/v"

    def put(**headers: str) -> int:
        return api("PUT", place, manifest, Content_Type=oci.MANIFEST, **headers)[0]

    assert put(If_Match=f'"{two}", "{one}"') == 201
    assert put(If_Match=f'"{two}"') == 412
    assert put(If_Match=f'W/"{one}"') == 412  # weak tags are never equal where bytes are replaced
    assert put(If_None_Match=f'"{two}", W/"{one}"') == 412
    assert put(If_None_Match=f'"{two}"') == 201
    for header, value in (("If-Match", one), ("If-None-Match", one), ("If-Match", '"'), ("If-None-Match", "**")):
        status, code = api.code("PUT", place, manifest, **{"Content-Type": oci.MANIFEST, header: value})
        assert (status, code) == (400, "UNSUPPORTED"), (header, value)
    assert api("GET", place, If_None_Match=f'W/"{one}"')[::2] == (304, b"")
    assert api("HEAD", place, If_None_Match=f'"{two}"')[0] == 200
    assert api("GET", place, If_Match=f'"{two}"')[0] == 412
    assert api.code("DELETE", place, If_Match=f'"{two}"') == (412, "DENIED")
    assert api("GET", place)[0] == 200
    assert api("DELETE", place, If_Match=f'"{one}"')[0] == 202
    assert api.code("DELETE", place, If_Match="*") == (412, "DENIED")


def test_what_a_registry_cannot_do_is_said_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with registry_on(tmp_path) as (host, store):
        api = Api(host)
        assert api.code("GET", "/v2/none/such") == (404, "NAME_UNKNOWN")
        assert api.code("POST", "/v2/") == (405, "UNSUPPORTED")
        assert api.code("PUT", "/v2/_catalog") == (405, "UNSUPPORTED")
        assert api.code("POST", f"/v2/r/blobs/uploads/{'0' * 48}") == (405, "UNSUPPORTED")
        assert api.code("POST", "/v2/r/blobs/uploads/?digest-algorithm=md5") == (400, "DIGEST_INVALID")

        def broken(*_: object) -> None:
            raise RuntimeError(f"a bug about {tmp_path}")

        monkeypatch.setattr(store.repositories, "manifest", broken)
        status, _, body = api("GET", "/v2/r/manifests/v1")
        assert (status, json.loads(body)["errors"][0]["code"]) == (500, "UNKNOWN")
        assert b"bug" not in body
        monkeypatch.setattr(SqliteTransaction, "link_blob", lambda *_: (_ for _ in ()).throw(
            StorageFullError("index: database or disk is full")))
        assert api.code("POST", f"/v2/r/blobs/uploads/?digest={sha(b'x')}", b"x") == (507, "UNKNOWN")
        assert store.blobs.size(sha(b"x")) is None


def test_endurance(tmp_path: Path) -> None:
    """A few rounds; `python -m tests.registry.endurance 100` is the whole."""
    acknowledged = 0
    for turn in range(10):  # a slow machine takes more of them until enough was asked
        (tmp_path / str(turn)).mkdir()
        more, wrong = endurance.run(tmp_path / str(turn), 3, seconds=0.8)
        assert wrong == []
        acknowledged += more
        if acknowledged > 20:
            return
    pytest.fail(f"{acknowledged} requests were acknowledged in ten turns")
