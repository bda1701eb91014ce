"""`Updater` beside a server that answers as each publisher does: by dates, pages, lists and archives, in good times and
bad. The real ones cannot be reached from where these tests run.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import zstandard

from custody.adapters.http.stdlib import StdlibHttp
from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.scannerdb import SqliteScannerTables
from custody.errors import CustodyError
from custody.formats import rolie
from custody.services.advisoryimport import Importer
from custody.services.advisoryupdate import Updated, Updater
from custody.vulns import feeds as addresses
from custody.vulns.feeds import Address, Kind
from tests.contents import feeds
from tests.contents.test_db_update import Mirror
from tests.contents.test_scan import record

NOW = datetime(2026, 11, 29, tzinfo=UTC)
Reply = tuple[int, dict[str, str], bytes]


class Publisher(Mirror):
    """A Mirror that may have dates instead of names for what it has, be busy, or compute its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.dated: dict[str, str] = {}
        """Paths that have a Last-Modified and no ETag."""
        self.next: dict[str, list[Reply]] = {}
        """What the next requests of a path get."""
        self.computed: dict[str, Callable[[dict[str, str]], Reply]] = {}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        reply: Reply | None = None
        if self.next.get(parts.path):
            reply = self.next[parts.path].pop(0)
        elif parts.path in self.computed:
            reply = self.computed[parts.path]({
                name: values[0] for name, values in parse_qs(parts.query).items()} | {
                    "apiKey": request.headers.get("apiKey", "")})
        elif parts.path in self.dated:
            date = self.dated[parts.path]
            reply = (304, {}, b"") if request.headers.get("If-Modified-Since") == date else (
                200, {"Last-Modified": date}, self.files[parts.path])
        if reply is None:
            super().answer(request)
            return
        status, headers, body = reply
        self.asked.append((request.path, str(status)))
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if status != 304 and "Transfer-Encoding" not in headers:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
        if "Transfer-Encoding" in headers:
            request.close_connection = True


class World:
    def __init__(self, folder: Path, publisher: Publisher) -> None:
        self.folder, self.publisher, self.now = folder, publisher, NOW
        self.store = SqliteAdvisories(folder / "advisories.db")
        self.waited: list[float] = []

    def update(self, path: str, kind: Kind = "document", sidecar: str = "") -> Updated:
        async def wait(seconds: float) -> None:
            self.waited.append(seconds)

        async def main() -> Updated:
            http = StdlibHttp()
            try:
                importer = Importer(self.store, SqliteScannerTables, self.folder / "downloads")
                return await Updater(http, self.store, importer, lambda: self.now,
                                     lambda _title, _size: contextlib.nullcontext(), wait).update(
                    "feed", Address(f"{self.publisher.url}{path}", kind, sidecar))
            finally:
                await http.close()

        return asyncio.run(main())

    def ids(self, ecosystem: str, name: str) -> list[str]:
        return [advisory.id for advisory in self.store.find(ecosystem, name)]


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Iterator[World]:
    publisher = Publisher()
    thread = threading.Thread(target=publisher.server.serve_forever, daemon=True)
    thread.start()
    yield World(tmp_path, publisher)
    publisher.server.shutdown()
    publisher.server.server_close()
    thread.join()


def test_debian_has_dates_alone(world: World) -> None:
    world.publisher.files["/json"] = feeds.debian()
    world.publisher.dated["/json"] = "Sat, 28 Nov 2026 10:00:00 GMT"
    assert world.update("/json").added > 0
    assert world.update("/json").unchanged
    known = world.ids("Debian:12", "openssl")
    assert "DEBIAN-CVE-2023-0286" in known
    world.publisher.dated["/json"] = "Sun, 29 Nov 2026 10:00:00 GMT"
    for broken in (feeds.debian()[:-20], b"<!DOCTYPE html><title>Sign in</title>", b"", b"null", b"[]"):
        world.publisher.files["/json"] = broken
        done = world.update("/json")
        assert (bool(done.failure), done.before) == (True, "2026-11-29T00:00:00Z")
        assert world.ids("Debian:12", "openssl") == known
    assert [kind for _, kind in world.publisher.asked] == ["200", "304", *["200"] * 5]


