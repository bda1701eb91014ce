"""Who wants an alert not to be told: of each way, exactly that, and the alert is told."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.filesystem.alertfile import AlertFile
from custody.adapters.filesystem.alertstream import AlertStream
from custody.adapters.filesystem.following import DocumentFolder, FollowedFile
from custody.adapters.sqlite.notes import SqliteNotes
from custody.adapters.syslog import Syslog
from custody.errors import MalformedError, NetworkError, StorageError, UsageError
from custody.formats.talon import read as talon
from custody.formats.telemetry import audit, lenient
from custody.formats.telemetry.audit import Audit
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.inputs import FORMATS
from custody.formats.telemetry.recording import Recording
from custody.formats.telemetry.told import Unread
from custody.kit.clock import system_clock
from custody.ports import alerting
from custody.runtime.counted import Counted
from custody.runtime.engine import Record
from custody.runtime.event import Place
from custody.runtime.folding import Folding
from custody.runtime.losses import Losses
from custody.runtime.responses import Responses
from custody.server.asgi import TooLargeError
from custody.server.runtime import _expanded, _Token
from custody.server.watchrun import _alone
from custody.services.alertdelivery import Delivery
from custody.services.eventinputs import StreamInput
from custody.services.eventwatch import EventWatch
from custody.services.responding import Responding
from policylang.falco import Alert
from tests.runtime.test_delivery import Notes, Output_, alert, numbers
from tests.runtime.test_engine import engine


def pod(number: int, extra: bytes = b"{}") -> bytes:
    """An audit event of a pod on the host's network, with something in its object."""
    return (b'{"kind":"Event","auditID":"%d","stage":"ResponseComplete","verb":"create",'
            b'"objectRef":{"resource":"pods"},"requestObject":{"spec":{"hostNetwork":true},"m":%s}}' % (number, extra))


def asked(told: Sequence[object]) -> list[tuple[str, str]]:
    events = [event for event in told if isinstance(event, RuntimeEvent)]
    return [(event.fields.get("ka.auditid"), event.fields.get("ka.req.pod.host_network")) for event in events]


DEEP = b'{"f":' * 3000 + b"{}" + b"}" * 3000
ODD = {"deep": DEEP, "surrogate": b'"\\ud800"', "no unicode": b'"\xff"', "control": b'"\x01"', "number": b"1e999",
       "nan": b"NaN"}


