"""The parts of the sensors that need no kernel: programs as bytes, BTF, containers' names, records, processes."""

from __future__ import annotations

import hashlib
import random
import struct
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.sensors import audit, layout, names, netlink, processes, procfs
from custody.adapters.sensors.assembler import R0, R1, Assembler
from custody.adapters.sensors.audit import Audit
from custody.adapters.sensors.btf import Btf
from custody.adapters.sensors.containers import HOST, container
from custody.adapters.sensors.digests import Digests
from custody.adapters.sensors.fields import SyscallFields
from custody.adapters.sensors.patience import MOST, Patience
from custody.adapters.sensors.peer import Peer
from custody.adapters.sensors.procconnector import ProcConnector
from custody.adapters.sensors.processes import Process, Processes, Program
from custody.adapters.sensors.syscalls import CALLS, EVENTS
from custody.errors import CustodyError, MalformedError
from custody.formats.telemetry.event import RuntimeEvent
from policylang.falco.values import events
from policylang.falco.values.fields import lookup

FULL = "0123456789abcdef" * 4


# --- instructions ---------------------------------------------------------------------------------------------------

def test_instructions_are_those_of_the_specification() -> None:
    made = Assembler()
    made.op("=", R0, -1)
    made.jump_if(R0, "==", 7, "end")
    made.number(R1, 0x1122334455667788)
    made.label("end")
    made.leave()
    assert made.code().hex() == ("b7000000ffffffff" "1500020007000000" "1801000088776655" "0000000044332211"
                                 "9500000000000000")


def test_a_label_stands_once() -> None:
    made = Assembler()
    made.label("end")
    with pytest.raises(AssertionError):
        made.label("end")


# --- BTF ------------------------------------------------------------------------------------------------------------

def _btf() -> bytes:
    """struct outer { int a; struct { int b; }; struct inner i; } and struct inner { int c; } of four bytes each."""
    texts = b"\0outer\0a\0b\0inner\0c\0i\0int\0"

    def at(name: str) -> int:
        return texts.index(b"\0" + name.encode() + b"\0") + 1

    types = struct.pack("<IIII", at("int"), 1 << 24, 4, 32)  # 1
    types += struct.pack("<III", at("inner"), 4 << 24 | 1, 4) + struct.pack("<III", at("c"), 1, 0)  # 2
    types += struct.pack("<III", 0, 4 << 24 | 1, 4) + struct.pack("<III", at("b"), 1, 0)  # 3
    types += struct.pack("<III", at("outer"), 4 << 24 | 3, 12) + struct.pack(
        "<9I", at("a"), 1, 0, 0, 3, 32, at("i"), 2, 64)  # 4
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(texts))
    return head + types + texts


def test_members_of_what_has_no_name_are_the_structures_own() -> None:
    btf = Btf(_btf(), ["outer", "inner"])
    assert [btf.offset("outer", path) for path in ("a", "b", "i", "i.c")] == [0, 4, 8, 8]
    assert btf.size("outer") == 12


@pytest.mark.parametrize(("structure", "path", "said"), [
    ("outer", "nothing", "outer.nothing: got .no nothing."), ("nowhere", "a", "nowhere")])
def test_a_member_that_this_kernel_lacks_is_named(structure: str, path: str, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        Btf(_btf(), ["outer"]).offset(structure, path)


def test_bytes_that_are_no_btf_are_refused() -> None:
    with pytest.raises(MalformedError, match="BTF"):
        Btf(b"\x7fELF" + bytes(40), [])


@given(st.binary(max_size=400), st.integers(0, 1 << 30))
def test_damaged_btf_raises_nothing_else(noise: bytes, seed: int) -> None:
    data = bytearray(_btf())
    chance = random.Random(seed)
    for byte in noise[:20]:
        data[chance.randrange(len(data))] = byte
    try:
        btf = Btf(bytes(data), ["outer", "inner"])
        btf.offset("outer", "i.c")
    except CustodyError:
        pass


# --- containers -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("line", "kind", "pod"), [
    (f"0::/system.slice/docker-{FULL}.scope", "docker", ""),
    (f"12:pids:/docker/{FULL}", "docker", ""),
    (f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11111111_2222_3333_4444_555555555555.slice/"
     f"cri-containerd-{FULL}.scope", "containerd", "11111111-2222-3333-4444-555555555555"),
    (f"4:memory:/kubepods/besteffort/pod11111111-2222-3333-4444-555555555555/{FULL}", "cri",
     "11111111-2222-3333-4444-555555555555"),
    (f"0::/kubepods.slice/kubepods-pod11111111_2222_3333_4444_555555555555.slice/crio-{FULL}.scope", "cri-o",
     "11111111-2222-3333-4444-555555555555"),
    (f"0::/machine.slice/libpod-{FULL}.scope/container", "podman", ""),
    (f"0::/docker/{'f' * 64}/docker/{FULL}", "docker", ""),  # a container in a container: the inner one
])
def test_runtimes_have_their_names_in_control_groups(line: str, kind: str, pod: str) -> None:
    where = container(line)
    assert (where.full, where.id, where.type, where.pod_uid) == (FULL, FULL[:12], kind, pod)


