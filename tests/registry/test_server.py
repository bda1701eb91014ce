"""The registry's HTTP interface, request by request (distribution-spec v1.1)."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.formats import oci
from custody.registry.scrub import Archive, scrub
from tests.serving import registry_on


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Api:
    def __init__(self, host: str) -> None:
        self._host = host

    def __call__(self, method: str, path: str, body: bytes | None = None,
                 **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._host)
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, data

    def code(self, *args: object, **headers: str) -> tuple[int, str]:
        status, _, data = self(*args, **headers)  # type: ignore[arg-type]
        return status, json.loads(data)["errors"][0]["code"]

    def push(self, name: str, data: bytes) -> str:
        status, headers, _ = self("POST", f"/v2/{name}/blobs/uploads/")
        assert status == 202
        assert self("PUT", f"{headers['location']}?digest={sha(data)}", data)[0] == 201
        return sha(data)

    def image(self, name: str, reference: str, layer: bytes = b"layer", **more: object) -> tuple[str, bytes]:
        self.push(name, b"{}")
        digest = self.push(name, layer)
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": oci.MANIFEST,
            "config": {"mediaType": oci.CONFIG, "digest": sha(b"{}"), "size": 2},
            "layers": [{"mediaType": oci.LAYER_GZIP, "digest": digest, "size": len(layer)}], **more}).encode()
        status, headers, body = self("PUT", f"/v2/{name}/manifests/{reference or sha(manifest)}", manifest,
                                     Content_Type=oci.MANIFEST)
        assert status == 201, body
        return headers["docker-content-digest"], manifest


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with registry_on(tmp_path) as (host, _):
        yield Api(host)


def test_ping_and_unknown_paths(api: Api) -> None:
    assert api("GET", "/v2/")[0] == 200
    assert api.code("GET", "/v2/a/manifests/x") == (404, "MANIFEST_UNKNOWN")
    assert api.code("GET", f"/v2/a/blobs/{sha(b'x')}") == (404, "BLOB_UNKNOWN")
    assert api.code("GET", "/v2/a/tags/list") == (404, "NAME_UNKNOWN")
    assert api.code("POST", "/v2/UPPER/blobs/uploads/") == (400, "NAME_INVALID")
    assert api.code("PATCH", "/v2/a/manifests/x") == (405, "UNSUPPORTED")


def test_monolithic_upload_and_ranges(api: Api) -> None:
    data = bytes(range(256)) * 10
    digest = api.push("team/app", data)
    assert api("GET", f"/v2/team/app/blobs/{digest}")[2] == data
    status, headers, body = api("HEAD", f"/v2/team/app/blobs/{digest}")
    assert (status, headers["content-length"], headers["docker-content-digest"], body) == (200, "2560", digest, b"")
    status, headers, body = api("GET", f"/v2/team/app/blobs/{digest}", Range="bytes=100-199")
    assert (status, headers["content-range"], body) == (206, "bytes 100-199/2560", data[100:200])
    assert api("GET", f"/v2/team/app/blobs/{digest}", Range="bytes=-10")[2] == data[-10:]
    assert api("GET", f"/v2/team/app/blobs/{digest}", Range="bytes=5000-6000")[0] == 416
    assert api("GET", f"/v2/team/app/blobs/{digest}", Range="bytes=500-0")[0] == 416


def test_single_post_upload(api: Api) -> None:
    assert api("POST", f"/v2/a/blobs/uploads/?digest={sha(b'abc')}", b"abc")[0] == 201
    assert api.code("POST", f"/v2/a/blobs/uploads/?digest={sha(b'abd')}", b"abc") == (400, "DIGEST_INVALID")


def test_a_blob_that_is_not_its_digest_is_refused_and_not_kept(api: Api) -> None:
    _, headers, _ = api("POST", "/v2/a/blobs/uploads/")
    status, _, body = api("PUT", f"{headers['location']}?digest={sha(b'good')}", b"evil")
    assert status == 400
    assert f"blob bytes are {sha(b'evil')}, expected {sha(b'good')}" in json.loads(body)["errors"][0]["message"]
    assert api("HEAD", f"/v2/a/blobs/{sha(b'good')}")[0] == 404
    assert api("HEAD", f"/v2/a/blobs/{sha(b'evil')}")[0] == 404
    assert api.code("GET", headers["location"]) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_chunks_in_order_and_out_of_order(api: Api) -> None:
    where = api("POST", "/v2/a/blobs/uploads/")[1]["location"]
    status, headers, _ = api("PATCH", where, b"hello ", Content_Range="0-5")
    assert (status, headers["range"]) == (202, "0-5")
    status, headers, _ = api("PATCH", where, b"world", Content_Range="9-13")
    assert (status, headers["range"]) == (416, "0-5")
    assert api("GET", where)[1]["range"] == "0-5"
    assert api("PATCH", where, b"world", Content_Range="6-10")[0] == 202
    assert api("PUT", f"{where}?digest={sha(b'hello world')}")[0] == 201
    assert api("GET", f"/v2/a/blobs/{sha(b'hello world')}")[2] == b"hello world"


def test_an_upload_survives_a_restart(tmp_path: Path) -> None:
    with registry_on(tmp_path) as (host, _):
        where = Api(host)("POST", "/v2/a/blobs/uploads/")[1]["location"]
        Api(host)("PATCH", where, b"first ")
    with registry_on(tmp_path) as (host, _):
        api = Api(host)
        assert api("GET", where)[1]["range"] == "0-5"
        assert api("PUT", f"{where}?digest={sha(b'first second')}", b"second")[0] == 201
        assert api("GET", f"/v2/a/blobs/{sha(b'first second')}")[2] == b"first second"


def test_cancelled_upload_is_gone(api: Api) -> None:
    where = api("POST", "/v2/a/blobs/uploads/")[1]["location"]
    assert api("DELETE", where)[0] == 204
    assert api("GET", where)[0] == 404


def test_upload_names_cannot_leave_the_folder(api: Api) -> None:
    assert api.code("PUT", f"/v2/a/blobs/uploads/..%2f..%2fregistry.db?digest={sha(b'')}")[0] == 404


def test_mount(api: Api) -> None:
    digest = api.push("a", b"data")
    assert api("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a")[0] == 201
    assert api("GET", f"/v2/b/blobs/{digest}")[2] == b"data"
    assert api("POST", f"/v2/c/blobs/uploads/?mount={digest}&from=nobody")[0] == 202
    assert api("HEAD", f"/v2/c/blobs/{digest}")[0] == 404


def test_sha512(api: Api) -> None:
    digest = "sha512:" + hashlib.sha512(b"data").hexdigest()
    where = api("POST", "/v2/a/blobs/uploads/")[1]["location"]
    assert api("PUT", f"{where}?digest={digest}", b"data")[0] == 201
    assert api("GET", f"/v2/a/blobs/{digest}")[2] == b"data"


def test_manifest_round_trip(api: Api) -> None:
    digest, data = api.image("a", "v1")
    for reference in ("v1", digest):
        status, headers, body = api("GET", f"/v2/a/manifests/{reference}")
        assert (status, headers["content-type"], headers["docker-content-digest"], body) == (
            200, oci.MANIFEST, digest, data)
    assert api("HEAD", "/v2/a/manifests/v1")[1]["content-length"] == str(len(data))


@pytest.mark.parametrize(("change", "code", "words"), [
    ({"layers": [{"mediaType": oci.LAYER_GZIP, "digest": sha(b"absent"), "size": 6}]}, "MANIFEST_BLOB_UNKNOWN",
     "layers[0]"),
    ({"config": {"mediaType": oci.CONFIG, "digest": sha(b"{}"), "size": 99}}, "MANIFEST_INVALID", "config.size"),
    ({"schemaVersion": 1}, "MANIFEST_INVALID", "schemaVersion"),
    ({"mediaType": oci.INDEX}, "MANIFEST_INVALID", "index"),
    ({"layers": "all"}, "MANIFEST_INVALID", "layers"),
    ({"layers": [{"mediaType": oci.LAYER_GZIP, "digest": "sha256:..", "size": 6}]}, "MANIFEST_INVALID",
     "layers[0].digest"),
])
def test_manifests_that_are_refused(api: Api, change: dict[str, object], code: str, words: str) -> None:
    _, data = api.image("a", "v1")
    document = {**json.loads(data), **change}
    status, _, body = api("PUT", "/v2/a/manifests/bad", json.dumps(document).encode(), Content_Type=oci.MANIFEST)
    error = json.loads(body)["errors"][0]
    assert (status, error["code"]) == (400, code)
    assert words in error["message"]
    assert api("GET", "/v2/a/manifests/bad")[0] == 404


def test_manifest_under_a_digest_that_lies(api: Api) -> None:
    _, data = api.image("a", "v1")
    status, _, body = api("PUT", f"/v2/a/manifests/{sha(b'other')}", data, Content_Type=oci.MANIFEST)
    assert status == 400
    assert f"expected {sha(b'other')}" in json.loads(body)["errors"][0]["message"]


def test_manifest_limits(api: Api) -> None:
    assert api.code("PUT", "/v2/a/manifests/big", b" " * (oci.MAX_MANIFEST + 1), Content_Type=oci.MANIFEST) == (
        413, "SIZE_INVALID")
    assert api.code("PUT", "/v2/a/manifests/none", b"{}")[0] == 400


def test_tags_are_sorted_and_paged(api: Api) -> None:
    for tag in ("b", "A", "c", "a"):
        api.image("r", tag)
    assert json.loads(api("GET", "/v2/r/tags/list")[2]) == {"name": "r", "tags": ["A", "a", "b", "c"]}
    _, headers, body = api("GET", "/v2/r/tags/list?n=2")
    assert json.loads(body)["tags"] == ["A", "a"]
    assert headers["link"] == '</v2/r/tags/list?n=2&last=a>; rel="next"'
    assert json.loads(api("GET", "/v2/r/tags/list?n=2&last=a")[2])["tags"] == ["b", "c"]
    _, headers, body = api("GET", "/v2/r/tags/list?n=0")
    assert (json.loads(body)["tags"], "link" in headers) == ([], False)


def test_conditional_push(api: Api) -> None:
    digest, data = api.image("r", "v1")

    def put(tag: str, **condition: str) -> int:
        connection = http.client.HTTPConnection(api._host)
        headers = {"Content-Type": oci.MANIFEST, **{k.replace("_", "-"): v for k, v in condition.items()}}
        connection.request("PUT", f"/v2/r/manifests/{tag}", data, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    assert put("v1", If_Match=f'"{digest}"') == 201
    assert put("v1", If_Match=f'"{sha(b"other")}"') == 412
    assert put("v1", If_None_Match="*") == 412
    assert put("v2", If_Match="*") == 412
    assert put("v2", If_None_Match="*") == 201
    assert put("v2", If_Match="*") == 201


def test_push_by_digest_with_tags(api: Api) -> None:
    digest, data = api.image("r", "")
    _, headers, _ = api("PUT", f"/v2/r/manifests/{digest}?tag=x&tag=y", data, Content_Type=oci.MANIFEST)
    assert "oci-tag" in headers
    assert json.loads(api("GET", "/v2/r/tags/list")[2])["tags"] == ["x", "y"]


def test_referrers(api: Api) -> None:
    subject, data = api.image("r", "v1")
    descriptor = {"mediaType": oci.MANIFEST, "digest": subject, "size": len(data)}
    first, _ = api.image("r", "", b"sig", artifactType="a/sig", subject=descriptor, annotations={"k": "v"})
    second, _ = api.image("r", "", b"bom", subject=descriptor)
    status, headers, body = api("GET", f"/v2/r/referrers/{subject}")
    found = {entry["digest"]: entry for entry in json.loads(body)["manifests"]}
    assert (status, headers["content-type"], set(found)) == (200, oci.INDEX, {first, second})
    assert (found[first]["artifactType"], found[first]["annotations"]) == ("a/sig", {"k": "v"})
    assert found[second]["artifactType"] == oci.CONFIG
    _, headers, body = api("GET", f"/v2/r/referrers/{subject}?artifactType=a/sig")
    assert headers["oci-filters-applied"] == "artifactType"
    assert [entry["digest"] for entry in json.loads(body)["manifests"]] == [first]
    assert json.loads(api("GET", f"/v2/r/referrers/{sha(b'none')}")[2])["manifests"] == []
    assert api.code("GET", "/v2/r/referrers/latest") == (400, "DIGEST_INVALID")
    api("DELETE", f"/v2/r/manifests/{first}")
    assert [e["digest"] for e in json.loads(api("GET", f"/v2/r/referrers/{subject}")[2])["manifests"]] == [second]


def test_oci_subject_header_and_missing_subject(api: Api) -> None:
    api.push("r", b"{}")
    data = json.dumps({"schemaVersion": 2, "mediaType": oci.MANIFEST, "artifactType": "a/b", "layers": [],
                       "config": {"mediaType": oci.EMPTY, "digest": sha(b"{}"), "size": 2},
                       "subject": {"mediaType": oci.MANIFEST, "digest": sha(b"later"), "size": 5}}).encode()
    status, headers, _ = api("PUT", f"/v2/r/manifests/{sha(data)}", data, Content_Type=oci.MANIFEST)
    assert (status, headers["oci-subject"]) == (201, sha(b"later"))


def test_delete(api: Api) -> None:
    digest, _ = api.image("r", "v1")
    api.image("r", "v2")
    assert api("DELETE", "/v2/r/manifests/v1")[0] == 202
    assert api("GET", "/v2/r/manifests/v1")[0] == 404
    assert api("GET", f"/v2/r/manifests/{digest}")[0] == 200
    assert api("DELETE", f"/v2/r/manifests/{digest}")[0] == 202
    assert api("GET", "/v2/r/manifests/v2")[0] == 404
    assert api("DELETE", f"/v2/r/manifests/{digest}")[0] == 404
    assert api("DELETE", f"/v2/r/blobs/{sha(b'layer')}")[0] == 202
    assert api("GET", f"/v2/r/blobs/{sha(b'layer')}")[0] == 404


def test_catalog(api: Api) -> None:
    for name in ("b", "a/c", "a/b"):
        api.push(name, b"x")
    assert json.loads(api("GET", "/v2/_catalog")[2]) == {"repositories": ["a/b", "a/c", "b"]}
    assert json.loads(api("GET", "/v2/_catalog?n=1&last=a/b")[2]) == {"repositories": ["a/c"]}


def test_tag_history_is_append_only(tmp_path: Path) -> None:
    with registry_on(tmp_path) as (host, store):
        api = Api(host)
        one, _ = api.image("r", "v1")
        two, _ = api.image("r", "v1", b"other")
        api("DELETE", "/v2/r/manifests/v1")
        assert [event.digest for event in store.history("r", "v1")] == [one, two, None]


def test_scrub_finds_what_changed_at_rest(tmp_path: Path) -> None:
    with registry_on(tmp_path) as (host, store):
        api = Api(host)
        api.image("r", "v1")
        digest = sha(b"layer")
        (tmp_path / "blobs" / "sha256" / digest[7:]).write_bytes(b"LAYER")
        assert [item.digest for item in scrub(Archive(store.blobs, store.repositories)).damaged] == [digest]
        assert api("GET", f"/v2/r/blobs/{digest}")[0] == 404
        # The manifest is not there either, so that clients which ask for it first push everything again.
        assert api.code("GET", "/v2/r/manifests/v1") == (404, "MANIFEST_UNKNOWN")
        api.push("r", b"layer")
        assert scrub(Archive(store.blobs, store.repositories)).sound
        assert api("GET", f"/v2/r/blobs/{digest}")[2] == b"layer"
        assert api("GET", "/v2/r/manifests/v1")[0] == 200


def test_a_manifest_changed_at_rest_is_not_served(tmp_path: Path) -> None:
    with registry_on(tmp_path) as (host, _):
        api = Api(host)
        digest, data = api.image("r", "v1")
        (tmp_path / "blobs" / "sha256" / digest[7:]).write_bytes(data.replace(b"layers", b"lairs?"))
        status, _, body = api("GET", "/v2/r/manifests/v1")
        assert status == 500
        assert "changed at rest" in json.loads(body)["errors"][0]["message"]