def test_a_wrong_content_type_is_judged_by_its_bytes(world: World) -> None:
    """Publishers send JSON as text/plain; a page that asks to sign in may say application/json."""
    world.publisher.next["/json"] = [(200, {"Content-Type": "text/plain"}, feeds.debian()),
                                     (200, {"Content-Type": "application/json"}, b"<html>")]
    assert world.update("/json").failure == ""
    assert "expected one JSON document" in world.update("/json").failure
    assert world.ids("Debian:12", "openssl")


EPSS = b"#model_version:v2025.03.14,score_date:2026-11-28T12:55:00Z\ncve,epss,percentile\nCVE-2026-0001,0.5,0.9\n"


def test_scores_that_are_cut_off_are_not_taken(world: World) -> None:
    packed = gzip.compress(EPSS)
    world.publisher.files["/epss_scores-current.csv.gz"] = packed
    assert world.update("/epss_scores-current.csv.gz").failure == ""
    for broken in (packed[:-4], packed[:30], packed[:10], packed[:-8] + b"\0" * 8, b"\x1f\x8b"):
        world.publisher.files["/epss_scores-current.csv.gz"] = broken
        assert world.update("/epss_scores-current.csv.gz").failure
        assert world.store.scores(["CVE-2026-0001"])["CVE-2026-0001"].score == 0.5


def test_a_catalogue_that_is_older_than_the_one_before_is_not_taken(world: World) -> None:
    def kev(version: str, released: str, *cves: str) -> bytes:
        return json.dumps({"title": "CISA Catalog of Known Exploited Vulnerabilities", "catalogVersion": version,
                           "dateReleased": released, "count": len(cves), "vulnerabilities": [
                               {"cveID": cve, "vendorProject": "x", "product": "y", "vulnerabilityName": "z",
                                "dateAdded": "2026-01-01", "shortDescription": "", "requiredAction": "",
                                "dueDate": "2026-01-22", "knownRansomwareCampaignUse": "Unknown", "notes": ""}
                               for cve in cves]}).encode()

    world.publisher.files["/kev.json"] = kev("2", "2026-11-28T00:00:00.0000Z", "CVE-2026-0001", "CVE-2026-0002")
    assert world.update("/kev.json").failure == ""
    world.publisher.files["/kev.json"] = kev("1", "2026-11-27T00:00:00.0000Z", "CVE-2026-0001")
    world.update("/kev.json")
    assert world.store.status().exploited == 2


def test_an_answer_without_a_length_that_is_cut_off(world: World) -> None:
    """Chunked, as servers behind a proxy answer."""
    half = feeds.debian()[:500]
    world.publisher.next["/json"] = [(200, {"Transfer-Encoding": "chunked"}, b"1f4\r\n" + half + b"\r\n")]
    assert world.update("/json").failure
    assert world.ids("Debian:12", "openssl") == []
    world.publisher.files["/json"] = feeds.debian()
    assert world.update("/json").failure == ""


def test_a_busy_server_is_waited_for_as_long_as_it_says(world: World) -> None:
    world.publisher.files["/json"] = feeds.debian()
    world.publisher.next["/json"] = [(503, {"Retry-After": "7"}, b""), (429, {"Retry-After": "20"}, b"")]
    assert world.update("/json").failure == ""
    assert world.waited == [7, 20]
    for reply in ((503, {}, b""), (503, {"Retry-After": "86400"}, b""), (403, {}, b""), (500, {}, b""),
                  (503, {"Retry-After": "Sun, 29 Nov 2026 10:00:00 GMT"}, b"")):
        world.publisher.next["/json"] = [reply]
        assert f"answered {reply[0]}" in world.update("/json").failure
    world.publisher.next["/json"] = [(503, {"Retry-After": "1"}, b"")] * 9
    assert "answered 503" in world.update("/json").failure
    assert world.waited == [7, 20, *[1] * 5]


