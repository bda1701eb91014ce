"""The system calls that are told as events: their arguments by Falco's names, and what of them is read in the kernel.

Names and order of arguments: the events of libs' driver/event_table.c; where they stand: the calls' own signatures
(syscalls(2)).
"""

from __future__ import annotations

from typing import NamedTuple

AT_FDCWD = -100


class Call(NamedTuple):
    name: str
    """The kernel's; the event is called so too, but for `told`."""
    arguments: tuple[tuple[str, int, str], ...] = ()
    """Falco's name, the place (texts: the first or second that is read), how it is shown: a row of `names.SHOWN`."""
    texts: tuple[int, ...] = ()
    """Arguments that are addresses of texts, two at most."""
    folders: tuple[int | None, ...] = ()
    """For each text: the argument that is the folder's descriptor; None: the working directory."""
    flags: int | None = None
    """Of opens: the argument with the flags; -1 where a structure at the third argument begins with them."""
    socket: str = ""
    """`first` or `result`: which descriptor's socket is told."""
    address: int | None = None
    """The argument with a sockaddr; a msghdr that begins with its address: 100 + its place."""
    addressed: bool = False
    """Only with an address: the others are of connections, which connect and accept have told."""
    told: str = ""

    @property
    def event(self) -> str:
        return self.told or self.name


def _paths(name: str, *rows: tuple[str, int | None], more: tuple[tuple[str, int, str], ...] = (), told: str = "",
           texts: tuple[int, ...] = ()) -> Call:
    return Call(name, (*((called, at, "path") for at, (called, _) in enumerate(rows)), *more), texts,
                tuple(folder for _, folder in rows), told=told)


_OPEN = (("fd", -1, "fd"), ("name", 0, "path"))
_CALLS = (
    Call("open", (*_OPEN, ("flags", 1, "open"), ("mode", 2, "mode")), (0,), (None,), flags=1),
    Call("openat", (*_OPEN, ("dirfd", 0, "fd"), ("flags", 2, "open"), ("mode", 3, "mode")), (1,), (0,), flags=2),
    Call("openat2", (*_OPEN, ("dirfd", 0, "fd"), ("flags", 2, "open")), (1,), (0,), flags=-1),
    Call("creat", (*_OPEN, ("mode", 1, "mode")), (0,), (None,)),
    Call("connect", (("fd", 0, "fd"),), socket="first", address=1),
    Call("accept", (("fd", -1, "fd"),), socket="result"),
    Call("accept4", (("fd", -1, "fd"), ("flags", 3, "number")), socket="result"),
    Call("listen", (("fd", 0, "fd"), ("backlog", 1, "number")), socket="first"),
    Call("sendto", (("fd", 0, "fd"), ("size", 2, "number")), socket="first", address=4, addressed=True),
    Call("sendmsg", (("fd", 0, "fd"),), socket="first", address=101, addressed=True),
    Call("recvfrom", (("fd", 0, "fd"), ("size", -1, "number")), socket="first", address=4, addressed=True),
    Call("recvmsg", (("fd", 0, "fd"), ("size", -1, "number")), socket="first", address=101, addressed=True),
    Call("dup", (("res", -1, "result"), ("oldfd", 0, "fd")), socket="result"),
    Call("dup2", (("res", -1, "result"), ("oldfd", 0, "fd"), ("newfd", 1, "fd")), socket="result"),
    Call("dup3", (("res", -1, "result"), ("oldfd", 0, "fd"), ("newfd", 1, "fd"), ("flags", 2, "number")),
         socket="result"),
    Call("symlink", (("target", 0, "text"), ("linkpath", 1, "path")), (0, 1), (None, None)),
    Call("symlinkat", (("target", 0, "text"), ("linkpath", 1, "path"), ("linkdirfd", 1, "fd")), (0, 2), (None, 1)),
    _paths("link", ("oldpath", None), ("newpath", None), texts=(0, 1)),
    _paths("linkat", ("oldpath", 0), ("newpath", 2), texts=(1, 3),
           more=(("olddir", 0, "fd"), ("newdir", 2, "fd"), ("flags", 4, "number"))),
    _paths("unlink", ("path", None), texts=(0,)),
    _paths("unlinkat", ("name", 0), texts=(1,), more=(("dirfd", 0, "fd"), ("flags", 2, "removal"))),
    _paths("rmdir", ("path", None), texts=(0,)),
    _paths("rename", ("oldpath", None), ("newpath", None), texts=(0, 1)),
    _paths("renameat", ("oldpath", 0), ("newpath", 2), texts=(1, 3),
           more=(("olddirfd", 0, "fd"), ("newdirfd", 2, "fd"))),
    _paths("renameat2", ("oldpath", 0), ("newpath", 2), texts=(1, 3),
           more=(("olddirfd", 0, "fd"), ("newdirfd", 2, "fd"), ("flags", 4, "number"))),
    _paths("mkdir", ("path", None), texts=(0,), more=(("mode", 1, "number"),)),
    _paths("mkdirat", ("path", 0), texts=(1,), more=(("dirfd", 0, "fd"), ("mode", 2, "number"))),
    _paths("chmod", ("filename", None), texts=(0,), more=(("mode", 1, "mode"),)),
    Call("fchmod", (("fd", 0, "fd"), ("mode", 1, "mode"))),
    _paths("fchmodat", ("filename", 0), texts=(1,), more=(("dirfd", 0, "fd"), ("mode", 2, "mode"))),
    # What libraries call instead since Linux 6.6; rules know the older name.
    _paths("fchmodat2", ("filename", 0), texts=(1,), more=(("dirfd", 0, "fd"), ("mode", 2, "mode")), told="fchmodat"),
    _paths("chdir", ("path", None), texts=(0,)),
    Call("fchdir", (("fd", 0, "fd"),)),
    _paths("chroot", ("path", None), texts=(0,)),
    Call("mount", (("dev", 0, "text"), ("dir", 1, "path"), ("flags", 3, "number")), (0, 1), (None, None)),
    _paths("umount", ("name", None), texts=(0,), more=(("flags", 1, "number"),), told="umount2"),
    Call("ptrace", (("request", 0, "ptrace"), ("pid", 1, "number"))),
    Call("setuid", (("uid", 0, "user"),)),
    Call("socket", (("fd", -1, "fd"), ("domain", 0, "family"), ("type", 1, "number"), ("proto", 2, "number"))),
    Call("setns", (("fd", 0, "fd"), ("nstype", 1, "clone"))),
    Call("unshare", (("flags", 0, "clone"),)),
    Call("init_module", (("length", 1, "number"),)),
    Call("finit_module", (("fd", 0, "fd"), ("flags", 2, "number"))),
    Call("bpf", (("fd", -1, "fd"), ("cmd", 0, "bpf"))),
    Call("userfaultfd", (("flags", 0, "number"),)),
    Call("io_uring_setup", (("entries", 0, "number"),)),
    Call("memfd_create", (("name", 0, "text"), ("flags", 1, "number")), (0,), (None,)),
)
CALLS = {call.name: call for call in _CALLS}
KINDS = tuple(CALLS)
"""The kind of a record is FIRST_CALL and the place here."""
EVENTS = frozenset(call.event for call in _CALLS)
"""Falco's names of them."""