@pytest.mark.parametrize("line", [
    "0::/", "0::/user.slice/user-0.slice/session-1.scope", f"0::/crio-conmon-{FULL}.scope", "nonsense", "",
    f"0::/docker/{FULL[:-1]}", f"0::/docker/{FULL.upper()}"])
def test_what_is_no_container_is_the_hosts(line: str) -> None:
    assert container(line) == HOST
    assert HOST.id == "host"


@given(st.text(max_size=300))
def test_any_text_has_a_container_or_none(text: str) -> None:
    assert container(text).id


# --- the table of calls ---------------------------------------------------------------------------------------------

def test_all_events_are_falcos_and_arguments_have_places() -> None:
    assert EVENTS <= events.EVENTS
    for call in CALLS.values():
        assert len(call.texts) == len(call.folders) <= 2, call.name
        for argument, place, shown in call.arguments:
            assert shown in ("path", "text", "fd", "result", "user") or shown in names.SHOWN, (call.name, argument)
            assert place < (len(call.texts) if shown in ("path", "text") else 6), (call.name, argument)


def test_fields_are_falcos() -> None:
    from custody.adapters.sensors.tracing import Tracing

    for name in Tracing().fields:
        stem, _, argument = name.partition("[")
        known = lookup("syscall", stem, argument[:-1] if argument else None)
        assert known is not None or name.startswith("custody."), name


# --- how numbers are written ----------------------------------------------------------------------------------------

def test_numbers_are_written_as_falco_does() -> None:
    assert names.open_flags(0o1101) == "O_CREAT|O_TRUNC|O_WRONLY"
    assert names.mode(0o4755).split("|")[-1] == "S_ISUID"
    assert names.capabilities(1 << 21 | 1) == "CAP_CHOWN CAP_SYS_ADMIN"
    assert (names.outcome(3), names.outcome(-2), names.outcome(-9999)) == ("SUCCESS", "ENOENT", "-9999")
    assert names.SHOWN["ptrace"](16) == "PTRACE_ATTACH"


# --- sockets --------------------------------------------------------------------------------------------------------

def _peer(family: int, given: bytes = b"", **ends: bytes) -> Peer:
    return Peer((family, 40000, b"\x01\xbb", 1, 6, 1, ends.get("remote4", b"\x08\x08\x08\x08"), b"\x0a\0\0\x01",
                 ends.get("remote6", bytes(16)), bytes(16), given.ljust(28, b"\0")))


def _fields(name: str, peer: Peer | None = None, *texts: str, result: int = 0) -> SyscallFields:
    table = Processes()
    made = SyscallFields(name, Process(1 << 30, Program("cat"), None), table)
    made.process.ended = True
    made.call, made.peer, made.result, made.texts = CALLS[name], peer, result, tuple(texts)
    made.arguments = (0,) * 6
    return made


def test_the_server_is_who_was_called() -> None:
    out = _fields("connect", _peer(2))
    assert (out.get("fd.name"), out.get("fd.sip")) == ("10.0.0.1:40000->8.8.8.8:443", "8.8.8.8")
    assert out.get("fd.sport") == 443
    accepted = _fields("accept4", _peer(2), result=5)
    assert (accepted.get("fd.cip"), accepted.get("fd.sip"), accepted.get("fd.num")) == ("8.8.8.8", "10.0.0.1", 5)
    assert out.get("fd.l4proto") == "tcp"
    assert out.get("fd.typechar") == "4"


def test_the_address_that_was_given_counts_before_the_sockets() -> None:
    given = struct.pack("<H", 2) + b"\0\x35" + b"\xcb\x00\x71\x07"
    assert _fields("connect", _peer(2, given)).get("fd.sip") == "203.0.113.7"


def test_ipv4_through_a_socket_of_ipv6_is_ipv4() -> None:
    mapped = bytes(10) + b"\xff\xff\x08\x08\x04\x04"
    assert _fields("connect", _peer(10, remote6=mapped)).get("fd.sip") == "8.8.4.4"


def test_a_call_without_a_socket_has_no_ends() -> None:
    made = _fields("unlink", None, "/tmp/x")
    assert [made.get(name) for name in ("fd.sip", "fd.name", "fd.type", "evt.is_open_read")] == [None] * 4


# --- paths ----------------------------------------------------------------------------------------------------------