class TestWhatIsInAnObject:
    """`metadata.managedFields` and custom resources hold what their authors like, and audit events hold them."""

    @pytest.mark.parametrize("name", ODD)
    def test_hides_nothing(self, name: str) -> None:
        assert asked(Audit("x")(pod(1, ODD[name]))) == [("1", "true")]

    @pytest.mark.parametrize("name", ODD)
    @pytest.mark.parametrize("form", [b'{"kind":"EventList","metadata":{},"items":[%s,%s,%s]}', b"[%s,%s,%s]"])
    def test_hides_nothing_of_the_batch(self, form: bytes, name: str) -> None:
        told = Audit("x")(form % (pod(1), pod(2, ODD[name]), pod(3)))
        assert asked(told) == [("1", "true"), ("2", "true"), ("3", "true")]

    def test_one_that_is_too_large_to_be_repaired_hides_itself_alone(self) -> None:
        odd = b'"\\ud800"' + b" " * (5 << 20)
        told = Audit("x")(b'{"kind":"EventList","items":[%s,%s,%s]}' % (pod(1), pod(2, odd), pod(3)))
        assert asked(told) == [("1", "true"), ("3", "true")]
        assert len(told) == 3, "and it is said"

    @pytest.mark.parametrize("data", [b"[", b'{"kind":"EventList","items":[}'])
    def test_what_is_no_batch_is_none(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            Audit("x")(data)


class TestNesting:
    def test_what_is_not_deep_stays_as_it_is(self) -> None:
        data = json.dumps({"a": ['"]}', "\\", {"[": [[], {}]}], "b": [{}] * 500}).encode()
        assert lenient.shallow(data) == data

    def test_what_is_deep_is_null_and_the_rest_stays(self) -> None:
        data = b'{"a":["\\"]}"],"d":' + b"[" * 5000 + b"]" * 5000 + b',"z":[7]}'
        value = json.loads(lenient.shallow(data))
        assert (value["a"], value["z"]) == (['"]}'], [7])

    def test_members(self) -> None:
        data = b'{"m":{"x":{}},"items":[{"a":"}"},{"b":[{}]}, 5,{"c":'
        assert lenient.members(data, 2) == [b'{"a":"}"}', b'{"b":[{}]}']


def test_an_audit_id_that_its_caller_chose_again_is_another_event() -> None:
    (first,), (again,), (second,) = (Audit("x")(data) for data in (pod(1), pod(1), pod(1, b"1")))
    assert isinstance(first, RuntimeEvent)
    assert isinstance(again, RuntimeEvent)
    assert isinstance(second, RuntimeEvent)
    assert audit.key(first) == audit.key(again)
    assert audit.key(first) != audit.key(second)


class TestAKillAfterAFailure:
    """Of two outputs one failed at first, or what is noted: the file is not cut back to before its alerts."""

    def test_of_another_output(self, tmp_path: Path) -> None:
        path, other = tmp_path / "alerts", Output_("b")

        async def main() -> None:
            delivery = Delivery([AlertFile(path), other], SqliteNotes(tmp_path / "db"))
            delivery.begin()
            await delivery.deliver([alert(1)], {"in": "1"})
            other.failing = True
            with pytest.raises(NetworkError):
                await delivery.deliver([alert(2)], {"in": "2"})
            other.failing = False
            await delivery.deliver([alert(2)], {"in": "2"})

        asyncio.run(main())  # and killed: nothing is closed
        noted, said = Delivery([AlertFile(path)], SqliteNotes(tmp_path / "db")).begin()
        assert (noted.marks, said, numbers(path)) == ({"in": "2"}, [], [1, 2])

    def test_of_the_notes(self, tmp_path: Path) -> None:
        path = tmp_path / "alerts"

        class Failing(SqliteNotes):
            failing = False

            def note(self, marks: Mapping[str, str], places: Mapping[str, alerting.Place], keys: Sequence[str],
                     folds: bytes | None) -> None:
                if self.failing:
                    raise StorageError("the disk is full")
                super().note(marks, places, keys, folds)

        async def main() -> None:
            notes = Failing(tmp_path / "db")
            delivery = Delivery([AlertFile(path)], notes)
            delivery.begin()
            await delivery.deliver([alert(1)], {"in": "1"})
            notes.failing = True
            with pytest.raises(StorageError):
                await delivery.deliver([alert(2)], {"in": "2"})
            notes.failing = False
            await delivery.deliver([alert(2)], {"in": "2"})

        asyncio.run(main())
        noted, _ = Delivery([AlertFile(path)], SqliteNotes(tmp_path / "db")).begin()
        assert (noted.marks, numbers(path)) == ({"in": "2"}, [1, 2])


class TestAnOutputFile:
    def test_a_pipe_in_its_place_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        path = tmp_path / "alerts"
        output = AlertFile(path)
        output.write([alert(1)])
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(StorageError):
            output.write([alert(2)])
        path.unlink()
        output.write([alert(2)])
        assert numbers(path) == [2]

    def test_of_two_processes_one_writes_and_cuts(self, tmp_path: Path) -> None:
        path = tmp_path / "alerts"
        first, second = AlertFile(path), AlertFile(path)
        first.write([alert(1)])
        place = first.place()
        assert place is not None
        first.write([alert(2)])
        with pytest.raises(StorageError, match="another process writes to it"):
            second.write([alert(3)])
        with pytest.raises(StorageError, match="another process writes to it"):
            second.recover(place)
        first.close()
        assert second.recover(place) == ""
        assert numbers(path) == [1]

    def test_behind_a_link_it_is_cut_back_too(self, tmp_path: Path) -> None:
        (tmp_path / "alerts").symlink_to(tmp_path / "there")
        output = AlertFile(tmp_path / "alerts")
        output.write([alert(1)])
        place = output.place()
        output.write([alert(2)])
        output.close()
        assert AlertFile(tmp_path / "alerts").recover(place) == ""
        assert numbers(tmp_path / "there") == [1]


class TestOddValues:
    RULES = """\
- rule: by address
  desc: d
  condition: evt.type = execve and fd.sip = 1.2.3.4
  output: "%fd.sip"
  priority: WARNING
- rule: by name
  desc: d
  condition: evt.type = execve and proc.name startswith s
  output: "name %proc.name"
  priority: WARNING
- rule: by user
  desc: d
  condition: evt.type = execve and user.uid > 5
  output: "%toupper(proc.cmdline)"
  priority: WARNING
"""

    @pytest.mark.parametrize(("fields", "rules"), [
        ({"fd.sip": "no address", "proc.name": "sh"}, ["by name"]), ({"fd.sip": 5, "proc.name": "sh"}, ["by name"]),
        ({"fd.sip": [], "proc.name": 5, "user.uid": 7}, ["by user"]),
        ({"proc.name": "x", "user.uid": 7, "proc.cmdline": [1]}, ["by user"])])
    def test_silence_one_rule_alone(self, fields: dict[str, Any], rules: list[str]) -> None:
        for match in ("first", "all"):
            judged = engine(self.RULES, match)
            event = RuntimeEvent("syscall", "execve", {"evt.type": "execve", **fields}, None, "x")
            assert [record.alert.rule for record in judged.records(event, "k")] == rules
            assert judged.counted.unjudged == {"x": 1}

    def test_an_error_that_nobody_thought_of_is_counted(self) -> None:
        class Odd(dict[str, Any]):
            def get(self, name: str, default: Any = None) -> Any:
                if name == "fd.sip":
                    raise LookupError(name)
                return super().get(name, default)

        judged = engine(self.RULES)
        odd = Odd({"evt.type": "execve", "proc.name": "sh"})
        assert [record.alert.rule for record in judged.records(RuntimeEvent("syscall", "execve", odd, 1, "x"), "k")] \
            == ["by name"]

    def test_a_time_of_no_calendar_is_told_to_syslog(self) -> None:
        line = alert(1)._replace(time=1 << 70)
        assert b">1 - " in Syslog("udp://127.0.0.1:9")._message(line)


def flooded(folding: Folding, number: int, container: str) -> int:
    return sum(folding.tell(Record(f"k{at}", Alert("shell", "Warning", "syscall", f"x {at}", {"proc.cmdline": f"{at}"}),
                                   Place(container_id=container)), 0.0) for at in range(number))


class TestFloods:
    def test_of_one_container_hide_nothing_of_another(self) -> None:
        folding = Folding(Counted(), alike=10, each_rule=100)
        assert flooded(folding, 50_000, "evil") == 100
        assert flooded(folding, 20, "good") == 20
        (summary,) = folding.due(61.0)
        assert summary.place.container_id == "evil"
        assert "(49900 more of this rule there, not alike, within 60 s)" in summary.alert.output

    @pytest.mark.parametrize(("first", "second"), [
        ({"a": "x" * 5000, "b": "1"}, {"a": "x" * 5000, "b": "2"}), ({"a": "1\x1fb=2"}, {"a": "1", "b": "2"}),
        ({"a": "None"}, {"a": None}), ({"a": 1}, {"a": "1"})])
    def test_no_value_makes_two_alike(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        folding = Folding(Counted(), alike=1)
        for fields in (first, second):
            assert folding.tell(Record("k", Alert("r", "Warning", "syscall", "o", fields), Place()), 0.0)

    def test_what_is_kept_of_a_long_one_is_short(self) -> None:
        folding = Folding(Counted(), alike=1)
        for _ in range(2):
            fields = {"a": "x" * 10**6, "b": ["y" * 10**6]}
            folding.tell(Record("k", Alert("r", "Warning", "syscall", "o" * 10**6, fields), Place()), 0.0)
        assert len(folding.state()) < 10_000

    def test_events_that_come_again_since_an_output_failed_are_counted_once(self) -> None:
        output = Output_("a")
        judged = engine(TestOddValues.RULES)
        folding = Folding(judged.counted, alike=2)
        watch = EventWatch(judged, folding, Losses(judged.counted), Delivery([output], Notes()))
        lines = [b'{"evt.type":"execve","proc.name":"sh","evt.rawtime":%d}' % at for at in range(3)]

        async def main() -> None:
            output.failing = True
            for _ in range(5):
                with pytest.raises(NetworkError):
                    await watch.tell(watch.take(Recording("x"), lines, "x", "body"))
            output.failing = False
            await watch.tell(watch.take(Recording("x"), lines, "x", "body"))

        asyncio.run(main())
        assert len(output.lines) == 2, "those that were to be told are told"
        assert [record.alert.output_fields["custody.folded"] for record in folding.due(1e12)] == [1]


def test_a_response_is_not_had_by_asking_for_what_is_refused() -> None:
    def place(**fields: str) -> Place:
        target = {"ka.target.resource": "pods", "ka.target.name": "web", "ka.target.namespace": "shop"}
        return Place.of({**target, **fields})

    assert place(**{"ka.auth.decision": "forbid"}).refused
    assert place(**{"ka.response.code": "403"}).refused
    assert not place(**{"ka.auth.decision": "allow", "ka.response.code": "101"}).refused


def test_a_refused_request_is_no_reason_for_a_response() -> None:
    rules = talon(b"- action: end\n  actionner: kubernetes:terminate\n- rule: r\n  match: {rules: [x]}\n"
                  b"  actions: [{action: end}]\n", "responses.yaml")
    cluster: Any = None  # nobody is asked
    responding = Responding(cluster, Responses(rules), system_clock)
    alert_ = Alert("x", "Warning", "k8s_audit", "o", {}, time=time.time_ns())
    (told,) = asyncio.run(responding(alert_, Place(namespace="shop", pod="web", refused=True)))
    assert (told.rule, told.output_fields["custody.response.reason"]) == (
        "Response not done", "the API server refused the request, so that nothing happened to the pod")


Begun = Callable[[Path], FollowedFile]


@pytest.fixture
def begun() -> Iterator[Begun]:
    with contextlib.ExitStack() as files:
        def made(path: Path) -> FollowedFile:
            followed = files.enter_context(contextlib.closing(FollowedFile(path)))
            followed.begin(None)
            return followed

        yield made


class TestFiles:
    def read(self, followed: FollowedFile | DocumentFolder) -> list[bytes]:
        lines: list[bytes] = []
        while (piece := followed.read(1 << 20)) is not None:
            lines += piece.lines
        return lines

    def test_a_log_beside_it_is_not_what_it_was(self, tmp_path: Path, begun: Begun) -> None:
        path = tmp_path / "audit.log"
        path.write_bytes(b"1\n")
        followed = begun(path)
        assert self.read(followed) == [b"1"]
        for name in ("audit-other.log", "audit-2.log", "audit.tar.gz"):
            (tmp_path / name).write_bytes(b"of another\n")
        path.rename(tmp_path / "audit.log.1")
        path.write_bytes(b"2\n")
        assert self.read_on(followed) == [b"2"]

    @pytest.mark.parametrize("name", ["audit.log.1", "audit.log-20261130", "audit-2026-11-30T10-03-57.700.log",
                                      "audit.1.log", "audit_20261130.log"])
    def test_what_rotation_makes_is(self, tmp_path: Path, begun: Begun, name: str) -> None:
        path = tmp_path / "audit.log"
        path.write_bytes(b"1\n")
        followed = begun(path)
        assert self.read(followed) == [b"1"]
        path.rename(tmp_path / "gone")
        (tmp_path / name).write_bytes(b"2\n")  # a file that came and went meanwhile
        path.write_bytes(b"3\n")
        os.utime(tmp_path / name, ns=(time.time_ns() + 10**9, time.time_ns() + 10**9))
        assert self.read_on(followed) == [b"2", b"3"]

    def test_a_pipe_in_its_place_loses_no_last_line(self, tmp_path: Path, begun: Begun) -> None:
        path = tmp_path / "audit.log"
        path.write_bytes(b"1\nlast")
        followed = begun(path)
        assert self.read(followed) == [b"1"]
        path.rename(tmp_path / "gone")
        os.mkfifo(path)
        with pytest.raises(StorageError):
            self.read_on(followed, 1)
        path.unlink()
        path.write_bytes(b"2\n")
        assert self.read_on(followed) == [b"last", b"2"]

    def read_on(self, followed: FollowedFile, number: int = 2) -> list[bytes]:
        """Past the time for which a rotated file is read on."""
        followed._rotated = time.monotonic() - 60
        lines: list[bytes] = []
        for _ in range(12):
            if (piece := followed.read(1 << 20)) is not None:
                lines += piece.lines
            followed._rotated = followed._rotated and time.monotonic() - 60
        return lines

    def test_a_document_that_cannot_be_read_now_holds_up_no_other_and_is_read_later(
            self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.json").write_bytes(b"first")
        (tmp_path / "b.json").write_bytes(b"second")
        content = DocumentFolder._content

        def refused(path: Path) -> bytes:
            if path.name == "a.json":
                raise PermissionError(13, "Permission denied")
            return content(path)

        folder = DocumentFolder(tmp_path, once=True)
        with monkeypatch.context() as changed:
            changed.setattr(DocumentFolder, "_content", staticmethod(refused))
            piece = folder.read(1)
            assert piece is not None
            assert piece.lines == (b"second",)
            with pytest.raises(StorageError, match=r"a\.json"):
                folder.read(1)
        assert self.read(folder) == [b"first"]


class TestRequests:
    def test_gzip_of_two_members_is_read_whole(self) -> None:
        assert _expanded(gzip.compress(b"a\n") + gzip.compress(b"b\n"), "GZIP", 100) == b"a\nb\n"
        with pytest.raises(TooLargeError):
            _expanded(gzip.compress(b"a" * 60) * 2, "gzip", 100)
        with pytest.raises(MalformedError):
            _expanded(gzip.compress(b"a") + gzip.compress(b"b")[:-1], "gzip", 100)

    def test_a_token_that_is_gone_or_empty_admits_nobody_and_is_said_once(
            self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = tmp_path / "token"
        path.write_text("secret\n")
        token = _Token(path)
        assert token.admits("Bearer secret")
        path.unlink()
        assert not any(token.admits(text) for text in ("Bearer secret", "Bearer ", "Bearer", "") * 10)
        assert len(caplog.records) == 1
        path.write_text(" \n")
        assert not any(token.admits(text) for text in ("Bearer secret", "Bearer ", "Bearer", "") * 10)
        assert len(caplog.records) == 2
        path.write_text("other")
        assert token.admits("bearer other")


def test_a_socket_whose_sender_is_gone_is_expected_to_tell_more() -> None:
    judged = engine()
    now = [0.0]
    watch = EventWatch(judged, Folding(judged.counted), Losses(judged.counted), Delivery([Output_("a")], Notes()),
                       stalled_after=10, steady=lambda: now[0])

    async def main() -> None:
        stream = StreamInput(watch, Recording("x"), "x", lasting=True)
        reader = asyncio.StreamReader()
        reader.feed_eof()
        await stream.run(reader)
        now[0] = 11
        await watch.tick()

    asyncio.run(main())
    assert list(watch.stalled) == ["x"]


def test_json_on_standard_output_is_json_whatever_its_encoding(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii", errors="backslashreplace") as stream:
        AlertStream(stream).write([alert(1)._replace(json='{"a":"caf\u00e9"}'.encode())])
    assert json.loads((tmp_path / "out").read_bytes()) == {"a": "caf\u00e9"}


def test_a_record_that_is_none_hides_no_other_of_its_file() -> None:
    event = b'{"eventSource":"iam.amazonaws.com","eventName":"CreateUser"}'
    told = FORMATS["cloudtrail"].made("x", set())(b'{"Records":[%s,5,{"a":1},%s]}' % (event, event))
    assert [type(item) for item in told] == [RuntimeEvent, Unread, Unread, RuntimeEvent]


def test_two_watches_do_not_share_a_data_directory(tmp_path: Path) -> None:
    with _alone(tmp_path), pytest.raises(UsageError, match=f"process {os.getpid()}"), _alone(tmp_path):
        raise AssertionError
    with _alone(tmp_path):
        assert (tmp_path / "runtime.lock").exists()
