"""A process as a container runtime would have it: a control group with a runtime's name, an overlay as its root.

    python -m tests.runtime.attacks.box IDENTIFIER PROGRAM [ARGUMENT…]

It runs PROGRAM as process 1 of namespaces of its own. No runtime is asked: what sensors see of a container is what the
kernel has of it, and that is this.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HIERARCHIES = ("/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")


def hierarchy() -> Path:
    """One that can be written: cgroups v1, hybrid or v2."""
    return next(Path(place) for place in HIERARCHIES if os.access(f"{place}/cgroup.procs", os.W_OK))


def group(identifier: str) -> Path:
    return hierarchy() / "kubepods-custody.slice" / "kubepods-pod12345678_1234_1234_1234_123456789abc.slice" / (
        f"cri-containerd-{identifier}.scope")


def enter(identifier: str, argv: list[str]) -> None:
    place = group(identifier)
    place.mkdir(parents=True, exist_ok=True)
    (place / "cgroup.procs").write_text(str(os.getpid()))
    os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--propagation", "private", sys.executable, __file__,
                          "--inside", *argv])


def inside(argv: list[str]) -> None:
    base = "/mnt"
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", base], check=True)
    for name in ("upper", "work", "merged"):
        os.mkdir(f"{base}/{name}")
    merged = f"{base}/merged"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                    f"lowerdir=/,upperdir={base}/upper,workdir={base}/work", merged], check=True)
    for name in ("proc", "dev/shm", "root/.ssh", "dev/pts", "home/somebody/.ssh", "var/log", "tmp/attack"):
        os.makedirs(f"{merged}/{name}", exist_ok=True)
    subprocess.run(["mount", "-t", "proc", "proc", f"{merged}/proc"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", f"{merged}/dev/shm"], check=True)
    subprocess.run(["mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts",
                    f"{merged}/dev/pts"], check=True)
    if not os.path.lexists(f"{merged}/dev/ptmx"):
        os.symlink("pts/ptmx", f"{merged}/dev/ptmx")
    for device in ("null", "zero", "urandom", "tty"):
        if not os.path.exists(f"{merged}/dev/{device}"):
            number = os.stat(f"/dev/{device}").st_rdev
            os.mknod(f"{merged}/dev/{device}", 0o020666, number)
    os.chroot(merged)
    os.chdir("/tmp/attack")
    os.execvp(argv[0], argv)


def remove(identifier: str) -> None:
    place = group(identifier)
    for _ in range(3):
        try:
            place.rmdir()
            place = place.parent
        except OSError:
            return


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        inside(sys.argv[2:])
    else:
        enter(sys.argv[1], sys.argv[2:])
