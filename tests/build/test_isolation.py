"""The isolations as a whole: what they keep from a step when the kernel would give it, and when they say no."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from custody.build import sandbox
from custody.build.rootfs import UID, mounts
from custody.build.seccomp import compile_filter, system_calls
from custody.build.syscalls import AARCH64, ALLOWED, X86_64
from custody.errors import CustodyError, UnsupportedError
from custody.registry.image import open_layout
from tests.build.test_build import folder, isolations, run
from tests.build.users import USERS, run_as_user
from tests.source.repositories import GitFolder

__all__ = ["folder"]


def packed(layout: Path, name: str) -> str:
    image = open_layout(layout)
    with image.open_blob(image.manifest.layers[0]) as stream, tarfile.open(fileobj=stream, mode="r:gz") as tar:
        member = tar.extractfile(name)
        assert member is not None
        return member.read().decode()


@pytest.fixture(params=["bubblewrap", "namespaces"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param not in isolations():
        pytest.skip(f"{request.param} does not work here")
    return str(request.param)


SYSCTLS = """
import errno, json, os, pathlib
out = pathlib.Path(os.environ["CUSTODY_OUTPUT"]) / "1"
out.mkdir()
report = []
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory"):
    try:
        os.close(os.open(path, os.O_WRONLY))
        report.append("open")
    except OSError as error:
        report.append(errno.errorcode[error.errno])
mounts = dict(line.split()[1:4:2] for line in open("/proc/mounts"))
(out / "report").write_text(json.dumps([report, os.getuid(), open("/proc/self/uid_map").read().split(),
                                        mounts["/proc/sys"].split(",")[0]]))
"""


def test_build_step_writes_host_sysctls(folder: GitFolder, kind: str) -> None:
    """Read-only, and refused before that, since the step is not the kernel's root, whoever builds."""
    built = run(folder, SYSCTLS, isolation=kind)
    report, uid, mapped, mode = json.loads(packed(built.layout, "report"))
    assert set(report) <= {"EACCES", "EROFS", "ENOENT"}
    assert uid == UID
    assert mapped == [str(UID), str(UID), "1"] or os.geteuid() != 0
    assert mode == "ro"


THIEF = """
import ctypes, os, pathlib
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(200)
key = libc.syscall(REQUEST, b"user", b"custody-test-login", None, 0)
first = ctypes.get_errno()
size = libc.syscall(KEYCTL, 11, key if key > 0 else -3, buffer, 200)
out = pathlib.Path(os.environ["CUSTODY_OUTPUT"]) / "1"
out.mkdir()
(out / "stolen").write_text(f"{key} {first} {size} {ctypes.get_errno()} {buffer.raw[:max(size, 0)]!r}")
"""
SESSION = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(KEYCTL, 1, None) < 0:
    sys.exit(77)
secret = b"secret-of-the-session"
if libc.syscall(ADD, b"user", b"custody-test-login", secret, len(secret), -3) < 0:
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-m", "custody.cli.main", *sys.argv[1:]])
"""


def test_build_step_reads_session_keyring(folder: GitFolder, kind: str) -> None:
    numbers = system_calls(platform.machine())
    thief, session = (text.replace("REQUEST", str(numbers["request_key"])).replace("KEYCTL", str(numbers["keyctl"]))
                      .replace("ADD", str(numbers["add_key"])) for text in (THIEF, SESSION))
    folder.commit("ann", "steal", files={
        "build.py": thief, "custody-build.toml": '[build]\ncommand = ["python3", "build.py"]\n'})
    done = subprocess.run([sys.executable, "-c", session, "build", str(folder.path), "--repository", "https://x/y",
                           "-o", "oci:image", "--isolation", kind], cwd=folder.keys, capture_output=True, text=True,
                          check=False)
    if done.returncode == 77:
        pytest.skip("this kernel has no session keyrings")
    assert done.returncode == 0, done.stderr
    assert packed(folder.keys / "image", "stolen") == f"-1 {errno.EPERM} -1 {errno.EPERM} b''"


@pytest.mark.parametrize("user", USERS)
def test_nonroot_namespaces(folder: GitFolder, user: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without bubblewrap, for an ordinary user too, on mounts whose flags such a user may not take off."""
    if "namespaces" not in isolations():
        pytest.skip("namespaces does not work here")
    place = tmp_path_factory.mktemp("user")
    for parent in (place, *place.parents[:2]):
        os.chmod(parent, 0o755)
    host = {"canary": "/nowhere", "port": 1, "abstract": "x", "pid": os.getpid(), "marker": "attempts-nonroot.py"}
    if user == "root":
        from tests.build.escaping import escape
        report = escape("namespaces", place, host)
    else:
        report = json.loads(run_as_user("tests.build.escaping", "namespaces", str(place), json.dumps(host),
                                        folder=place, user=user))
    assert (report["exit_code"], report["log"]) == (0, "")
    assert report["attempts"]["create /usr/escaped"] == "EROFS"


