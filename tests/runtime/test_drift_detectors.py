"""Detectors of drift: what is executed, package managers, connections beside a baseline; and what waits, and ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, StorageError
from custody.runtime.containers import Container, Containers
from custody.runtime.egress import Baseline, Baselines, EgressDetector, of_json, parse, to_json
from custody.runtime.event import RuntimeEvent
from custody.runtime.executables import Executables
from custody.runtime.executed import executed, inside, run_by
from custody.runtime.executing import ExecutableDetector
from custody.runtime.opening import OpenedFiles
from custody.runtime.packagemanagers import PackageManagerDetector, changes, manager
from custody.runtime.witness import Witness
from custody.services.baselines import flush, read_all, write
from custody.services.imagefiles import KnownImages, read_files
from policylang.falco import Alert
from tests.contents import images
from tests.runtime.stores import MemoryDrift
from tests.runtime.test_executables import EVIL, SHELL, TOOL, files_of, sha

A, B = ("sha256:" + letter * 64 for letter in "ab")
CONTAINER = "0123456789ab"
NOW = datetime(2026, 11, 30, tzinfo=UTC)
SECOND = 1_000_000_000


def event(kind: str = "execve", at: int | None = 1, **fields: Any) -> RuntimeEvent:
    named = {key.replace("__", "."): value for key, value in fields.items()}
    return RuntimeEvent("syscall", kind, {"container.id": CONTAINER, "container.image": "r.example/shop:1",
                                          "container.image.digest": A, **named}, at, "test")


def ran(path: str, data: bytes | None = None, **fields: Any) -> RuntimeEvent:
    return event(proc__exepath=path, custody__exe__sha256=None if data is None else sha(data), **fields)


class Known:
    """`Indexes` of one image."""

    def __init__(self, files: Executables | None, reason: str = "") -> None:
        self.files, self.reason = files, reason
        self.asked: list[tuple[str, str]] = []

    def get(self, digest: str) -> Executables | None:
        return self.files if digest == A else None

    def ask(self, digest: str, image: str) -> str:
        self.asked.append((digest, image))
        return self.reason


@pytest.fixture
def files(tmp_path: Path) -> Executables:
    return files_of(tmp_path / "image", [("bin/sh", SHELL), ("bin/tool", TOOL), ("app/run.sh", b"#!/bin/sh\n"),
                                         ("lib64/ld-linux-x86-64.so.2", b"ld"), ("bin/busybox", b"busybox")])


def detector(files: Executables | None, reason: str = "", **more: Any) -> ExecutableDetector:
    containers = more.pop("containers", Containers())
    return ExecutableDetector(Known(files, reason), containers, Witness(NOW, ("execve",)), **more)


@pytest.mark.parametrize(("given", "rule", "verdict"), [
    (ran("/tmp/x", EVIL), "Executable not in its image", "unknown"),
    (ran("/bin/sh", EVIL), "Executable is not the one of its image", "modified"),
    (ran("/tmp/x", SHELL), "Executable of the image under another name", "copied"),
    (ran("/memfd:x (deleted)", EVIL), "Executable not in its image", "unknown"),
    (ran("/x", EVIL, proc__is_exe_from_memfd=True), "Executable not in its image", "unknown"),
    (ran("/bin/sh", None), "Executables are not judged", "not judged"),
    (ran("bin/sh", EVIL), "Executable not in its image", "unknown"),
    (ran("bin/sh", None), "Executables are not judged", "not judged"),
    (ran("bin/sh", None, proc__cwd="/tmp"), "Executable not in its image", "unknown"),
    (ran("/bin/sh", SHELL, proc__args="x.sh"), "Executables are not judged", "not judged"),
    (ran("/bin/sh (deleted)", None), "Executable is not the one of its image", "modified"),
    (ran("/proc/self/root/tmp/x", SHELL), "Executable of the image under another name", "copied"),
    (ran("/proc/self/cwd/x", SHELL), "Executable of the image under another name", "copied"),
    (ran("/bin/sh", None, proc__is_exe_upper_layer=True), "Executable is not the one of its image", "modified"),
    (ran("/bin/sh", SHELL, proc__args="/tmp/x.sh"), "Executable not in its image", "unknown"),
    (ran("/lib64/ld-linux-x86-64.so.2", b"ld", proc__args="--library-path /tmp /tmp/x"), "Executable not in its image",
     "unknown"),
    (ran("/bin/busybox", b"busybox", proc__args="sh /tmp/x.sh"), "Executable not in its image", "unknown")])
def test_what_is_told(files: Executables, given: RuntimeEvent, rule: str, verdict: str) -> None:
    alert, = detector(files)(given)
    assert (alert.rule, alert.output_fields["custody.drift"], alert.source) == (rule, verdict, "custody")
    assert alert.output_fields["container.image.digest"] == A


@pytest.mark.parametrize("given", [
    ran("/bin/sh", SHELL), ran("/bin/sh", SHELL, proc__args="-c ls"), ran("/bin/sh", SHELL, proc__args="/app/run.sh"),
    ran("/bin/sh", SHELL, proc__args="run.sh", proc__cwd="/app/"),
    ran("bin/sh", SHELL), ran("sh", SHELL, proc__cwd="/bin"), ran("/tmp/x", EVIL, evt__rawres=-2),
    ran("/tmp/x", EVIL, evt__res="ENOENT"),
    ran("/tmp/x", EVIL, container__id="host", container__image__digest=None),
    ran("/lib64/ld-linux-x86-64.so.2", b"ld", proc__args="/bin/tool")])
def test_what_is_not_told(files: Executables, given: RuntimeEvent) -> None:
    assert list(detector(files)(given)) == []


def test_a_name_like_the_nodes_excuses_nothing(files: Executables) -> None:
    node = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/0123/rootfs/bin/sh"
    detect = detector(files)
    assert list(detect(ran(node, SHELL))) == []
    assert [alert.output_fields["custody.drift"] for alert in (*detect(ran(node, EVIL)), *detect(ran(node)))] == [
        "modified", "unknown"]


def test_that_bytes_are_not_told_is_said_once_for_an_image(files: Executables) -> None:
    detect = detector(files)
    assert [alert.rule for _ in range(3) for alert in detect(ran("/bin/sh"))] == ["Executables are not judged"]


def test_a_container_of_no_known_image_is_said_once(files: Executables) -> None:
    detect = detector(files)
    alerts = [alert for _ in range(3) for alert in detect(ran("/tmp/x", EVIL, container__image__digest=None))]
    assert [alert.output_fields["custody.drift.reason"] for alert in alerts] == [
        "nobody says which image the container runs"]


def test_volumes_are_told_if_asked_for(files: Executables) -> None:
    containers = Containers()
    containers.note([Container(CONTAINER * 5 + "cdef", A, volumes=("/data",), pod="web", namespace="shop")])
    assert list(detector(files, containers=containers)(ran("/data/x", EVIL))) == []
    alert, = detector(files, containers=containers, volumes=True)(ran("/data/x", EVIL))
    assert (alert.rule, alert.output_fields["k8s.pod.name"]) == ("Executable on a volume", "web")
    assert [alert.rule for alert in detector(files, containers=containers)(ran("/data2/x", EVIL))] == [
        "Executable not in its image"]


def test_a_name_that_only_begins_on_a_volume_is_none_of_a_volume(files: Executables) -> None:
    containers = Containers()
    containers.note([Container(CONTAINER * 5 + "cdef", A, volumes=("/data",))])
    for digest in (EVIL, None):
        alert, = detector(files, containers=containers)(ran("/data/../tmp/x", digest))
        assert alert.output_fields["custody.drift"] == "unknown"


def test_one_image_that_is_not_read_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.runtime.executing._EACH", 2)
    detect = detector(None)
    alerts = [alert for number in range(4) for alert in detect(ran(f"/tmp/{number}", EVIL))]
    assert [alert.output_fields["custody.drift.reason"] for alert in alerts] == [
        "more than 2 executions wait for this image to be read"]
    assert list(detect(ran("/tmp/x", EVIL, container__image__digest=B))) == []


def test_the_runtimes_own_program_is_no_alarm(files: Executables) -> None:
    detect = detector(files, runtimes=[sha(b"runc")])
    assert list(detect(ran("/memfd:runc_cloned:/proc/self/exe (deleted)", b"runc"))) == []
    assert len(list(detect(ran("/memfd:runc_cloned:/proc/self/exe (deleted)", EVIL)))) == 1
    copied, = detect(ran("/tmp/runc", b"runc", proc__is_exe_upper_layer=True))
    assert copied.output_fields["custody.drift"] == "unknown"


def test_what_waits_for_its_image_is_judged_when_that_is_read(files: Executables) -> None:
    known = Known(None)
    detect = ExecutableDetector(known, Containers(), Witness(NOW))
    assert list(detect(ran("/tmp/x", EVIL))) == []
    assert known.asked[0] == (A, "r.example/shop:1")
    known.files = files
    assert [alert.rule for alert in detect(ran("/bin/sh", SHELL))] == ["Executable not in its image"]
    assert list(detect.settle()) == []


def test_an_image_that_one_of_its_repositories_does_not_have_is_read_from_another(files: Executables) -> None:
    class OfOne(Known):
        def ask(self, digest: str, image: str) -> str:
            return "gone" if image.startswith("evil.example") and len(self.asked) > 1 else super().ask(digest, image)

    known = OfOne(None)
    detect = ExecutableDetector(known, Containers(), Witness(NOW))
    assert list(detect(ran("/tmp/x", EVIL, container__image="evil.example/x"))) == []
    assert list(detect(ran("/tmp/y", EVIL))) == []
    assert list(detect.settle()) == []
    known.files = files
    assert len(list(detect.settle())) == 2


def test_what_waits_for_an_image_that_nobody_can_read_is_said(files: Executables) -> None:
    known = Known(None)
    detect = ExecutableDetector(known, Containers(), Witness(NOW))
    assert list(detect(ran("/tmp/x", EVIL))) == []
    known.reason = "the registry is gone"
    alert, = detect.settle()
    assert (alert.rule, alert.output_fields["custody.drift.reason"]) == (
        "Executables are not judged", "the registry is gone")


def test_what_waits_is_bounded(files: Executables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.runtime.executing._WAITING", 3)
    detect = detector(None)
    alerts = [alert for number in range(6) for alert in detect(ran(f"/tmp/{number}", EVIL))]
    assert [alert.rule for alert in alerts] == ["Executables are not judged"]
    assert "more than 3 executions wait" in alerts[0].output


def test_the_witness_counts_what_was_seen(files: Executables) -> None:
    witness = Witness(NOW)
    detect = ExecutableDetector(Known(files), Containers(), witness)
    for given_event in (ran("/bin/sh", SHELL), ran("/tmp/x", EVIL), ran("/bin/sh", None)):
        list(detect(given_event))
    seen = witness.images[A]
    assert (seen.executions, seen.executed, seen.alien) == (3, {"bin/sh"}, {"tmp/x"})
    assert seen.verdicts == {"known": 1, "unknown": 1, "not judged": 1}
    assert seen.unlike == {CONTAINER: "/tmp/x: unknown"}


@pytest.mark.parametrize(("program", "arguments", "script"), [
    ("/bin/sh", ["-c", "x"], None), ("/bin/sh", ["-e", "/x"], "/x"), ("/bin/bash", ["-ec", "/x"], None),
    ("/bin/bash", ["-o", "pipefail", "/x"], "/x"), ("/bin/sh", ["--", "/x"], "/x"), ("/bin/sh", ["-"], None),
    ("/usr/bin/python3.11", ["-u", "x.py"], "x.py"), ("/usr/bin/python3", ["-m", "http.server"], None),
    ("/usr/bin/python3", ["-W", "ignore", "-X", "dev", "x.py", "-c"], "x.py"), ("/usr/bin/perl", ["-we", "1"], None),
    ("/usr/bin/node", ["--require", "a.js", "b.js"], "b.js"), ("/usr/bin/java", ["-cp", "x", "Main"], None),
    ("/usr/bin/java", ["-Xmx1g", "-jar", "a.jar", "b"], "a.jar"), ("/bin/busybox", ["ash", "/x"], "/x"),
    ("/lib/ld-musl-x86_64.so.1", ["--preload", "a", "/x"], "/x"), ("/bin/cat", ["/x"], None), ("/bin/sh", [], None),
    ("/bin/busybox", [], None), ("/usr/bin/awk", ["-f", "x.awk"], "x.awk"), ("/usr/bin/awk", ["{print}"], None),
    ("/usr/bin/env", ["sh", "/x"], None)])
def test_what_an_interpreter_runs(program: str, arguments: list[str], script: str | None) -> None:
    assert run_by(program, arguments) == script


@given(st.dictionaries(st.sampled_from(("proc.exepath", "proc.args", "proc.cwd", "custody.exe.sha256", "evt.rawres",
                                        "evt.res", "container.id", "container.image.digest", "fd.name", "fd.sip",
                                        "fd.sport", "fd.l4proto", "fd.sip.name", "evt.is_open_write")),
                       st.one_of(st.none(), st.text(max_size=40), st.integers(), st.booleans(),
                                 st.lists(st.text(max_size=5), max_size=4), st.binary(max_size=5),
                                 st.just("2001:db8::1"), st.just(A))),
       st.sampled_from(("execve", "openat", "connect")))
def test_no_event_breaks_a_detector(fields: Mapping[str, Any], kind: str) -> None:
    told = RuntimeEvent("syscall", kind, fields, None, "test")
    witness = Witness(NOW)
    for detect in (ExecutableDetector(Known(None, "no"), Containers(), witness), PackageManagerDetector(
            Containers(), witness), EgressDetector(Baselines(), Containers(), {})):
        assert all(isinstance(alert, Alert) for alert in detect(told))
    assert all(isinstance(program.path, str) for program in executed(fields))


# --- package managers

@pytest.mark.parametrize(("path", "arguments", "changing"), [
    ("/usr/bin/apt-get", "install -y nmap", True), ("/usr/bin/apt-get", "update", False),
    ("/usr/bin/dpkg", "-l", False), ("/usr/bin/dpkg", "-i x.deb", True),
    ("/sbin/apk", "add --no-cache curl", True), ("/sbin/apk", "info", False),
    ("/usr/bin/rpm", "-Uvh x.rpm", True), ("/usr/bin/rpm", "-qa", False), ("/usr/bin/yum", "update", True),
    ("/usr/bin/pip3.11", "install x", True), ("/usr/bin/python3", "-m pip install x", True),
    ("/usr/bin/python3", "/usr/bin/pip install x", True),
    ("/usr/local/bin/node", "/usr/local/lib/node_modules/npm/bin/npm-cli.js install", True),
    ("/usr/bin/gem", "list", False)])
def test_package_managers(path: str, arguments: str, changing: bool) -> None:
    witness = Witness(NOW)
    alert, = PackageManagerDetector(Containers(), witness)(ran(path, None, proc__args=arguments))
    assert alert.output_fields["custody.drift.unlike"] is changing
    assert (A in witness.images) is changing


@pytest.mark.parametrize(("path", "arguments"), [
    ("/bin/sh", "-c apt"), ("/usr/bin/python3", "-m http.server"), ("/usr/bin/python3", "/app/install"),
    ("/usr/bin/apt-mark", "showhold"), ("/usr/bin/vi", "apt-get install")])
def test_what_is_no_package_manager(path: str, arguments: str) -> None:
    assert list(PackageManagerDetector(Containers(), Witness(NOW))(ran(path, None, proc__args=arguments))) == []


def test_who_writes_to_a_database_of_packages_changes_it_whatever_he_is_called() -> None:
    detect = PackageManagerDetector(Containers(), Witness(NOW))
    written = event("openat", fd__name="/var/lib/dpkg/status", evt__is_open_write=True, proc__name="x")
    alert, = detect(written)
    assert alert.output_fields["custody.drift.reason"] == "x writes /var/lib/dpkg/status"
    assert list(detect(event("openat", fd__name="/var/lib/dpkg/status", evt__is_open_write=False))) == []
    assert list(detect(event("openat", fd__name="/var/lib/dpkg-x", evt__is_open_write=True))) == []
    record = "/v/site-packages/a.dist-info/RECORD"
    assert len(list(detect(event("openat", fd__name=record, evt__is_open_write=True)))) == 1


@pytest.mark.parametrize(("kind", "argument"), [
    ("renameat2", "newpath"), ("rename", "newpath"), ("linkat", "newpath"), ("symlinkat", "linkpath")])
def test_who_puts_a_file_in_the_place_of_a_database_changes_it(kind: str, argument: str) -> None:
    def put(path: str, result: int = 0) -> list[Alert]:
        named: dict[str, Any] = {"evt__rawres": result, f"evt__arg__{argument}": path, "evt__arg__oldpath": "/tmp/x"}
        return [*PackageManagerDetector(Containers(), Witness(NOW))(event(kind, **named))]

    alert, = put("/var/lib/dpkg/status")
    assert alert.rule == "Packages changed in a container"
    assert put("/var/lib/dpkg/status", -13) == put("/tmp/status") == []


def test_names_and_arguments() -> None:
    assert manager("/usr/bin/pip3 (deleted)", ["install"])[0] == "pip"
    assert not changes("dnf", ["list"])
    assert changes("pacman", ["-Syu"])


# --- connections

def connect(address: str, port: int = 443, at: int = 0, digest: str = A, **fields: Any) -> RuntimeEvent:
    return event("connect", at, fd__sip=address, fd__sport=port, fd__l4proto="tcp", container__image__digest=digest,
                 **fields)


def test_it_learns_and_then_tells() -> None:
    baselines = Baselines(window=60)
    detect = EgressDetector(baselines, Containers(), {})
    assert list(detect(connect("1.2.3.4"))) == []
    assert list(detect(connect("5.6.7.8", at=59 * SECOND))) == []
    assert list(detect(connect("1.2.3.4", at=100 * SECOND))) == []
    alert, = detect(connect("9.9.9.9", at=100 * SECOND))
    assert (alert.rule, alert.output_fields["custody.egress.destination"]) == (
        "Connection outside of the image's baseline", "tcp 9.9.9.9:443")
    assert list(detect(connect("9.9.9.9", at=101 * SECOND))) == []  # said once
    assert len(list(detect(connect("1.2.3.4", 22, at=101 * SECOND)))) == 1  # another port


def test_the_next_digest_begins_with_what_the_one_before_had() -> None:
    baselines = Baselines(window=60)
    detect = EgressDetector(baselines, Containers(), {})
    list(detect(connect("1.2.3.4")))
    list(detect(connect("5.6.7.8")))
    assert list(detect(connect("1.2.3.4", at=1, digest=B))) == []
    alert, = detect(connect("9.9.9.9", at=2, digest=B))
    assert (alert.rule, alert.priority) == ("New destination beside the image before", "Notice")
    following = baselines.get(B)
    assert following is not None
    assert (following.previous, sorted(map(str, following.added)), sorted(map(str, following.unused))) == (
        A, ["tcp 9.9.9.9:443"], ["tcp 5.6.7.8:443"])
    assert list(detect(connect("5.6.7.8", at=90 * SECOND, digest=B))) == []  # carried


@pytest.mark.parametrize("since", [1 << 61, 1 << 62])
def test_a_clock_that_ran_ahead_makes_no_image_learn_for_ever(since: int) -> None:
    baselines = Baselines([Baseline(digest=A, state="learning", since=since)])
    alert, = EgressDetector(baselines, Containers(), {})(connect("1.2.3.4"))
    assert alert.rule == "Connection outside of the image's baseline"
    fresh = Baselines(window=60)
    list(EgressDetector(fresh, Containers(), {})(connect("1.2.3.4", at=since)))
    assert fresh.all()[0].since <= time.time_ns()


def test_two_watches_learn_beside_each_other_and_write_over_nothing_that_was_declared() -> None:
    store = MemoryDrift()
    watches = [Baselines(window=60), Baselines(window=60)]
    for watch, address in zip(watches, ("1.2.3.4", "5.6.7.8"), strict=True):
        list(EgressDetector(watch, Containers(), {})(connect(address)))
        flush(watch, store)
    assert sorted(map(str, read_all(store)[A].destinations)) == ["tcp 1.2.3.4:443", "tcp 5.6.7.8:443"]
    declared = Baseline(digest=A, state="declared", destinations={parse("tcp 9.9.9.9:443")})
    write([declared], store)
    detect = EgressDetector(watches[1], Containers(), {})
    assert list(detect(connect("4.4.4.4"))) == []  # it does not know yet
    flush(watches[1], store)
    assert read_all(store)[A] == declared
    assert len(list(detect(connect("4.4.4.4")))) == 1


def test_what_there_is_no_room_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.runtime.egress._MOST", 1)
    monkeypatch.setattr("custody.runtime.egress._IMAGES", 1)
    detect = EgressDetector(Baselines(window=60), Containers(), {})
    alerts = [alert for address in ("1.2.3.4", "5.6.7.8", "5.6.7.8", "1.2.3.4") for alert in detect(connect(address))]
    assert [alert.output_fields["custody.drift.reason"] for alert in alerts] == [
        "1 destinations are learned, and no more are"]
    alerts = [alert for _ in range(2) for alert in detect(connect("1.2.3.4", digest=B))]
    assert [alert.output_fields["custody.drift.reason"] for alert in alerts] == [
        "connections are not judged: 1 images have baselines, and this one none"]


def test_another_repository_begins_with_nothing() -> None:
    baselines = Baselines(window=60)
    detect = EgressDetector(baselines, Containers(), {})
    list(detect(connect("1.2.3.4")))
    list(detect(connect("1.2.3.4", digest=B, container__image="r.example/other")))
    following = baselines.get(B)
    assert following is not None
    assert following.previous == ""


@pytest.mark.parametrize(("entry", "address", "names", "inside"), [
    ("tcp 10.0.0.0/8:443", "10.1.2.3", {}, True), ("tcp 10.0.0.0/8:443", "11.1.2.3", {}, False),
    ("tcp 10.0.0.0/8:*", "10.1.2.3", {}, True), ("udp 10.0.0.0/8:443", "10.1.2.3", {}, False),
    ("tcp service/shop/db:443", "10.1.2.3", {"10.1.2.3": "service/shop/db"}, True),
    ("tcp service/shop/db:443", "10.1.2.3", {"10.1.2.3": "service/shop/other"}, False),
    ("tcp api.example.org:443", "1.2.3.4", {"name": "api.example.org"}, True),
    ("tcp *.example.org:443", "1.2.3.4", {"name": "API.example.org."}, True),
    ("tcp *.example.org:443", "1.2.3.4", {"name": "api.example.org.evil"}, False),
    ("tcp *.example.org:443", "10.1.2.3", {"10.1.2.3": "pod/evil/x.example.org"}, False),
    ("tcp service/shop/db:443", "1.2.3.4", {"name": "service/shop/db"}, False),
    ("tcp 10.0.0.0/8:443", "1.2.3.4", {"name": "10.1.2.3"}, False),
    ("tcp *.example.org:443", "1.2.3.4", {}, False), ("tcp [2001:db8::1]:443", "2001:db8:0::1", {}, True),
    ("tcp 1.2.3.4:443", "::ffff:1.2.3.4", {}, True)])
def test_declared_baselines(entry: str, address: str, names: dict[str, str], inside: bool) -> None:
    baselines = Baselines([Baseline(digest=A, state="declared", destinations={parse(entry)})])
    detect = EgressDetector(baselines, Containers(), {key: name for key, name in names.items() if key != "name"})
    alerts = list(detect(connect(address, fd__sip__name=names.get("name"))))
    assert (alerts == []) is inside
    assert baselines.all()[0].destinations == {parse(entry)}  # nothing is learned to it


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "x", "", "1.2.3.4.5"])
def test_what_is_no_egress(address: str) -> None:
    baselines = Baselines()
    assert list(EgressDetector(baselines, Containers(), {})(connect(address))) == []
    assert baselines.all() == []


def test_the_metadata_service_is_egress() -> None:
    baselines = Baselines([Baseline(digest=A, state="declared")])
    assert len(list(EgressDetector(baselines, Containers(), {})(connect("169.254.169.254", 80)))) == 1


@pytest.mark.parametrize("text", ["", "tcp x", "tcp :1", "icmp 1.2.3.4:1", "tcp 1.2.3.4:0", "tcp 1.2.3.4:99999",
                                  "tcp 1.2.3.4.5:1", "tcp 10.0.0.0/33:1", "tcp service/x:1", "tcp a b:1", "tcp -x-:1",
                                  "tcp " + "a" * 400 + ":1"])
def test_a_destination_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse(text)


@pytest.mark.parametrize(("change", "field"), [
    ({"digest": "x"}, "digest"), ({"state": "x"}, "state"), ({"since": -1}, "since"), ({"since": True}, "since"),
    ({"destinations": "x"}, "destinations"), ({"destinations": ["x"]}, "destinations[0]"), ({"image": 1}, "image"),
    ({"more": 1}, "more"), ({"carried": [1]}, "carried")])
def test_a_baseline_that_is_none_is_refused_by_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(MalformedError) as caught:
        of_json({"digest": A, **change})
    assert caught.value.message.startswith(f"baseline.{field}")


def test_a_baseline_is_read_as_it_was_written() -> None:
    baseline = Baseline(digest=A, image="r/x", state="learned", since=5, previous=B,
                        destinations={parse("tcp 1.2.3.4:443")}, carried={parse("udp [::2]:53")})
    assert of_json(to_json(baseline)) == baseline


# --- images that are read

def test_images_are_read_once_and_kept(tmp_path: Path) -> None:
    opened = []
    image = images.image(tmp_path / "image", [("bin/sh", SHELL)])
    store = MemoryDrift()

    async def read_image(digest: str, name: str) -> Any:
        opened.append((digest, name))
        return image, {digest}

    async def known() -> KnownImages:
        images_known = KnownImages(store, lambda: NOW, "linux/amd64", read_image)
        assert images_known.ask(A, "r/x") == ""
        assert images_known.ask(A, "r/x") == ""
        await images_known.work()
        return images_known

    first, second = asyncio.run(known()), asyncio.run(known())
    for images_known in (first, second):
        files = images_known.get(A)
        assert files is not None
        assert files.judge("/bin/sh", sha(SHELL)).verdict == "known"
    assert opened == [(A, "r/x")]


@pytest.mark.parametrize("error", [CustodyError("gone"), StorageError("full"), ValueError("a bug")])
def test_an_image_that_cannot_be_read_says_why(error: Exception) -> None:
    async def fails(_digest: str, _name: str) -> Any:
        raise error

    async def main() -> str:
        images_known = KnownImages(MemoryDrift(), lambda: NOW, "linux/amd64", fails)
        images_known.ask(A, "")
        await images_known.work()
        assert images_known.get(A) is None
        return images_known.ask(A, "")

    assert asyncio.run(main()).startswith("the image could not be read: ")


def test_a_registry_that_does_not_answer_keeps_no_other_image_from_being_read(tmp_path: Path,
                                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    image, hang = images.image(tmp_path / "image", [("bin/sh", SHELL)]), threading.Event()
    monkeypatch.setattr("custody.services.imagefiles._PATIENCE", 0.2)

    class Dripping:
        """An image whose first layer does not come."""

        name, descriptor, manifest, config = image.name, image.descriptor, image.manifest, image.config

        def open_blob(self, _descriptor: Any) -> Any:
            hang.wait()
            raise CustodyError("gone")

    async def opening(digest: str, name: str) -> Any:
        if name.startswith("slow.example/dripping"):
            return Dripping(), {digest}
        if name.startswith("slow.example"):
            await asyncio.sleep(3600)
        return image, {digest}

    async def main() -> None:
        known = KnownImages(MemoryDrift(), lambda: NOW, "linux/amd64", opening)
        assert known.ask(A, "slow.example/dripping") == known.ask(B, "slow.example/x") == ""
        assert known.ask(A, "r.example/shop") == ""  # the same image, of another registry
        await known.work()
        assert known.get(A) is not None
        assert known.ask(B, "slow.example/x") == "the image could not be read: slow.example does not answer"
        assert known.ask(B, "r.example/x") == ""
        await known.work()
        assert known.get(B) is not None
        hang.set()

    try:
        asyncio.run(main())
    finally:
        hang.set()


def test_what_is_asked_for_is_not_forgotten_when_the_reading_is_cancelled() -> None:
    async def never(_digest: str, _name: str) -> Any:
        await asyncio.sleep(3600)

    async def main() -> None:
        known = KnownImages(MemoryDrift(), lambda: NOW, "linux/amd64", never)
        known.ask(A, "r.example/shop")
        task = asyncio.create_task(known.run())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [*known._asked] == [(A, "r.example/shop")]

    asyncio.run(main())


def test_a_full_disk_keeps_no_image_from_being_judged(tmp_path: Path) -> None:
    image = images.image(tmp_path / "image", [("bin/sh", SHELL)])

    class Full(MemoryDrift):
        def keep_layer(self, diff_id: str, data: bytes) -> None:
            raise StorageError("database or disk is full")

        def keep_index(self, kept: Any, names: Any, data: bytes) -> None:
            raise StorageError("database or disk is full")

        def index(self, digest: str, platform: str) -> bytes | None:
            raise StorageError("database is locked")

    async def opening(digest: str, _name: str) -> Any:
        return image, {digest}

    async def main() -> None:
        known = KnownImages(Full(), lambda: NOW, "linux/amd64", opening)
        known.ask(A, "r.example/shop")
        await known.work()
        files = known.get(A)
        assert files is not None
        assert files.judge("/bin/sh", sha(EVIL)).verdict == "modified"

    asyncio.run(main())


def test_layers_that_are_known_are_not_read_again(tmp_path: Path) -> None:
    store = MemoryDrift()
    layers = [[("bin/sh", SHELL)], [("bin/tool", TOOL)]]
    image = images.image(tmp_path / "one", *layers)
    read_files(image, store, lambda: NOW, _silent)
    other = images.image(tmp_path / "two", *layers, [("bin/x", EVIL)])
    (tmp_path / "two/blobs/sha256" / other.manifest.layers[0].digest[7:]).unlink()
    assert len(read_files(other, store, lambda: NOW, _silent)) == 3
    store.layers[other.config.diff_ids[1]] = b"a disk changed it"
    assert len(read_files(other, store, lambda: NOW, _silent)) == 3


def _silent(_title: str, _total: int | None) -> Any:
    import contextlib

    return contextlib.nullcontext()


# --- opened files

@pytest.mark.parametrize(("fields", "opened", "losses"), [
    ({"fd.name": "/lib/libz.so"}, {"lib/libz.so"}, 0), ({"fd.name": "/lib/none", "evt.rawres": -2}, set(), 0),
    ({"fd.name": "lib/libz.so"}, set(), 1), ({}, set(), 1), ({"fd.name": None}, set(), 1),
    ({"fd.name": "/proc/self/root/lib/libz.so"}, {"lib/libz.so"}, 0),
    ({"fd.name": "/proc/1/root/proc/7/task/7/root/lib/libz.so"}, {"lib/libz.so"}, 0),
    ({"fd.name": "/proc/self/cwd/libz.so"}, set(), 1), ({"fd.name": "/proc/thread-self/map_files/0-1"}, set(), 1),
    ({"fd.name": "/tmp/../lib/libz.so"}, {"lib/libz.so"}, 0),
    ({"fd.name": "/run/containerd/io.containerd.runtime.v2.task/k8s.io/0123/rootfs/lib/libz.so"}, {"lib/libz.so"}, 0)])
def test_what_is_opened_is_noted_and_what_nobody_knows_is_a_loss(fields: dict[str, Any], opened: set[str],
                                                                 losses: int) -> None:
    witness = Witness(NOW)
    assert list(OpenedFiles(Containers(), witness)(event("openat", **{
        key.replace(".", "__"): value for key, value in fields.items()}))) == []
    seen = witness.images.get(A)
    assert (seen.opened if seen else set(), seen.losses if seen else 0) == (opened, losses)


def _argued(kind: str, **arguments: str | None) -> RuntimeEvent:
    named: dict[str, Any] = {f"evt__arg__{name}": value for name, value in arguments.items()}
    return event(kind, **named)


@pytest.mark.parametrize(("given", "aliased", "losses"), [
    (_argued("symlink", target="/usr/lib", linkpath="/tmp/l"), {"usr/lib"}, 0),
    (_argued("symlinkat", target="../usr/lib", linkpath="/tmp/l"), {"usr/lib"}, 0),
    (_argued("symlinkat", target="../usr/lib", linkpath="l"), set(), 1),
    (_argued("symlinkat", target="/proc/self/cwd/x", linkpath="/tmp/l"), set(), 1),
    (_argued("symlinkat", target=None, linkpath="/tmp/l"), set(), 1),
    (_argued("linkat", oldpath="/usr/lib/a", newpath="/tmp/a"), {"usr/lib/a", "tmp/a"}, 0),
    (_argued("renameat2", oldpath="/usr/lib", newpath="/tmp/lib"), {"usr/lib", "tmp/lib"}, 0),
    (_argued("rename", oldpath="lib", newpath="/tmp/lib"), {"tmp/lib"}, 1),
    (_argued("io_uring_setup"), set(), 1), (_argued("open_by_handle_at"), set(), 1),
    (_argued("chroot", path="/usr"), set(), 1), (_argued("mount", dir="/mnt"), set(), 1),
    (_argued("unshare", flags="CLONE_NEWUSER"), set(), 1), (_argued("unshare", flags=None), set(), 1),
    (_argued("unshare", flags="CLONE_FILES"), set(), 0),
    (event("io_uring_setup", evt__rawres=-1), set(), 0), (event("chroot", container__image__digest=None), set(), 0)])
def test_other_names_of_files_are_noted_and_what_hides_opens_is_a_loss(given: RuntimeEvent, aliased: set[str],
                                                                       losses: int) -> None:
    witness = Witness(NOW)
    detect = OpenedFiles(Containers(), witness)
    assert [*detect(ran("/bin/server", b"server")), *detect(given)] == []
    seen = witness.images.get(A)
    assert (seen.aliased if seen else set(), seen.losses if seen else 0) == (aliased, losses)


@pytest.mark.parametrize("program", [
    ran("/memfd:runc_cloned:/proc/self/exe (deleted)", None), ran("/proc/self/exe"), ran("/usr/bin/runc"),
    ran("/usr/sbin/runc", b"runc")])
def test_a_runtime_makes_the_root_before_the_first_program(program: RuntimeEvent) -> None:
    witness = Witness(NOW)
    detect = OpenedFiles(Containers(), witness, [sha(b"runc")])
    for told in (program, _argued("mount", dir="/"), _argued("unshare", flags="CLONE_NEWNS")):
        assert list(detect(told)) == []
    assert witness.images == {}
    for told in (ran("/usr/bin/runc", EVIL), _argued("mount", dir="/")):
        assert list(detect(told)) == []
    assert witness.images[A].losses == 1


@pytest.mark.parametrize(("path", "real"), [
    ("/run/containerd/io.containerd.runtime.v2.task/k8s.io/0123/rootfs/bin/sh", "/bin/sh"),
    ("/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/0123/rootfs/bin/rootfs/sh", "/bin/rootfs/sh"),
    ("/var/lib/docker/overlay2/0123/merged/bin/sh", "/bin/sh"),
    ("/var/lib/containers/storage/overlay/0123/merged/x", "/x"), ("/opt/rootfs/bin/sh", "/opt/rootfs/bin/sh"),
    ("/rootfs/bin/sh", "/rootfs/bin/sh"), ("/run/containerd/rootfs/x", "/run/containerd/rootfs/x")])
def test_paths_of_the_node_as_containers_have_them(path: str, real: str) -> None:
    assert inside(path) == real