def _cve(number: int, modified: str) -> dict[str, Any]:
    return {"cve": {"id": f"CVE-2026-{number:04}", "sourceIdentifier": "cve@mitre.org", "published": modified,
                    "lastModified": modified, "vulnStatus": "Analyzed",
                    "descriptions": [{"lang": "en", "value": "x"}], "configurations": [{"nodes": [
                        {"operator": "OR", "negate": False, "cpeMatch": [
                            {"vulnerable": True, "criteria": "cpe:2.3:a:left:left:*:*:*:*:*:*:*:*"}]}]}]}}


class Nvd:
    """The API: at most two records a page; a span of more than 120 days is refused."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, str]] = []
        self.refusals = 0
        self.breaks_at = -1

    def __call__(self, query: dict[str, str]) -> Reply:
        begin, end = query.get("lastModStartDate", ""), query.get("lastModEndDate", "")
        start = int(query["startIndex"])
        self.asked.append((begin[:10], end[:10], query["startIndex"]))
        if self.refusals:
            self.refusals -= 1
            return 403, {}, b""
        if begin and datetime.fromisoformat(end) - datetime.fromisoformat(begin) > timedelta(days=120):
            return 404, {"message": "The range of dates is too large"}, b""
        if start == self.breaks_at:
            return 500, {}, b""
        chosen = [row for row in self.records if not begin or begin <= row["cve"]["lastModified"] + "Z" <= end]
        page = chosen[start:start + 2]
        return 200, {}, json.dumps({
            "resultsPerPage": len(page), "startIndex": start, "totalResults": len(chosen), "format": "NVD_CVE",
            "version": "2.0", "timestamp": "2026-11-29T00:00:00.000", "vulnerabilities": page}).encode()


def test_pages_of_nvd(world: World) -> None:
    nvd = world.publisher.computed["/cves"] = Nvd()
    nvd.records = [_cve(number, "2026-01-01T00:00:00.000") for number in range(5)]
    nvd.refusals = 2
    nvd.breaks_at = 2
    assert "answered 500" in world.update("/cves", "nvd").failure
    assert world.waited == [30, 30, 6]  # it asked too often; and between two pages
    assert len(world.ids("CPE", "a:left:left")) == 2
    nvd.breaks_at, nvd.asked = -1, []
    assert world.update("/cves", "nvd").failure == ""
    assert nvd.asked == [("", "", "2"), ("", "", "4")]  # on from where it broke off
    assert len(world.ids("CPE", "a:left:left")) == 5
    nvd.asked = []
    assert world.update("/cves", "nvd").unchanged
    world.now += timedelta(days=130)
    nvd.records.append(_cve(9, "2027-04-01T00:00:00.000"))
    assert world.update("/cves", "nvd").added == 1
    assert nvd.asked == [("2026-11-29", "2027-03-29", "0"), ("2027-03-29", "2027-04-08", "0")]
    assert len(world.ids("CPE", "a:left:left")) == 6


def test_who_has_a_key_of_nvd_says_so_and_may_ask_sooner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVD_API_KEY", "k-1")
    nvd, keys = Nvd(), list[str]()
    nvd.records = [_cve(number, "2026-01-01T00:00:00.000") for number in range(3)]

    def answer(query: dict[str, str]) -> Reply:
        keys.append(query["apiKey"])
        return nvd(query)

    world.publisher.computed["/cves"] = answer
    assert world.update("/cves", "nvd").failure == ""
    assert (keys, world.waited) == (["k-1", "k-1"], [0.6])


@pytest.mark.parametrize("body", [
    b"{}", b"<html>", b"[]", b'{"vulnerabilities": [], "totalResults": 5, "startIndex": 0}',
    b'{"vulnerabilities": [{}], "totalResults": 9, "startIndex": 4}',
    b'{"vulnerabilities": [{}], "totalResults": "9", "startIndex": 0}'])
def test_what_is_no_page_of_nvd(world: World, body: bytes) -> None:
    """It ends: no page without records is asked for again and again."""
    world.publisher.computed["/cves"] = lambda _query: (200, {}, body)
    assert world.update("/cves", "nvd").failure
    assert len(world.publisher.asked) == 1


def _archive(day: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("2023/cve-2023-20593.json")
        member.size = len(feeds.csaf())
        archive.addfile(member, io.BytesIO(feeds.csaf()))
    return zstandard.compress(content.getvalue())


def test_what_changed_since_the_archive_was_made_is_fetched_too(world: World) -> None:
    """Red Hat's is of the day before, and names itself by it."""
    later = feeds.csaf().replace(b"2024-05-01T10", b"2024-06-01T10").replace(b"Will not fix", b"Fix deferred")
    archive = _archive("2024-05-02")
    world.publisher.files |= {
        "/vex/archive_latest.txt": b"csaf_vex_2024-05-02.tar.zst\n", "/vex/csaf_vex_2024-05-02.tar.zst": archive,
        "/vex/2023/cve-2023-20593.json": later,
        "/vex/csaf_vex_2024-05-02.tar.zst.sha256": b"0" * 64 + b"  csaf_vex_2024-05-02.tar.zst\n",
        "/vex/changes.csv": b'"2023/cve-2023-20593.json","2024-06-01T10:00:00+00:00"\n'
                            b'"2022/x.json","2022-01-01T00:00:00Z"'}
    assert ".sha256 says" in world.update("/vex/", "csaf").failure
    assert world.ids("Red Hat:8", "kernel") == []
    world.publisher.files["/vex/csaf_vex_2024-05-02.tar.zst.sha256"] = hashlib.sha256(archive).hexdigest().encode()
    assert world.update("/vex/", "csaf").failure == ""
    (advisory,) = world.store.find("Red Hat:8", "kernel")
    assert advisory.affected[0].status == "fix_deferred"
    assert "/vex/2022/x.json" not in [path for path, _ in world.publisher.asked]


