"""bubblewrap's flags for a table of mounts: bwrap makes the namespaces and the root, the launcher does the rest."""

from __future__ import annotations

from custody.build.rootfs import HOSTNAME, UID, Mount

_MASKED_FOLDERS = frozenset({"/proc/acpi", "/proc/asound", "/proc/scsi"})
_OF_ROOT = ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN")
"""What the launcher needs until it has left root: to become another user, in a user namespace of its own."""


def bwrap_flags(mounts: list[Mount], *, root: bool) -> list[str]:
    """For bubblewrap 0.8 or later. `root` says that the caller is the kernel's root."""
    flags = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try",
             "--hostname", HOSTNAME, "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
    if root:
        flags += [text for capability in _OF_ROOT for text in ("--cap-add", capability)]
    else:
        flags += ["--unshare-user", "--uid", str(UID), "--gid", str(UID)]
    for mount in mounts:
        flags += _flags(mount)
    return [*flags, "--remount-ro", "/", "--chdir", "/"]


def _flags(mount: Mount) -> list[str]:
    match mount:
        case ("read-only", target, str(source)):
            return ["--ro-bind", source, target]
        case ("writable", target, str(source)):
            return ["--bind", source, target]
        case ("device", target, str(source)):
            return ["--dev-bind", source, target]
        case ("symlink", target, str(source)):
            return ["--symlink", source, target]
        case ("tmpfs", target, int(mode), int(size)):
            return ["--perms", f"{mode:04o}", "--size", str(size), "--tmpfs", target]
        case ("folder", target):
            return ["--perms", "0755", "--dir", target]
        case ("proc", target):
            return ["--proc", target]
        case ("sealed", target):  # of the host's /proc, whose sysctls are those of the namespace that asks
            return ["--ro-bind", target, target]
        case ("masked", target) if target in _MASKED_FOLDERS:
            return ["--tmpfs", target, "--remount-ro", target]
        case ("masked", target):
            return ["--ro-bind", "/dev/null", target]
        case ("closed", target):
            return ["--remount-ro", target]
    raise AssertionError(mount)