def test_paths_are_from_the_working_directory_and_without_dots() -> None:
    made = _fields("open", None, "../etc/./shadow", result=3)
    made.process.cwd = "/var"
    assert (made.get("fd.name"), made.get("fd.nameraw")) == ("/etc/shadow", "../etc/./shadow")
    assert (made.get("fd.directory"), made.get("fd.filename")) == ("/etc", "shadow")


def test_a_path_from_an_unknown_folder_stays_as_it_is() -> None:
    assert _fields("open", None, "shadow", result=3).get("fd.name") == "shadow"


def test_an_open_that_failed_has_no_descriptor() -> None:
    made = _fields("open", None, "/etc/shadow", result=-13)
    assert (made.get("fd.num"), made.get("evt.res"), made.get("evt.failed")) == (-1, "EACCES", True)


# --- processes ------------------------------------------------------------------------------------------------------

def test_lines_of_ancestors_do_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that forks and ends, again and again, under as many numbers."""
    monkeypatch.setattr(procfs, "stat", lambda pid: None)
    table = Processes()
    first = 1 << 22
    for pid in range(first, first + 5000):
        table.fork(pid, pid + 1)
        table.end(pid)
    assert len(table) < 10
    assert len(table.of(first + 5000).ancestors()) <= 3 * processes._DEEP


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "stat", lambda pid: None)
    table = Processes(most=100)
    for pid in range(1, 1000):
        table.of(pid)
    assert len(table) == 100


def _record(started: int, parent: int = 0, path: bytes = b"/bin/cat\0") -> bytes:
    head = layout.HEAD.pack(0, 7, 7, 0, 0, 1, 1, 0, layout.EXECUTE, layout.RICH, b"cat", 0, 0)
    return head + layout.EXECUTED.pack(parent, 7, 7, 7, -1, 0, 0, 0, 1, 2, 3, 1, started, len(path), 4, 0, 0, 0) + (
        path + b"cat\0")


def test_a_later_process_with_the_same_number_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "stat", lambda pid: None)
    table = Processes()
    before = table.execute(1 << 30, (1, 1), "cat", _record(10**12))
    again = table.execute(1 << 30, (1, 1), "cat", _record(10**12))
    later = table.execute(1 << 30, (1, 1), "cat", _record(2 * 10**12))
    assert again is before
    assert later is not before


def test_what_proc_says_of_a_later_process_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(1, Program("cat"), None)
    process.started = 10**15  # process 1 started long before that
    assert process.link("exe") is None
    assert process.lives() is False


def test_arguments_of_a_program_with_bytes_that_are_no_text() -> None:
    assert procfs.words(b"a\0\xff\xfe b\0\0") == ("a", "\udcff\udcfe b", "")
    assert procfs.words(b"") == ()


def test_a_command_with_brackets_and_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    line = b"7 (a) b (c) S 3 4 5 34816 7 0 0 0 0 0 0 0 0 0 20 0 1 0 999 0 0"
    monkeypatch.setattr(procfs, "read", lambda path, limit=0: line)
    assert procfs.stat(7) == procfs.Stat("a) b (c", 3, 34816, 5, 999)


# --- digests --------------------------------------------------------------------------------------------------------

def test_a_digest_is_read_again_when_the_file_changed(tmp_path: object) -> None:
    import os

    path = Path(str(tmp_path)) / "file"
    path.write_bytes(b"one")
    digests = Digests()
    with path.open("rb") as file:
        assert digests.of(file.fileno()) == hashlib.sha256(b"one").hexdigest()
        path.write_bytes(b"two!")
        assert digests.of(file.fileno()) == hashlib.sha256(b"two!").hexdigest()
    assert Digests(largest=3).of(os.open(path, os.O_RDONLY)) is None


def test_a_file_that_was_changed_just_now_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes of one tick of the kernel's clock have the same times."""
    from custody.adapters.sensors import digests as module

    path = tmp_path / "program"
    path.write_bytes(b"one")
    # Its owner sets the time of the contents as he likes.
    monkeypatch.setattr(module, "_key", lambda _descriptor: (1, 1, 0, moment, 3))
    with path.open("rb") as file:
        for age, again in ((0, b"two"), (3600, b"one")):
            moment = time.time_ns() - age * 10 ** 9
            known = Digests()
            path.write_bytes(b"one")
            assert known.of(file.fileno()) == hashlib.sha256(b"one").hexdigest()
            path.write_bytes(b"two")
            assert known.of(file.fileno()) == hashlib.sha256(again).hexdigest()