def test_why_neither_isolation_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The probe runs a step as builds do: what fails there is the reason, and a hint follows where there is one."""
    def refuse(*_: object, **__: object) -> sandbox.StepResult:
        raise CustodyError("build isolation namespaces: unshare: Operation not permitted")

    monkeypatch.setattr(sandbox, "run_step", refuse)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match=r"bwrap is not installed; namespaces: unshare: Operation not") as raised:
        sandbox.choose_isolation()
    assert raised.value.hint


def test_the_launcher_says_what_it_could_not_do(folder: GitFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in isolations():
        monkeypatch.setattr(sandbox.rootfs, "mounts",
                            lambda *places: [*mounts(*places), ("read-only", "/x", "/nowhere/at/all")])
        with pytest.raises(CustodyError, match=rf"build isolation {kind}: .*(No such file|Can't find source).*"):
            run(folder, isolation=kind, name=kind)


def interpret(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What a filter returns: classic BPF over struct seccomp_data (linux/seccomp.h)."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    place = accumulator = 0
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, place * 8)
        place += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
            continue
        holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value,
                 0x45: bool(accumulator & value)}[code]
        place += yes if holds else no


ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x50001, 0x50026


@pytest.mark.parametrize(("machine", "architecture", "numbers"), [
    ("x86_64", 0xC000003E, X86_64), ("aarch64", 0xC00000B7, AARCH64)])
def test_the_filter_says_of_each_call_what_the_table_says(machine: str, architecture: int,
                                                          numbers: dict[str, int]) -> None:
    program = compile_filter(machine)
    by_argument = {"clone", "socket", "personality", "ioctl"}
    absent = {"clone3", "memfd_create", "memfd_secret"}
    for name, number in numbers.items():
        if name not in by_argument:
            assert interpret(program, architecture, number) == (
                ENOSYS if name in absent else ALLOW if name in ALLOWED else EPERM), name
    known = set(numbers.values())
    assert {interpret(program, architecture, number) for number in range(max(known)) if number not in known} == {EPERM}
    assert interpret(program, architecture, max(known) + 1) == ENOSYS
    assert interpret(program, 0x40000003, numbers["read"]) == EPERM  # AUDIT_ARCH_I386
    assert interpret(program, architecture, numbers["clone3"]) == ENOSYS
    assert interpret(program, architecture, numbers["clone"], 0x11) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert interpret(program, architecture, numbers["clone"], 0x11 | flag) == EPERM
    assert [interpret(program, architecture, numbers["socket"], family) for family in (1, 2, 16, 38, 40)] == [
        ALLOW, ALLOW, ALLOW, EPERM, EPERM]
    assert [interpret(program, architecture, numbers["personality"], value) for value in (0, 8, 0xFFFFFFFF, 0x400000)
            ] == [ALLOW, ALLOW, ALLOW, EPERM]
    assert [interpret(program, architecture, numbers["ioctl"], 0, value) for value in (0x5401, 0x5412, 0x541C)] == [
        ALLOW, EPERM, EPERM]


def test_x32_is_refused_whole() -> None:
    assert interpret(compile_filter("x86_64"), 0xC000003E, 0x40000000 | X86_64["read"]) == ENOSYS


def test_a_machine_without_a_table() -> None:
    with pytest.raises(UnsupportedError, match="no table of system calls for riscv64"):
        compile_filter("riscv64")


def test_the_numbers_are_this_kernels() -> None:
    """Of one call of each kind, against the C library's own."""
    libc = ctypes.CDLL(None)
    numbers = system_calls(platform.machine())
    assert libc.syscall(numbers["getpid"]) == os.getpid()
    assert libc.syscall(numbers["getuid"]) == os.getuid()


def test_provenance_says_what_the_step_was_kept_in(folder: GitFolder, kind: str) -> None:
    parameters = run(folder, isolation=kind).provenance.to_json()["buildDefinition"]["internalParameters"]
    assert parameters["limits"]["memory"] == 2 << 30
    assert parameters["uid"] == UID
    assert parameters["seccomp"].startswith("sha256:")
    assert "seccomp" not in run(folder, name="none").provenance.to_json()["buildDefinition"]["internalParameters"]
