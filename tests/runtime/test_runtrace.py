"""Runtime attestations, and what VEX follows of them: nothing where one condition of it does not hold."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, MissingEvidenceError
from custody.formats.predicates import check_shape
from custody.runtime import notexecuted, runtrace
from custody.runtime.egress import Baseline, parse
from custody.runtime.executables import Executables, Verdict
from custody.runtime.opening import NAMES
from custody.runtime.runtrace import PREDICATE_TYPE, Kept, Live, trace
from custody.runtime.witness import Witness
from custody.services.witnessing import Witnessing, decoded, encoded, read_all
from tests.runtime.stores import MemoryDrift
from tests.runtime.test_executables import SHELL, TOOL, files_of, sha

A = "sha256:" + "a" * 64
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
NOW = BEGAN + timedelta(days=10)
CONTAINER = "c0ffee" * 10 + "abcd"
DAY = 86_400_000_000_000
WEEK = timedelta(days=7)


def at(days: float) -> int:
    return int(BEGAN.timestamp()) * 1_000_000_000 + int(days * DAY)


@pytest.fixture
def files(tmp_path: Path) -> Executables:
    return files_of(tmp_path / "image", [
        ("bin/sh", SHELL), ("app/server", b"server"), ("usr/bin/ed", TOOL), ("opt/editor", TOOL),
        ("usr/share/doc/ed/copyright", b"GPL"), ("usr/lib/libz.so.1", b"z"),
        ("usr/lib/libz.so", ("symlink", "libz.so.1")),
        ("var/lib/dpkg/info/dash.list", b"/bin/sh\n"), ("var/lib/dpkg/info/ed.list", b"/usr/bin/ed\n"
                                                        b"/usr/share/doc/ed/copyright\n"),
        ("var/lib/dpkg/info/zlib.list", b"/usr/lib/libz.so.1\n")])


WHOLE = ("execve", "open-read", *NAMES)


def witness(covers: tuple[str, ...] = WHOLE, program: str = "bin/sh") -> Witness:
    seen = Witness(BEGAN - timedelta(hours=1), covers)
    seen.executed(A, CONTAINER[:12], at(0), Verdict.KNOWN, program)
    seen.executed(A, CONTAINER[:12], at(9), Verdict.KNOWN, program)
    return seen


def kept(seen: Witness, until: datetime = NOW, node: str = "n1") -> Kept:
    witnessing = Witnessing(seen, MemoryDrift(), lambda: until, node)
    return decoded(encoded(witnessing.kept()), "test")


LIVE = Live(CONTAINER, "n1", "2026-11-01T00:00:00Z")


def attested(files: Executables | None, seen: Witness | None = None, **more: Any) -> dict[str, Any]:
    given_kept = more.pop("kept", None) or [kept(seen or witness())]
    return trace(A, given_kept, NOW, **{"cluster": "c1", "live": [LIVE], "files": files, **more})


def justified(predicate: dict[str, Any], files: Executables, package: str = "deb ed", least: timedelta = WEEK) -> str:
    return notexecuted.check(runtrace.read(predicate), files, package, least, now=NOW)


def refused(predicate: dict[str, Any], files: Executables, package: str = "deb ed", least: timedelta = WEEK) -> str:
    with pytest.raises(MissingEvidenceError) as caught:
        justified(predicate, files, package, least)
    return caught.value.message


def test_a_whole_run_in_which_a_package_was_not_executed(files: Executables) -> None:
    predicate = attested(files)
    assert predicate["custody"]["gaps"] == []
    assert justified(predicate, files).startswith("none of the 2 files of the package was executed or opened from "
                                                  "2026-11-01 to 2026-11-11")


def test_the_predicate_is_in_totos(files: Executables) -> None:
    baseline = Baseline(digest=A, destinations={parse("tcp 1.2.3.4:443"), parse("tcp api.example.org:*")})
    predicate = attested(files, baseline=baseline)
    check_shape(PREDICATE_TYPE, predicate)
    assert predicate["monitoredProcess"]["hostID"] == "k8s://c1"
    assert predicate["monitorLog"]["process"] == [
        {"path": "/bin/sh", "digest": {"sha256": sha(SHELL)}, "package": "deb dash"}]
    assert predicate["monitorLog"]["network"] == [
        {"ip": "1.2.3.4", "port": 443, "protocol": "tcp"}, {"hostname": "api.example.org", "protocol": "tcp"}]
    assert predicate["metadata"] == {"buildStartedOn": "2026-11-01T00:00:00Z",
                                     "buildFinishedOn": "2026-11-11T00:00:00Z"}


def _executed(seen: Witness) -> None:
    seen.executed(A, CONTAINER[:12], at(1), Verdict.KNOWN, "usr/bin/ed")


def _opened(seen: Witness) -> None:
    seen.opened(A, at(1), "/usr/bin/ed")


def _alien(seen: Witness) -> None:
    seen.executed(A, "", at(1), Verdict.COPIED, "tmp/x")


def _unlike(seen: Witness) -> None:
    seen.mark(A, CONTAINER[:12], "apt-get install x", at(1))


def _unjudged(seen: Witness) -> None:
    seen.executed(A, CONTAINER[:12], at(1), Verdict.NOT_JUDGED, "bin/sh")


def _lost(seen: Witness) -> None:
    seen.lose("ring-buffer", 3)


def _full(seen: Witness) -> None:
    seen.images[A].losses = 1


@pytest.mark.parametrize(("change", "reason"), [
    (_executed, "deb ed: /usr/bin/ed was executed"), (_opened, "deb ed: /usr/bin/ed was opened"),
    (_alien, "something was executed that is not the image's, such as tmp/x"),
    (_unlike, "1 of its containers were changed while they ran"),
    (_unjudged, "not all of the run was seen: 1 executions were not judged"),
    (_lost, "not all of the run was seen: events were lost: 3 ring-buffer"),
    (_full, "not all of the run was seen: events were lost: 1 paths")])
def test_what_was_seen_that_forbids_it(files: Executables, change: Callable[[Witness], None], reason: str) -> None:
    seen = witness()
    change(seen)
    assert refused(attested(files, seen), files).startswith(reason)


@pytest.mark.parametrize(("more", "reason"), [
    ({"live": None}, "nobody said which containers run"),
    ({"live": [LIVE, Live("d" * 64, "n1", LIVE.started)]}, "1 of 2 containers that run were not seen"),
    ({"live": [LIVE._replace(started="2026-10-31T00:00:00Z")]}, "1 of 1 containers were started before anybody looked"),
    ({"live": [LIVE._replace(started="")]}, "1 of 1 containers were started before anybody looked"),
    ({"live": [LIVE._replace(node="n2")]}, "1 of 1 containers were started before anybody looked"),
    ({"files": None}, "the image's files are not indexed"),
    ({"kept": [kept(witness(("open-read",)))]}, "no input of some node tells what is executed"),
    ({"kept": [kept(witness(), NOW - timedelta(minutes=6))]}, "nobody looks at n1 since 2026-11-10T23:54:00Z")])
def test_gaps_that_forbid_it(files: Executables, more: dict[str, Any], reason: str) -> None:
    predicate = attested(**{"files": files, **more})
    assert any(gap.startswith(reason) for gap in predicate["custody"]["gaps"]), predicate["custody"]["gaps"]
    assert refused(predicate, files).startswith("not all of the run was seen: ")


def test_a_watch_that_was_started_again_left_a_gap(files: Executables) -> None:
    first, second = kept(witness(), BEGAN + timedelta(days=3)), kept(witness())
    second = type(second)(**{**{name: getattr(second, name) for name in second.__struct_fields__},
                             "since": "2026-11-04T00:00:01Z"})
    predicate = attested(files, kept=[first, second])
    assert predicate["custody"]["gaps"] == ["nobody looked at n1 from 2026-11-04T00:00:00Z to 2026-11-04T00:00:01Z"]


def test_a_run_that_was_too_short(files: Executables) -> None:
    assert refused(attested(files), files, least=timedelta(days=11)) == (
        "it was seen for 10.0 days, expected 11.0 days at least")


def test_a_package_without_files(files: Executables) -> None:
    assert refused(attested(files), files, "deb nothing") == "deb nothing: no file of the image is known to be its own"


def test_a_library_needs_that_opened_files_were_looked_at(files: Executables) -> None:
    without = attested(files, witness(("execve",), "app/server"))
    assert without["custody"]["gaps"] == []
    assert "/usr/lib/libz.so.1 of deb zlib may be loaded without being executed" in refused(without, files, "deb zlib")
    assert "and nothing of them can be loaded" in justified(without, files)
    assert justified(attested(files), files, "deb zlib")
    seen = witness()
    seen.opened(A, at(1), "/usr/lib/libz.so")  # by a link
    assert refused(attested(files, seen), files, "deb zlib") == "deb zlib: /usr/lib/libz.so.1 was opened"


def test_that_rules_look_at_opens_is_no_word_on_all_opens(files: Executables) -> None:
    assert attested(files, witness(("execve", "openat")))["custody"]["opened"] is False


def test_names_are_not_believed_where_nobody_tells_who_makes_them(files: Executables) -> None:
    for missing in NAMES:
        assert attested(files, witness(tuple({*WHOLE} - {missing})))["custody"]["opened"] is False


def test_what_runs_texts_hides_what_it_runs_unless_opens_are_told(files: Executables) -> None:
    predicate = attested(files, witness(("execve",)))
    assert predicate["custody"]["gaps"] == []
    assert refused(predicate, files) == ("nobody looked which files were opened, and /bin/sh was executed, which may "
                                         "run /usr/bin/ed of deb ed without executing it")


@pytest.mark.parametrize("verb", ["executed", "opened"])
def test_the_same_bytes_under_another_name_are_the_packages_code(files: Executables, verb: str) -> None:
    seen = witness()
    if verb == "executed":
        seen.executed(A, CONTAINER[:12], at(1), Verdict.KNOWN, "opt/editor")
    else:
        seen.opened(A, at(1), "/opt/editor")
    assert refused(attested(files, seen), files) == (
        f"deb ed: /opt/editor was {verb}, which has the bytes of /usr/bin/ed")


@pytest.mark.parametrize(("path", "package"), [
    ("/usr/lib/libz.so", "deb zlib"), ("/usr/lib", "deb zlib"), ("/", "deb ed"), ("/usr/bin/ed", "deb ed")])
def test_what_got_another_name_may_have_been_opened_by_it(files: Executables, path: str, package: str) -> None:
    seen = witness()
    seen.alias(A, at(1), "/usr/lib/other")
    assert justified(attested(files, seen), files, package)
    seen.alias(A, at(1), path)
    assert "got another name while it ran, by which" in refused(attested(files, seen), files, package)


def test_no_event_makes_a_run_longer_than_somebody_looked(files: Executables) -> None:
    seen = witness()
    for moment in (0, -10 ** 30, 10 ** 30):
        seen.executed(A, CONTAINER[:12], moment, Verdict.KNOWN, "bin/sh")
    own = attested(files, seen, live=[])["custody"]
    assert (own["from"], own["to"]) == ("2026-10-31T23:00:00Z", "2026-11-11T00:00:00Z")


@pytest.mark.parametrize("away", [timedelta(days=31), timedelta(minutes=-6)])
def test_one_that_ended_long_ago_or_ends_later_than_now_says_nothing_of_today(files: Executables,
                                                                             away: timedelta) -> None:
    with pytest.raises(MissingEvidenceError, match="expected within the last 30"):
        notexecuted.check(runtrace.read(attested(files)), files, "deb ed", WEEK, now=NOW + away)


def test_no_time_of_an_event_keeps_a_watch_from_writing(files: Executables) -> None:
    store, seen = MemoryDrift(), witness()
    seen.executed(A, CONTAINER[:12], 10 ** 40, Verdict.KNOWN, "bin/sh")
    Witnessing(seen, store, lambda: NOW, "n1").flush()
    assert read_all(store)[0].images[A].executions == 3


def test_an_image_that_ran_under_several_digests_is_seen_under_all(files: Executables) -> None:
    seen = witness()
    seen.executed("sha256:" + "b" * 64, "b" * 12, at(2), Verdict.KNOWN, "usr/bin/ed")
    assert justified(attested(files, seen), files)
    predicate = attested(files, seen, names=("sha256:" + "b" * 64,))
    assert (predicate["custody"]["containers"], predicate["custody"]["executions"]) == (2, 3)
    assert refused(predicate, files) == "deb ed: /usr/bin/ed was executed"


def test_containers_of_no_known_image_are_a_gap(files: Executables) -> None:
    assert refused(attested(files, nameless=2), files) == (
        "not all of the run was seen: 2 containers ran of which nobody says the image")


def test_an_image_that_nobody_saw(files: Executables) -> None:
    with pytest.raises(MalformedError, match="no watch that saw it run"):
        attested(files, Witness(BEGAN))


@pytest.mark.parametrize("cluster", ["", "a b", "../x", "a" * 101])
def test_a_clusters_name_that_is_no_name(files: Executables, cluster: str) -> None:
    with pytest.raises(MalformedError, match="cluster"):
        attested(files, cluster=cluster)


def test_one_that_runs_no_more_ends_with_its_last_event(files: Executables) -> None:
    predicate = attested(files, live=[])
    assert predicate["custody"]["to"] == "2026-11-10T00:00:00Z"


@pytest.mark.parametrize(("path", "value", "field"), [
    ("monitor.type", "https://github.com/cilium/tetragon", "monitor.type"), ("custody.version", 2, "custody.version"),
    ("custody.gaps", None, "custody.gaps"), ("custody.gaps", [1], "custody.gaps"), ("custody.unlike", "0", "custody"),
    ("custody.opened", 1, "custody"), ("custody.renamed", None, "custody.renamed"),
    ("custody.from", "yesterday", "custody.from"),
    ("monitorLog.process", None, "monitorLog.process"),
    ("monitorLog.process", [{"path": "x"}], "monitorLog.process[0]")])
def test_a_trace_that_is_not_custodys_is_refused_by_its_field(files: Executables, path: str, value: Any,
                                                             field: str) -> None:
    predicate = copy.deepcopy(attested(files))
    *above, last = path.split(".")
    inner = predicate
    for name in above:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(MalformedError) as caught:
        runtrace.read(predicate)
    assert caught.value.message.startswith(f"runtime trace.{field}")


def test_counts_of_strangers_count_without_their_names(files: Executables) -> None:
    predicate = attested(files)
    predicate["custody"]["verdicts"]["unknown"] = 1
    assert refused(predicate, files).startswith("something was executed that is not the image's")


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((
                         "monitor", "type", "custody", "version", "gaps", "monitorLog", "process", "from")), inner),
                     max_leaves=12)


@given(_JSON)
@settings(max_examples=300)
def test_any_document_is_read_or_refused(document: Any) -> None:
    try:
        runtrace.read(document)
    except CustodyError:
        pass


def test_what_a_watch_saw_is_kept_and_read() -> None:
    store = MemoryDrift()
    witnessing = Witnessing(witness(), store, lambda: NOW, "n1", lambda: {"queue": 2})
    witnessing.flush()
    read, = read_all(store)
    assert (read.node, read.losses, read.images[A].executions) == ("n1", {"queue": 2}, 2)
    store.keep_witness(witnessing.name, store.witnesses()[witnessing.name][:-1] + b"x")
    with pytest.raises(MalformedError, match="bytes that were changed"):
        read_all(store)


def test_what_watches_saw_long_ago_is_let_go_of() -> None:
    async def begun(days: int) -> int:
        store = MemoryDrift()
        store.keep_witness("old", b"x")  # kept now, by the clock of this machine
        later = Witnessing(witness(), store, lambda: datetime.now(UTC) + timedelta(days=days), "n1")
        task = asyncio.create_task(later.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return sum(name == "old" for name in store.witnesses())

    assert (asyncio.run(begun(399)), asyncio.run(begun(401))) == (1, 0)


def test_what_there_is_no_room_for_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.runtime.witness._PATHS", 1)
    monkeypatch.setattr("custody.runtime.witness._DIGESTS", 1)
    seen = witness()
    seen.executed(A, CONTAINER[:12], at(1), Verdict.KNOWN, "usr/bin/ed")
    seen.executed("sha256:" + "b" * 64, "", at(1), Verdict.KNOWN, "x")
    assert (seen.images[A].losses, dict(seen.losses)) == (1, {"images": 1})