def test_an_archive_that_is_busy_is_no_archive_that_is_missing(world: World) -> None:
    """Else every document would be asked for one by one."""
    world.publisher.files["/vex/changes.csv"] = b'"2023/a.json","2024-06-01T10:00:00Z"\n'
    world.publisher.next["/vex/archive_latest.txt"] = [(503, {}, b"")]
    assert "answered 503" in world.update("/vex/", "csaf").failure
    assert [path for path, _ in world.publisher.asked] == ["/vex/changes.csv", "/vex/archive_latest.txt"]


def _rolie(world: World, **updated: str) -> bytes:
    return json.dumps({"feed": {
        "id": "csaf-feed-tlp-white", "title": "CSAF (TLP:WHITE)", "updated": "2026-01-01T00:00:00Z",
        "link": [{"rel": "self", "href": f"{world.publisher.url}/feed.json"}],
        "category": [{"scheme": "urn:ietf:params:rolie:category:information-type", "term": "csaf"}],
        "entry": [{"id": name, "title": name, "published": moment, "updated": moment,
                   "link": [{"rel": "self", "href": f"{world.publisher.url}/{name}.json"},
                            {"rel": "hash", "href": f"{world.publisher.url}/{name}.json.sha512"},
                            {"rel": "hash", "href": f"{world.publisher.url}/{name}.json.sha256"}],
                   "format": {"schema": "https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json",
                              "version": "2.0"},
                   "content": {"type": "application/json", "src": f"{world.publisher.url}/{name}.json"}}
                  for name, moment in updated.items()]}}).encode()


def test_a_rolie_feed(world: World) -> None:
    document = feeds.csaf()
    world.publisher.files |= {"/feed.json": _rolie(world, a="2024-05-01T10:00:00Z"), "/a.json": document,
                              "/a.json.sha512": hashlib.sha512(document).hexdigest().encode() + b"  a.json",
                              "/a.json.sha256": b"0" * 64}
    assert ".sha256 says" in world.update("/feed.json", "rolie").failure
    assert world.ids("Red Hat:8", "kernel") == []
    world.publisher.files["/a.json.sha256"] = hashlib.sha256(document).hexdigest().encode() + b"  a.json"
    assert world.update("/feed.json", "rolie").added == 1
    assert world.update("/feed.json", "rolie").unchanged
    world.publisher.asked.clear()
    world.publisher.files |= {"/feed.json": _rolie(world, a="2024-05-01T10:00:00Z", b="2024-06-01T10:00:00Z"),
                              "/b.json": document, "/b.json.sha256": hashlib.sha256(document).hexdigest().encode(),
                              "/b.json.sha512": hashlib.sha512(document).hexdigest().upper().encode()}
    assert world.update("/feed.json", "rolie").failure == ""
    assert [path for path, _ in world.publisher.asked] == [
        "/feed.json", "/b.json", "/b.json.sha512", "/b.json.sha256"]