def test_a_reader_that_does_not_come_back_is_given_up() -> None:
    """As one hangs that reads a page whose owner does not hand it out."""
    import threading

    never = threading.Event()
    patience = Patience(seconds=0.01)
    assert patience.ask(lambda: 1) == 1
    assert [patience.ask(never.wait) for _ in range(MOST)] == [None] * MOST
    assert patience.ask(lambda: 1) is None  # and nobody is asked for ever
    assert (patience.hung, patience.unread) == (MOST, MOST + 1)
    never.set()
    for thread in patience._hung:
        thread.join(10)
    patience._seconds = 10
    assert patience.ask(lambda: 1) == 1  # they came back
    assert (patience.hung, patience.counted({"late": 1})) == (0, {"late": 1, "unread": MOST + 1})


def test_a_reader_that_fails_knows_nothing() -> None:
    patience = Patience(seconds=5)
    assert patience.ask(lambda: open("/nowhere")) is None  # noqa: SIM115
    assert patience.ask(lambda: 2) == 2
    patience.close()


def test_programs_of_filesystems_that_somebody_serves_are_not_read() -> None:
    import os

    made = _fields("unlink", None, "/tmp/x")
    made.process = Process(os.getpid(), Program("python"), None)
    made.process.program.magic = 0x65735546  # FUSE
    assert made.get("custody.exe.sha256") is None
    made.known.clear()
    made.process.program.magic = 0xEF53
    assert len(made.get("custody.exe.sha256")) == 64


# --- audit ----------------------------------------------------------------------------------------------------------

SYSCALL = ('audit(1700000000.123:45): arch=c000003e syscall=59 success=yes exit=0 a0=1 items=2 ppid=1 pid=4194000 '
           'auid=1000 uid=0 gid=0 tty=pts0 ses=1 comm="cat" exe="/usr/bin/cat" key="custody"')


def _audited(*records: tuple[int, str]) -> list[RuntimeEvent]:
    told: list[RuntimeEvent] = []
    sensor = Audit()
    for kind, text in records:
        sensor.record(kind, text, told.append)
    return told


def test_the_records_of_one_event_are_one_program() -> None:
    told = _audited((1300, SYSCALL), (1309, 'audit(1700000000.123:45): argc=3 a0="cat" a1=2F6120622F63 a2="x"'),
                    (1307, 'audit(1700000000.123:45): cwd="/root"'), (1320, "audit(1700000000.123:45): "))
    assert len(told) == 1
    fields = told[0].fields
    assert (fields.get("proc.cmdline"), fields.get("proc.exepath"), fields.get("user.loginuid"),
            fields.get("proc.cwd")) == ("cat /a b/c x", "/usr/bin/cat", 1000, "/root")
    assert told[0].at == 1_700_000_000_123_000_000


def test_a_program_that_did_not_start_is_no_event() -> None:
    failed = SYSCALL.replace("success=yes", "success=no")
    assert not _audited((1300, failed), (1309, 'audit(1700000000.123:45): a0="cat"'),
                        (1320, "audit(1700000000.123:45): "))


def test_long_arguments_come_in_parts() -> None:
    assert audit.arguments({"argc": "2", "a0": '"a"', "a1_len": "9", "a1[1]": '"cd"', "a1[0]": '"ab"'}) == ("a", "abcd")


def test_events_whose_records_do_not_come_are_given_up_and_counted() -> None:
    sensor = Audit()
    for serial in range(audit._OPEN + 10):
        sensor.record(1300, f"audit(1700000000.123:{serial}): pid=1", lambda event: None)
    assert sensor.losses() == {"incomplete": 10}


@given(st.sampled_from([1300, 1309, 1307, 1320]), st.text(max_size=200))
def test_no_record_breaks_the_reader(kind: int, text: str) -> None:
    sensor = Audit()
    sensor.record(1300, SYSCALL, lambda event: None)
    sensor.record(kind, f"audit(1700000000.123:45): {text}", lambda event: None)
    sensor.record(kind, text, lambda event: None)


def test_the_audit_rule_asks_for_both_calls() -> None:
    import platform

    if platform.machine() not in audit._MACHINES:
        pytest.skip(f"audit's numbers are not known on {platform.machine()}")
    _, numbers = audit._MACHINES[platform.machine()]
    mask = struct.unpack_from("=64I", audit._rule(), 12)
    assert [bit for bit in range(2048) if mask[bit // 32] >> bit % 32 & 1] == sorted(numbers)


# --- netlink --------------------------------------------------------------------------------------------------------

@given(st.binary(max_size=300))
def test_any_packet_is_read(data: bytes) -> None:
    sensor = ProcConnector()
    for _, body in netlink.messages(data):
        sensor._told(body, lambda event: None)


def test_packets_of_others_than_the_kernel_are_not_believed() -> None:
    packet = netlink.message(3, 0, b"\0" * 60)
    assert netlink.received(SimpleNamespace(recvfrom=lambda size: (packet, (4711, 0)))) == b""  # type: ignore[arg-type]
    assert netlink.received(SimpleNamespace(recvfrom=lambda size: (packet, (0, 1)))) == packet  # type: ignore[arg-type]
