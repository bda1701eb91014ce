"""`custody db update` beside servers that answer, break off, go on, lie, and are not there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.cli.main import main
from custody.vulns.feeds import FEEDS, Address, publishers
from tests.contents import feeds
from tests.contents.test_scan import record


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> Done:
        capsys.readouterr()
        code = main(list(words))
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


class Mirror:
    """What each path has, and what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        """Path, and what of it: `all`, `304`, `bytes=5-`, `404`."""
        self.break_off: set[str] = set()
        self.part: tuple[str, slice] | None = None
        """The Content-Range of the next answer, and what of the document it has."""
        """Paths of which the next answer ends in the middle."""
        self.headers: dict[str, tuple[str, str]] = {}
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        data = self.files.get(path)
        if data is None:
            self.asked.append((path, "404"))
            request.send_response(404)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == etag:
            self.asked.append((path, "304"))
            request.send_response(304)
            request.end_headers()
            return
        if self.part is not None:
            (stated, cut), self.part = self.part, None
            request.send_response(206)
            request.send_header("Content-Range", stated)
            request.send_header("ETag", etag)
            request.send_header("Content-Length", str(len(data[cut])))
            request.end_headers()
            request.wfile.write(data[cut])
            return
        begin = 0
        wanted = request.headers.get("Range", "")
        if wanted and request.headers.get("If-Range") == etag:
            begin = int(wanted.removeprefix("bytes=").partition("-")[0])
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            request.send_response(200)
        self.asked.append((path, wanted if begin else "all"))
        request.send_header("ETag", etag)
        request.send_header("Content-Length", str(len(data) - begin))
        if path in self.headers:
            request.send_header(*self.headers[path])
        request.end_headers()
        if path in self.break_off:
            self.break_off.discard(path)
            request.wfile.write(data[begin:begin + (len(data) - begin) // 2])
            request.close_connection = True
            request.connection.close()
            return
        request.wfile.write(data[begin:])


@pytest.fixture(name="mirror")
def _mirror() -> Iterator[Mirror]:
    mirror = Mirror()
    thread = threading.Thread(target=mirror.server.serve_forever, daemon=True)
    thread.start()
    yield mirror
    mirror.server.shutdown()
    mirror.server.server_close()
    thread.join()


@pytest.fixture(name="home")
def _home(tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "custody.toml").write_text(f'[advisories]\nmirror = "{mirror.url}"\nfeeds = ["wolfi"]\n')
    return tmp_path


WOLFI = "/packages.wolfi.dev/os/security.json"
OSV = "/osv-vulnerabilities.storage.googleapis.com/PyPI/"


def _wolfi(*versions: str) -> bytes:
    return feeds.alpine(distroversion=None, urlprefix="https://packages.wolfi.dev", reponame="os", packages=[
        {"pkg": {"name": "openssl", "secfixes": {version: [f"CVE-2023-{place:04}"]}}}
        for place, version in enumerate(versions, 1)])


def _store(home: Path) -> SqliteAdvisories:
    return SqliteAdvisories(home / ".custody" / "advisories.db")


def test_only_what_is_new_is_fetched(home: Path, mirror: Mirror, run: Run) -> None:
    mirror.files[WOLFI] = _wolfi("1", "2")
    assert run("db", "update").code == 0
    assert [advisory.id for advisory in _store(home).find("Wolfi", "openssl")] == ["WOLFI-CVE-2023-0001",
                                                                                "WOLFI-CVE-2023-0002"]
    done = run("db", "update")
    assert (done.code, "nothing new" in done.err) == (0, True)
    assert [kind for _, kind in mirror.asked] == ["all", "304"]
    mirror.files[WOLFI] = _wolfi("1")
    assert run("db", "update").code == 0
    assert [advisory.id for advisory in _store(home).find("Wolfi", "openssl")] == ["WOLFI-CVE-2023-0001"]


def test_an_outage_leaves_what_is_there_and_says_how_old_it_is(home: Path, mirror: Mirror, run: Run) -> None:
    done = run("db", "update")
    assert (done.code, "of which nothing is there" in done.err) == (6, True)
    mirror.files[WOLFI] = _wolfi("1")
    assert run("db", "update").code == 0
    for broken in (None, b"{", _wolfi("1")[:-9], b"<html>moved</html>"):
        mirror.files.pop(WOLFI)
        if broken is not None:
            mirror.files[WOLFI] = broken
        done = run("db", "update")
        assert (done.code, "what is there is less than a day old" in done.err) == (0, True)
        assert [advisory.id for advisory in _store(home).find("Wolfi", "openssl")] == ["WOLFI-CVE-2023-0001"]
        assert "security.json: read 0 h ago" in run("db", "status").err
        mirror.files[WOLFI] = b""


def test_a_download_that_broke_off_goes_on_where_it_ended(home: Path, mirror: Mirror, run: Run) -> None:
    mirror.files[WOLFI] = _wolfi(*map(str, range(2000)))
    mirror.break_off.add(WOLFI)
    assert run("db", "update").code == 6
    assert run("db", "update").code == 0
    (_, first), (_, second) = mirror.asked
    assert (first, second[:6]) == ("all", "bytes=")
    assert len(_store(home).find("Wolfi", "openssl")) == 2000
    mirror.break_off.add(WOLFI)  # what changed in the meantime is begun anew
    mirror.files[WOLFI] = _wolfi("1", "2", *("3" * 2000))
    run("db", "update")
    mirror.files[WOLFI] = _wolfi("1")
    assert run("db", "update").code == 0
    assert len(_store(home).find("Wolfi", "openssl")) == 1
    assert not [file for file in (home / ".custody" / "downloads").rglob("*") if file.is_file()]


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize(("stated", "cut"), [
    ("bytes 0-3/1000", slice(0, 4)), ("bytes {have}-{next}/{size}", slice(0, 4)),
    ("bytes {next}-{last}/{size}", slice(4, None)), ("bytes {have}-{last}/*", slice(0, None)), ("", slice(0, None))])
def test_a_part_is_no_document(home: Path, mirror: Mirror, run: Run, stated: str, cut: slice, resumed: bool) -> None:
    data = mirror.files[WOLFI] = _wolfi(*map(str, range(500)))
    if resumed:
        mirror.break_off.add(WOLFI)
        assert run("db", "update").code == 6
    have = sum(file.stat().st_size for file in (home / ".custody" / "downloads").rglob("*.part"))
    mirror.part = stated.format(have=have, next=have + 3, last=len(data) - 1, size=len(data)), cut
    done = run("db", "update")
    assert (done.code, "Content-Range: got" in done.err) == (6, True), done.err
    assert run("db", "update").code == 0
    assert len(_store(home).find("Wolfi", "openssl")) == 500


def _osv(mirror: Mirror, *records: tuple[str, str]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, modified in records:
            data = json.dumps({**record(name, [{"introduced": "0"}], package="flask"), "modified": modified}).encode()
            archive.writestr(f"{name}.json", data)
            mirror.files[f"{OSV}{name}.json".replace(":", "%3A")] = data
    mirror.files[f"{OSV}all.zip"] = content.getvalue()
    rows = sorted(((modified, name) for name, modified in records), reverse=True)
    mirror.files[f"{OSV}modified_id.csv"] = "".join(f"{modified},{name}\n" for modified, name in rows).encode()


def test_of_osv_only_the_records_that_changed(home: Path, mirror: Mirror, run: Run) -> None:
    _osv(mirror, ("A-1", "2026-01-01T00:00:00Z"), ("ALSA-2026:2", "2026-01-02T00:00:00Z"))
    assert run("db", "update", "pypi").code == 0
    assert [path for path, _ in mirror.asked] == [f"{OSV}modified_id.csv", f"{OSV}all.zip"]
    mirror.asked.clear()
    assert run("db", "update", "osv/PyPI").code == 0
    assert [kind for _, kind in mirror.asked] == ["304"]
    mirror.asked.clear()
    _osv(mirror, ("A-1", "2026-01-01T00:00:00Z"), ("ALSA-2026:2", "2026-02-02T00:00:00Z"),
         ("A-3", "2026-02-03T00:00:00Z"))
    assert run("db", "update", "osv/PyPI").code == 0
    assert sorted(path for path, _ in mirror.asked) == [f"{OSV}A-3.json", f"{OSV}ALSA-2026%3A2.json",
                                                       f"{OSV}modified_id.csv"]
    assert [(advisory.id, advisory.modified[:10]) for advisory in _store(home).find("PyPI", "flask")] == [
        ("A-1", "2026-01-01"), ("A-3", "2026-02-03"), ("ALSA-2026:2", "2026-02-02")]
    mirror.asked.clear()
    _osv(mirror, ("A-4", "2026-03-01T00:00:00Z"), ("A-5", "2026-03-01T00:00:00Z"))
    del mirror.files[f"{OSV}A-5.json"]  # half of what changed is no update: both are asked for again
    assert run("db", "update", "osv/PyPI").code == 0
    assert len(_store(home).find("PyPI", "flask")) == 3
    _osv(mirror, ("A-4", "2026-03-01T00:00:00Z"), ("A-5", "2026-03-01T00:00:00Z"))
    assert run("db", "update", "osv/PyPI").code == 0
    assert len(_store(home).find("PyPI", "flask")) == 5


def test_what_the_publisher_says_of_the_bytes_is_checked(home: Path, mirror: Mirror, run: Run) -> None:
    _osv(mirror, ("A-1", "2026-01-01T00:00:00Z"))
    wrong = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    mirror.headers[f"{OSV}all.zip"] = ("x-goog-hash", f"crc32c=AAAAAA==,md5={wrong}")
    done = run("db", "update", "osv/PyPI")
    assert (done.code, f"expected {wrong}" in done.err) == (6, True)
    right = base64.b64encode(hashlib.md5(mirror.files[f"{OSV}all.zip"]).digest()).decode()
    mirror.headers[f"{OSV}all.zip"] = ("x-goog-hash", f"crc32c=AAAAAA==,md5={right}")
    assert run("db", "update", "osv/PyPI").code == 0


def test_what_nvd_says_of_a_feed_is_checked(home: Path, mirror: Mirror, run: Run,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    place = "/nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-2023"
    monkeypatch.setattr("custody.vulns.feeds.FEEDS", {"nvd": (Address(f"https:/{place}.json.gz", sidecar=".meta"),)})
    mirror.files[f"{place}.json.gz"] = gzip.compress(feeds.nvd())
    for meta in (b"", b"lastModifiedDate:2026\r\nsha256:" + b"0" * 64):
        mirror.files[f"{place}.meta"] = meta
        done = run("db", "update", "nvd")
        assert (done.code, ".meta says" in done.err) == (6, True)
    digest = hashlib.sha256(feeds.nvd()).hexdigest().upper()
    mirror.files[f"{place}.meta"] = f"lastModifiedDate:2026\r\nsize:1\r\nsha256:{digest}\r\n".encode()
    assert run("db", "update", "nvd").code == 0
    assert _store(home).find("CPE", "a:nodejs:node.js")


def test_of_csaf_the_archive_and_then_what_changed(home: Path, mirror: Mirror, run: Run) -> None:
    base = "/security.access.redhat.com/data/csaf/v2/vex/"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("2023/cve-2023-20593.json")
        member.size = len(feeds.csaf())
        archive.addfile(member, io.BytesIO(feeds.csaf()))
    mirror.files |= {f"{base}archive_latest.txt": b"csaf_vex_2024-05-02.tar.zst\n",
                     f"{base}csaf_vex_2024-05-02.tar.zst": zstandard.compress(content.getvalue()),
                     f"{base}changes.csv": b'"2023/cve-2023-20593.json","2024-05-01T10:00:00+00:00"\n'}
    assert run("db", "update", "redhat").code == 0
    assert len(_store(home).named(["CVE-2023-20593"])) == 1
    mirror.asked.clear()
    later = feeds.csaf().replace(b"2024-05-01T10", b"2024-06-01T10").replace(b"Will not fix", b"Fix deferred")
    mirror.files[f"{base}2023/cve-2023-20593.json"] = later
    mirror.files[f"{base}changes.csv"] = b'"2023/cve-2023-20593.json","2024-06-01T10:00:00+00:00"\n'
    assert run("db", "update", "redhat").code == 0
    assert [path for path, _ in mirror.asked] == [f"{base}changes.csv", f"{base}2023/cve-2023-20593.json"]
    (advisory,) = _store(home).find("Red Hat:8", "kernel")
    assert advisory.affected[0].status == "fix_deferred"
    mirror.files[f"{base}changes.csv"] = b'"../../x.json","2024-07-01T10:00:00+00:00"\n'
    done = run("db", "update", "redhat")
    assert (done.code, "records of that folder" in done.err) == (0, True)


@pytest.mark.parametrize("place", ["https://127.0.0.1:1/x", "file:///etc/passwd", ""])
def test_a_redirect_that_leads_nowhere_good(home: Path, mirror: Mirror, run: Run, place: str) -> None:
    class Moved(Mirror):
        def answer(self, request: BaseHTTPRequestHandler) -> None:
            request.send_response(302)
            request.send_header("Location", place)
            request.send_header("Content-Length", "0")
            request.end_headers()

    moved = Moved()
    threading.Thread(target=moved.server.serve_forever, daemon=True).start()
    try:
        assert run("db", "update", "--from", f"{moved.url}/a.json").code == 6
    finally:
        moved.server.shutdown()
        moved.server.server_close()


def test_from_one_address_a_folder_and_nobody(home: Path, mirror: Mirror, run: Run) -> None:
    mirror.files["/kev.json"] = b"{}"
    assert run("db", "update", "--from", f"{mirror.url}/kev.json").code == 6
    mirror.files["/updateinfo.xml"] = feeds.UPDATEINFO
    assert run("db", "update", "--from", f"{mirror.url}/updateinfo.xml").code == 0
    (home / "osv-scanner" / "PyPI").mkdir(parents=True)
    _osv(mirror, ("A-1", "2026-01-01T00:00:00Z"))
    (home / "osv-scanner" / "PyPI" / "all.zip").write_bytes(mirror.files[f"{OSV}all.zip"])
    assert run("db", "update", "--from", "osv-scanner").code == 0
    assert [advisory.id for advisory in _store(home).find("PyPI", "flask")] == ["A-1"]
    assert run("db", "list", "--ecosystem", "pypi").out.startswith("A-1\t")
    for flag, name in (("--ecosystem", "PyPl"), ("--source", "osb/a")):
        done = run("db", "list", flag, name)
        assert (done.code, f"error: {flag} {name}: no record is of it" in done.err) == (4, True)
    assert "did you mean PyPI?" in run("db", "list", "--ecosystem", "PyPl").err
    assert run("db", "update", "--from", "osv-scanner", "wolfi").code == 2
    done = run("db", "update", "wolfy")
    assert (done.code, "did you mean wolfi?" in done.err) == (2, True)
    assert run("--offline", "db", "update").code == 6
    assert WOLFI in run("db", "update", "--list").out


def test_nothing_but_update_asks_anybody(home: Path, mirror: Mirror, run: Run) -> None:
    for words in (("status",), ("list",), ("remove", "x"), ("show", "CVE-1"), ("import", "custody.toml"),
                  ("export", "--insecure-unsigned", "x")):
        run("db", *words)
    assert not mirror.asked


def test_a_mirror_of_one_publisher_replaces_the_advisories_of_no_other(home: Path, mirror: Mirror, run: Run) -> None:
    """An empty tracker of Debian where Wolfi's should be would take all of Debian's advisories away."""
    assert run("db", "import", _file(home, "tracker.json", feeds.debian())).code == 0
    before = _store(home).find("Debian:12", "openssl")
    for lie in (json.dumps({"a": {"CVE-2026-0001": {"releases": {"bookworm": {"status": "resolved", "fixed_version":
                            "0", "repositories": {}, "urgency": "low"}}}}}).encode(), feeds.alpine(packages=[]),
                json.dumps(record("GHSA-a", [{"introduced": "0"}])).encode(), feeds.nvd()):
        mirror.files[WOLFI] = lie
        done = run("db", "update", "wolfi")
        assert (done.code, "expected those of wolfi-secdb" in done.err) == (6, True), done.err
    mirror.files[f"{OSV}all.zip"], mirror.files[f"{OSV}modified_id.csv"] = _zip(feeds.debian()), (
        b"2026-01-01T00:00:00Z,A-1\n")
    done = run("db", "update", "osv/PyPI")
    assert (done.code, "expected those of osv" in done.err) == (6, True), done.err
    assert before
    assert _store(home).find("Debian:12", "openssl") == before


def test_of_every_feed_it_is_known_whose_it_is() -> None:
    assert [name for name in FEEDS if publishers(name) is None] == []


def _file(home: Path, name: str, data: bytes) -> str:
    (home / name).write_bytes(data)
    return name


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("tracker.json", data)
    return out.getvalue()


@pytest.mark.parametrize(("lie", "said"), [
    (gzip.compress(feeds.nvd())[:-9], "expected a whole gzip file"),
    (b"\x1f\x8b" + b"\xff" * 99, "expected a whole gzip file"),
    (gzip.compress(bytes(3 << 20)), "more than 2097152 bytes unpacked")])
def test_a_feed_of_nvd_that_is_none_is_a_named_error(home: Path, mirror: Mirror, run: Run, lie: bytes, said: str,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    place = "/nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-2023"
    monkeypatch.setattr("custody.vulns.feeds.FEEDS", {"nvd": (Address(f"https:/{place}.json.gz", sidecar=".meta"),)})
    monkeypatch.setattr("custody.services.downloads._LARGEST_UNPACKED", 2 << 20)
    mirror.files[f"{place}.json.gz"], mirror.files[f"{place}.meta"] = lie, b"sha256:" + b"0" * 64
    done = run("db", "update", "nvd")
    assert (done.code, said in done.err) == (6, True), done.err


@pytest.mark.parametrize(("lines", "said"), [
    (b'"2026-01-01T00:00:00Z\r,a\r\n' + b"a" * 200_000, "expected lines of CSV"),
    (b"2026-01-01T00:00:00Z,../../secret\n", "expected records of that folder"),
    (b"2026-01-01T00:00:00Z,/etc/passwd\n", "expected records of that folder"),
    (b"2026-99-01T00:00:00Z,A-1\n", "expected a day"), (b"2026-01-01T00:00:00Z,A-1\n" * 11, "more than 10 records")])
def test_a_list_of_changes_that_lies(home: Path, mirror: Mirror, run: Run, lines: bytes, said: str,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.services.advisoryupdate._MOST_CHANGES", 10)
    mirror.files[f"{OSV}modified_id.csv"] = lines
    done = run("db", "update", "osv/PyPI")
    assert (done.code, said in done.err) == (6, True), done.err
    assert [path for path, _ in mirror.asked] == [f"{OSV}modified_id.csv"]


def _provider(*distributions: Any, version: str = "2.0") -> bytes:
    return json.dumps({"metadata_version": version, "distributions": distributions}).encode()


def test_what_a_provider_names(home: Path, mirror: Mirror, run: Run) -> None:
    """A folder, or feeds for everybody; all by the mirror, which nothing leads away from."""
    place = "/access.redhat.com/.well-known/csaf/provider-metadata.json"
    (home / "custody.toml").write_text(f'[advisories]\nmirror = "{mirror.url}"\nfeeds = ["provider/redhat"]\n'
                                       f'[advisories.addresses]\n"provider/redhat" = "https:/{place}"\n')
    folder = {"directory_url": "http://security.access.redhat.com/data/csaf/v2/vex"}
    mirror.files |= {
        place: _provider(folder), "/security.access.redhat.com/data/csaf/v2/vex/changes.csv":
            b'"2023/cve-2023-20593.json","2024-05-01T10:00:00+00:00"\n',
        "/security.access.redhat.com/data/csaf/v2/vex/2023/cve-2023-20593.json": feeds.csaf()}
    done = run("db", "update")
    assert done.code == 0, done.err
    assert len(_store(home).named(["CVE-2023-20593"])) == 1
    mirror.asked.clear()
    assert "nothing new" in run("db", "update").err
    assert mirror.asked == [(place, "all"), ("/security.access.redhat.com/data/csaf/v2/vex/changes.csv", "304")]
    red = {"rolie": {"feeds": [{"tlp_label": "RED", "url": "https://a.example/red.json"},
                               {"tlp_label": "WHITE", "url": "http://a.example/white.json"}]}}
    mirror.files[place] = _provider(red, folder)
    mirror.asked.clear()
    done = run("db", "update")
    assert [path for path, _ in mirror.asked] == [place, "/a.example/white.json"]
    assert "white.json" in done.err


def test_a_provider_that_lists_its_documents_without_their_times(home: Path, mirror: Mirror, run: Run) -> None:
    """By index.txt, where there is no changes.csv: all of them at each update, since nobody says which changed."""
    place, folder = "/a.example/p.json", "/a.example/csaf/"
    (home / "custody.toml").write_text(f'[advisories]\nmirror = "{mirror.url}"\nfeeds = ["provider/a"]\n'
                                       f'[advisories.addresses]\n"provider/a" = "https:/{place}"\n')
    mirror.files |= {place: _provider({"directory_url": "https://a.example/csaf"}),
                     f"{folder}index.txt": b"2023/cve-2023-20593.json\r\n\n2023/cve-2023-20593.json\n",
                     f"{folder}2023/cve-2023-20593.json": feeds.csaf()}
    done = run("db", "update")
    assert done.code == 0, done.err
    assert len(_store(home).named(["CVE-2023-20593"])) == 1
    mirror.asked.clear()
    assert "nothing new" in run("db", "update").err
    asked = [path for path, _ in mirror.asked]
    assert asked == [place, f"{folder}changes.csv", f"{folder}index.txt", f"{folder}2023/cve-2023-20593.json"]
    del mirror.files[f"{folder}index.txt"]
    done = run("db", "update")
    assert "has neither changes.csv nor index.txt" in done.err


@pytest.mark.parametrize(("lines", "said"), [
    (b"", "got 'no line'"), (b"../a.json\n", "records of that folder"), (b"/a.json\n", "records of that folder"),
    (b"https://b.example/a.json\n", "documents in that folder"), (b"a.json\na.exe\n", "documents in that folder"),
    (b"".join(b"%d.json\n" % number for number in range(11)), "more than 10 records")])
def test_an_index_that_lies(home: Path, mirror: Mirror, run: Run, lines: bytes, said: str,
                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.services.advisoryupdate._MOST_CHANGES", 10)
    (home / "custody.toml").write_text(f'[advisories]\nmirror = "{mirror.url}"\nfeeds = ["csaf/a"]\n'
                                       '[advisories.addresses]\n"csaf/a" = "https://a.example/csaf/"\n')
    mirror.files["/a.example/csaf/index.txt"] = lines
    done = run("db", "update")
    assert (done.code, said in done.err) == (6, True), done.err
    assert [path for path, _ in mirror.asked] == ["/a.example/csaf/changes.csv", "/a.example/csaf/index.txt"]


@pytest.mark.parametrize(("lie", "said"), [
    (b"[]", "metadata_version"), (_provider(version="1"), "metadata_version"), (_provider(7), "distributions[0]"),
    (_provider({"directory_url": "ftp://a.example/"}), "distributions[0].directory_url"),
    (_provider({"rolie": {"feeds": {}}}), "rolie.feeds"),
    (_provider({"rolie": {"feeds": [{"tlp_label": "AMBER", "url": "https://a.example/"}]}}), "for everybody")])
def test_a_provider_that_is_none(home: Path, mirror: Mirror, run: Run, lie: bytes, said: str) -> None:
    (home / "custody.toml").write_text(f'[advisories]\nmirror = "{mirror.url}"\nfeeds = ["provider/a"]\n'
                                       '[advisories.addresses]\n"provider/a" = "https://a.example/p.json"\n')
    mirror.files["/a.example/p.json"] = lie
    done = run("db", "update")
    assert (done.code, said in done.err) == (6, True), done.err
    assert [path for path, _ in mirror.asked] == ["/a.example/p.json"]


ROLIE = "/a.example/csaf/feed.json"


@pytest.fixture(name="publisher")
def _publisher(home: Path, mirror: Mirror) -> Mirror:
    """One that has a ROLIE feed and a folder, each its own address."""
    (home / "custody.toml").write_text(
        f'[advisories]\nmirror = "{mirror.url}"\nfeeds = ["csaf/a"]\n[advisories.addresses]\n'
        f'"csaf/a" = "https://a.example/csaf/"\n"rolie/a" = "https:/{ROLIE}"\n')
    return mirror


def _csaf(cve: str) -> bytes:
    return feeds.csaf().replace(b"CVE-2023-20593", cve.encode()).replace(b"cve-2023-20593", cve.lower().encode())


def _rolie(mirror: Mirror, *names: str) -> None:
    mirror.files[ROLIE] = json.dumps({"feed": {"entry": [
        {"updated": "2026-01-01T00:00:00Z", "content": {"src": f"{mirror.url}/a.example/csaf/{name}"},
         "link": [{"rel": "hash", "href": f"{mirror.url}/a.example/csaf/{name}.sha256"}]} for name in names]}}).encode()


@pytest.mark.parametrize("ending", [".json", ".csaf"])
def test_only_what_this_run_checked_is_imported(home: Path, publisher: Mirror, run: Run, ending: str) -> None:
    """Of a document whose sum could not be had nothing is taken later either, when nobody speaks of it any more."""
    good, lie = _csaf("CVE-2024-0001"), _csaf("CVE-2024-0666")
    folder = "/a.example/csaf/"
    publisher.files |= {f"{folder}good{ending}": good, f"{folder}lie{ending}": lie,
                        f"{folder}good{ending}.sha256": hashlib.sha256(good).hexdigest().encode()}
    _rolie(publisher, f"good{ending}", f"lie{ending}")
    done = run("db", "update", "rolie/a")
    assert (done.code, f"lie{ending}.sha256: answered 404" in done.err) == (6, True), done.err
    publisher.files[f"{folder}lie{ending}.sha256"] = b"0" * 64
    done = run("db", "update", "rolie/a")
    assert (done.code, f"expected {'0' * 64}" in done.err) == (6, True), done.err
    _rolie(publisher, f"good{ending}")
    assert run("db", "update", "rolie/a").code == 0
    assert [name for name in ("CVE-2024-0001", "CVE-2024-0666") if _store(home).named([name])] == ["CVE-2024-0001"]
    assert [*(home / ".custody/downloads").iterdir()] == []


@pytest.mark.parametrize(("endings", "wrong", "said"), [
    ((".sha512",), "", ""), ((".sha256", ".sha512"), "", ""), ((".sha512",), ".sha512", "expected 0"),
    ((".sha256", ".sha512"), ".sha512", "expected 0"), ((".sha256", ".sha512"), ".sha256", "expected 0"),
    ((".sha512",), "absent", "answered 404"), ((".md5",), "", "whose address ends in .sha256 or .sha512")])
def test_every_digest_that_a_feed_names_must_be_the_documents(
        home: Path, publisher: Mirror, run: Run, endings: tuple[str, ...], wrong: str, said: str) -> None:
    document, place = _csaf("CVE-2024-0001"), "/a.example/csaf/a.json"
    made = {".sha256": hashlib.sha256(document), ".sha512": hashlib.sha512(document), ".md5": hashlib.md5(document)}
    publisher.files[place] = document
    for ending in endings if wrong != "absent" else ():
        digest = made[ending].hexdigest() if ending != wrong else "0" * len(made[ending].hexdigest())
        publisher.files[place + ending] = f"{digest}  a.json\n".encode()
    publisher.files[ROLIE] = json.dumps({"feed": {"entry": [
        {"updated": "2026-01-01T00:00:00Z", "content": {"src": f"{publisher.url}{place}"},
         "link": [{"rel": "hash", "href": f"{publisher.url}{place}{ending}"} for ending in endings]}]}}).encode()
    done = run("db", "update", "rolie/a")
    assert (done.code, said in done.err, bool(_store(home).named(["CVE-2024-0001"]))) == (
        6 if said else 0, True, not said), done.err


def test_a_folder_that_an_older_run_left_is_not_read(home: Path, publisher: Mirror, run: Run) -> None:
    address = f"{publisher.url}/a.example/csaf/"
    left = home / ".custody/downloads" / hashlib.sha256(address.encode()).hexdigest()[:16]
    left.mkdir(parents=True)
    (left / "1.json").write_bytes(_csaf("CVE-2024-0666"))
    publisher.files["/a.example/csaf/index.txt"] = b"good.json\n"
    publisher.files["/a.example/csaf/good.json"] = _csaf("CVE-2024-0001")
    assert run("db", "update").code == 0
    assert not _store(home).named(["CVE-2024-0666"])


def test_a_file_whose_sum_cannot_be_had_does_not_stay(home: Path, mirror: Mirror, run: Run,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    place = "/nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-2023"
    monkeypatch.setattr("custody.vulns.feeds.FEEDS", {"nvd": (Address(f"https:/{place}.json.gz", sidecar=".meta"),)})
    mirror.files[f"{place}.json.gz"] = gzip.compress(feeds.nvd())
    done = run("db", "update", "nvd")
    assert (done.code, ".meta: answered 404" in done.err) == (6, True), done.err
    assert not [file for file in (home / ".custody/downloads").rglob("*") if file.is_file()]


@pytest.mark.parametrize(("name", "value", "said"), [
    ("_MOST", 2, "got '3 documents to be fetched', expected at most 2"),
    ("_LARGEST_TOGETHER", 9000, "got 'documents of more than 9000 bytes'")])
def test_the_documents_of_a_list_are_bounded_together(home: Path, publisher: Mirror, run: Run, name: str, value: int,
                                                      said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"custody.services.documentfetch.{name}", value)
    for place in range(3):
        publisher.files[f"/a.example/csaf/{place}.json"] = _csaf(f"CVE-2024-000{place}") + b" " * 4000
    publisher.files["/a.example/csaf/index.txt"] = b"0.json\n1.json\n2.json\n"
    done = run("db", "update")
    assert (done.code, said in done.err) == (6, True), done.err
    assert not _store(home).named(["CVE-2024-0000"])


@pytest.mark.parametrize("lists", [
    {"index.txt": b"\xef\xbb\xbfgood.json\n"}, {"changes.csv": b'\xef\xbb\xbf"good.json","2026-01-01T00:00:00Z"\n'}])
def test_a_byte_order_mark_before_a_list(home: Path, publisher: Mirror, run: Run, lists: dict[str, bytes]) -> None:
    publisher.files |= {f"/a.example/csaf/{name}": data for name, data in lists.items()}
    publisher.files["/a.example/csaf/good.json"] = _csaf("CVE-2024-0001")
    done = run("db", "update")
    assert done.code == 0, done.err
    assert _store(home).named(["CVE-2024-0001"])


def test_a_list_of_changes_that_is_gone_for_once_is_gone_on_with(home: Path, publisher: Mirror, run: Run) -> None:
    folder = "/a.example/csaf/"
    changes = b'"old.json","2026-01-01T00:00:00Z"\n'
    publisher.files |= {f"{folder}old.json": _csaf("CVE-2024-0001"), f"{folder}changes.csv": changes,
                        f"{folder}index.txt": b"old.json\n"}
    assert run("db", "update").code == 0
    del publisher.files[f"{folder}changes.csv"]
    assert run("db", "update").code == 0
    publisher.files[f"{folder}new.json"] = _csaf("CVE-2024-0002")
    publisher.files[f"{folder}changes.csv"] = b'"new.json","2026-02-01T00:00:00Z"\n' + changes
    publisher.asked.clear()
    assert run("db", "update").code == 0
    assert [path for path, _ in publisher.asked] == [f"{folder}changes.csv", f"{folder}new.json"]


@pytest.mark.parametrize(("status", "said"), [(304, "answered 304"), (206, "expected the whole document")])
def test_an_answer_that_is_no_document_is_a_failure(home: Path, publisher: Mirror, run: Run, status: int, said: str,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """«Not changed» to who has nothing, or a part to who asked for all, would leave the document out for good."""
    answer = publisher.answer

    def odd(request: BaseHTTPRequestHandler) -> None:
        if not request.path.endswith("good.json"):
            answer(request)
            return
        request.send_response(status)
        if status != 304:
            request.send_header("Content-Length", "0")
        request.end_headers()

    monkeypatch.setattr(publisher, "answer", odd)
    publisher.files["/a.example/csaf/changes.csv"] = b'"good.json","2026-01-01T00:00:00Z"\n'
    done = run("db", "update")
    assert (done.code, said in done.err) == (6, True), done.err
    monkeypatch.setattr(publisher, "answer", answer)
    publisher.files["/a.example/csaf/good.json"] = _csaf("CVE-2024-0001")
    assert run("db", "update").code == 0
    assert _store(home).named(["CVE-2024-0001"])
