"""Who wants an alert not to be told: of each way, exactly that, and the alert is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from custody.adapters.filesystem.alertfile import AlertFile
from custody.adapters.sqlite.notes import SqliteNotes
from custody.errors import MalformedError, NetworkError, StorageError
from custody.formats.telemetry import audit, lenient
from custody.formats.telemetry.audit import Audit
from custody.formats.telemetry.event import RuntimeEvent
from custody.ports.alerting import Place
from custody.services.alertdelivery import Delivery
from tests.runtime.test_delivery import Output_, alert, numbers


def pod(number: int, extra: bytes = b"{}") -> bytes:
    """An audit event of a pod on the host's network, with something in its object."""
    return (b'{"kind":"Event","auditID":"%d","stage":"ResponseComplete","verb":"create","objectRef":{"resource":"pods"},'
            b'"requestObject":{"spec":{"hostNetwork":true},"m":%s}}' % (number, extra))


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
    assert isinstance(first, RuntimeEvent) and isinstance(again, RuntimeEvent) and isinstance(second, RuntimeEvent)
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

            def note(self, marks: Mapping[str, str], places: Mapping[str, Place], keys: Sequence[str],
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
