"""What a hostile step gets, in each isolation, for root and for an ordinary user, and what its host sees of it."""

from __future__ import annotations

import functools
import json
import os
import platform
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.build import rootfs
from custody.build.sandbox import choose_isolation
from custody.errors import UnsupportedError
from tests.build import attempts
from tests.build.escaping import escape, processes
from tests.build.users import ISOLATIONS, USERS, run_as_user

SYSCTLS = ("kernel/core_pattern", "vm/overcommit_memory", "net/ipv4/ip_forward", "user/max_user_namespaces",
           "kernel/hostname", "fs/suid_dumpable", "kernel/domainname")
REFUSED = {"EPERM", "EACCES", "EROFS", "ENOENT"}
OTHER = {
    "connect to the host by TCP": "ECONNREFUSED", "connect to the host's abstract socket": "ECONNREFUSED",
    "send to another network": "ENETUNREACH", "kill a process of the host": "ESRCH", "kill process 1": "ignored",
    "clone3": "ENOSYS", "memfd_create": "ENOSYS", "memfd_secret": "ENOSYS",
    "a system call newer than the list": "ENOSYS", "a system call of x32": "ENOSYS",
    "become root": "EINVAL", "become root's group": "EINVAL", "give a file to root": "EINVAL",
    "a set-user-ID program of the host": str(rootfs.UID), "a hard link to a program of the host": "EXDEV",
    "processes in sight": 3, "descriptors left open": [[0, 1, 2], 3], "leave a process": "left",
    "powers": {"Uid": " ".join([str(rootfs.UID)] * 4), "Gid": " ".join([str(rootfs.UID)] * 4), "NoNewPrivs": "1",
               "Seccomp": "2", **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16)}}
NAMED = {"own environment", "working folder's parents"}
"""Attempts with a test of their own."""


@functools.cache
def report(kind: str, user: str) -> dict[str, Any]:
    """One run of all attempts, with what the host saw before, meanwhile and after."""
    try:
        choose_isolation(kind)
    except UnsupportedError as error:
        pytest.skip(f"{kind} does not work here: {error}")
    with tempfile.TemporaryDirectory(prefix="custody-escape-") as name, socket.create_server(("127.0.0.1", 0)) as tcp, \
            socket.socket(socket.AF_UNIX) as abstract:
        os.chmod(name, 0o755)
        folder = Path(name, "work")
        folder.mkdir()
        canary = Path(name, "canary")
        canary.write_text("of the host")
        canary.chmod(0o644)
        address = uuid.uuid4().hex
        abstract.bind("\0" + address)
        abstract.listen()
        tcp.setblocking(False)
        abstract.setblocking(False)
        host = {"canary": str(canary), "port": tcp.getsockname()[1], "abstract": address, "pid": os.getpid(),
                "marker": f"attempts-{uuid.uuid4().hex}.py"}
        before = sysctls()
        if user == "root" or (user == "ordinary" and os.geteuid() != 0):
            result = escape(kind, folder, host)
        else:
            result = json.loads(run_as_user("tests.build.escaping", kind, str(folder), json.dumps(host), folder=folder,
                                            user=user))
        result["changed"] = {key: value for key, value in sysctls().items() if value != before[key]}
        result["left later"] = processes(host["marker"])
        result["connections"] = sum(accepted(server) for server in (tcp, abstract))
        result["beside"] = sorted(os.listdir(name))
    return result


def sysctls() -> dict[str, str]:
    return {name: Path("/proc/sys", name).read_text() for name in SYSCTLS if Path("/proc/sys", name).exists()}


def accepted(server: socket.socket) -> int:
    try:
        server.accept()
    except BlockingIOError:
        return 0
    return 1


@pytest.fixture(params=[(kind, user) for kind in ISOLATIONS for user in USERS], ids="-".join)
def run(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    return report(*request.param)


@pytest.mark.parametrize("name", [name for name in attempts.ATTEMPTS if name not in NAMED])
def test_attempt(run: dict[str, Any], name: str) -> None:
    if name not in run["attempts"]:
        assert platform.machine() != "x86_64"
        pytest.skip(f"{name}: there is none on {platform.machine()}")
    got = run["attempts"][name]
    if name in OTHER:
        assert got == OTHER[name]
    else:
        assert got in REFUSED


def test_what_the_host_saw(run: dict[str, Any]) -> None:
    assert (run["exit_code"], run["log"]) == (0, "")
    assert run["changed"] == {}
    assert run["connections"] == 0
    assert run["left"] == run["left later"] == []
    assert run["folders"] == []
    assert run["beside"] == ["canary", "work"]


def test_nothing_of_the_host_in_the_environment(run: dict[str, Any]) -> None:
    environment = run["attempts"]["own environment"]
    assert environment.pop("PATH").endswith("/bin:/usr/local/bin:/usr/bin:/bin")
    assert environment == {
        "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC", "SOURCE_DATE_EPOCH": "0",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "CUSTODY_SOURCE": "/src", "CUSTODY_INPUTS": "/inputs",
        "CUSTODY_OUTPUT": "/out"}


def test_above_the_output_is_the_sandbox(run: dict[str, Any]) -> None:
    assert set(run["attempts"]["working folder's parents"]) <= {
        "bin", "sbin", "lib", "lib32", "lib64", "libx32", "dev", "etc", "inputs", "out", "proc", "src", "tmp", "usr",
        Path(os.path.realpath(os.sys.base_prefix)).parts[1]}  # type: ignore[attr-defined]