@pytest.mark.parametrize(("feed", "reason"), [
    (b"{}", "expected a ROLIE feed"), (b'{"feed": {"entry": [1]}}', "expected an object"),
    (b'{"feed": {"entry": [{"updated": "2024-05-01T10:00:00Z"}]}}', "an address that begins with https://"),
    (b'{"feed": {"entry": [{"updated": "2024-05-01T10:00:00Z", "content": {"src": "file:///etc/passwd"}}]}}',
     "got 'file:///etc/passwd'"),
    (b'{"feed": {"entry": [{"updated": "2024-05-01T10:00:00Z", "content": {"src": "http://a.example/x.json"}}]}}',
     "got 'http://a.example/x.json', expected an address that begins with https://"),
    (b'{"feed": {"entry": [{"content": {"src": "https://a.example"}}]}}', "expected a time"),
    (b"[" * 100_000, "")])
def test_what_is_no_rolie_feed(feed: bytes, reason: str) -> None:
    with pytest.raises(CustodyError) as refused:
        rolie.entries(feed, "feed.json")
    assert reason in refused.value.message


def test_ghsa_as_the_tar_of_its_repository(world: World) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path, data in (("advisory-database-main/README.md", b"# GitHub Advisory Database\n"),
                           ("advisory-database-main/advisories/github-reviewed/2026/01/GHSA-aaaa-bbbb-cccc/"
                            "GHSA-aaaa-bbbb-cccc.json", json.dumps(record(
                                "GHSA-aaaa-bbbb-cccc", [{"introduced": "0"}], package="flask")).encode())):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    world.publisher.files["/main.tar.gz"] = content.getvalue()
    assert world.update("/main.tar.gz").added == 1
    assert world.ids("PyPI", "flask") == ["GHSA-aaaa-bbbb-cccc"]
    world.publisher.files["/main.tar.gz"] = content.getvalue()[:-40]
    assert world.update("/main.tar.gz").failure
    assert world.ids("PyPI", "flask") == ["GHSA-aaaa-bbbb-cccc"]


def test_records_that_are_left_out_are_said(world: World) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("A-1.json", json.dumps(record("A-1", [{"introduced": "0"}], package="flask")))
        archive.writestr("A-2.json", b'{"id": "A-2"}')
    world.publisher.files |= {"/PyPI/modified_id.csv": b"2026-01-01T00:00:00Z,A-1\n2026-01-01T00:00:00Z,A-2\n",
                              "/PyPI/all.zip": content.getvalue()}
    done = world.update("/PyPI/", "osv")
    assert (done.added, len(done.refused), "A-2" in done.refused[0]) == (1, 1, True)
    world.publisher.files["/PyPI/modified_id.csv"] = b"2026-01-01T00:00:00Z,../../etc/passwd\n"
    assert "records of that folder" in world.update("/PyPI/", "osv").failure


def test_a_sum_of_what_nothing_unpacks(world: World) -> None:
    packed = gzip.compress(feeds.nvd())[:-10]
    world.publisher.files |= {"/nvdcve-2.0-2026.json.gz": packed, "/nvdcve-2.0-2026.meta": b"sha256:" + b"0" * 64}
    assert "expected a whole gzip file" in world.update("/nvdcve-2.0-2026.json.gz", sidecar=".meta").failure


@pytest.mark.parametrize(("name", "kind"), [("ours", "document"), ("osv/ours", "osv"), ("csaf/ours", "csaf"),
                                            ("rolie/ours", "rolie"), ("nvd/ours", "nvd")])
def test_addresses_of_ones_own_say_what_they_are(name: str, kind: str) -> None:
    assert addresses.chosen([name], {name: "https://a.example/x"}, None) == [
        (name, Address("https://a.example/x", kind))]  # type: ignore[arg-type]
