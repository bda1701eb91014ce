"""The file system that a build step sees: the host's /usr read-only, and otherwise the same on every machine.

One table for both isolations: the launcher mounts it, or bwrap does as its flags say.
"""

from __future__ import annotations

import os
from pathlib import Path

from custody.build.limits import Limits

UID = 65532
"""User and group of the step, inside; where the caller is root, outside too. distroless images call it nonroot."""
HOSTNAME = "build"

Mount = tuple[str, str] | tuple[str, str, str] | tuple[str, str, int, int]
"""(kind, target, …): read-only, writable or device with a source; symlink with where it leads; tmpfs with mode and
size in bytes; folder; proc; sealed (read-only from here on), masked (empty), closed (this one mount read-only)."""

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# Docker's default for both (moby daemon/pkg/oci, DefaultLinuxSpec), without /sys, which is not there at all.
_SEALED = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_MASKED = ("acpi", "asound", "interrupts", "kcore", "keys", "key-users", "latency_stats", "sched_debug", "scsi",
           "timer_list", "timer_stats")
_ETC = {
    "passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\nbuild:x:{UID}:{UID}:build:/tmp:/bin/sh\n"
              "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": f"root:x:0:\nbuild:x:{UID}:\nnogroup:x:65534:\n",
    "hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n",
    "hostname": f"{HOSTNAME}\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


def write_etc(folder: Path) -> None:
    """Fill `folder`, the step's /etc."""
    for name, text in _ETC.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    if Path("/etc/alternatives").is_dir():
        (folder / "alternatives").mkdir(mode=0o755)
    if Path("/etc/ld.so.cache").is_file():
        (folder / "ld.so.cache").touch(0o644)


def mounts(prefix: Path, etc: Path, source: Path, inputs: Path, output: Path, limits: Limits) -> list[Mount]:
    """In the order in which they are made. `prefix` is where Python is installed."""
    table: list[Mount] = [("read-only", "/usr", "/usr")]
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            table.append(("symlink", str(path), os.readlink(path)))
        elif path.is_dir():
            table.append(("read-only", str(path), str(path)))
    table.append(("read-only", "/etc", str(etc)))
    table += [("read-only", name, name) for name in ("/etc/alternatives", "/etc/ld.so.cache")
              if (etc / Path(name).name).exists()]
    if not prefix.is_relative_to("/usr"):
        table += [("folder", str(parent)) for parent in reversed(prefix.parents[:-1])]
        table.append(("read-only", str(prefix), str(prefix)))
    table += [("read-only", "/src", str(source)), ("read-only", "/inputs", str(inputs)),
              ("writable", "/out", str(output)), ("tmpfs", "/dev", 0o755, 64 * 1024)]
    table += [("device", f"/dev/{name}", f"/dev/{name}") for name in _DEVICES if Path("/dev", name).exists()]
    table += [("symlink", "/dev/fd", "/proc/self/fd"), ("symlink", "/dev/stdin", "/proc/self/fd/0"),
              ("symlink", "/dev/stdout", "/proc/self/fd/1"), ("symlink", "/dev/stderr", "/proc/self/fd/2"),
              ("tmpfs", "/dev/shm", 0o1777, limits.shared_size), ("closed", "/dev"),  # noqa: S108
              ("tmpfs", "/tmp", 0o1777, limits.tmp_size), ("proc", "/proc")]  # noqa: S108
    table += [("sealed", f"/proc/{name}") for name in _SEALED if Path("/proc", name).exists()]
    table += [("masked", f"/proc/{name}") for name in _MASKED if Path("/proc", name).exists()]
    return table
