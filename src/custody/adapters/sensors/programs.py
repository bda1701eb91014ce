"""The programs that run in the kernel: what they read, and in which order they write it (layout).

Of a system call the arguments are kept when it is entered and told when it returns, with its result. Texts are read
then: their pages are there by that time, which at the entry they need not be.
"""

from __future__ import annotations

from collections.abc import Sequence

from custody.adapters.sensors import layout
from custody.adapters.sensors.assembler import (
    DELETE,
    FP,
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    READ_KERNEL,
    READ_KERNEL_TEXT,
    READ_USER,
    READ_USER_TEXT,
    TASK,
    UPDATE,
)
from custody.adapters.sensors.btf import Btf
from custody.adapters.sensors.syscalls import KINDS, Call
from custody.adapters.sensors.writer import Maps, Writer
from custody.errors import MalformedError

STRUCTURES = ("task_struct", "mm_struct", "file", "dentry", "inode", "super_block", "signal_struct", "tty_struct",
              "tty_driver", "pid", "upid", "cred", "css_set", "cgroup_subsys_state", "cgroup", "kernfs_node",
              "files_struct", "fdtable", "socket", "sock", "sock_common", "cgroup_subsys_id", "ovl_inode")
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
OVERLAY = 0x794C7630  # OVERLAYFS_SUPER_MAGIC
PENDING = 56  # kind and six arguments

QUIET = ("/lib/", "/lib32/", "/lib64/", "/usr/lib", "/usr/share/", "/etc/ld.so.cache", "/usr/local/lib/")
"""Below these, reads are not told (unless the path has `..` in it, or sshd opens it): they are the libraries and texts
that every program opens, and no stock rule asks about them. Eight bytes of each are compared."""


def entry(call: Call, maps: Maps, own: int, arguments: int) -> bytes:
    """Keep the arguments of a call, as many as it has, until it returns."""
    made = Writer(maps, own, None)
    made.skip_own()
    made.store_number(8, FP, -72, layout.FIRST_CALL + KINDS.index(call.name))
    for number in range(6):
        if number < arguments:  # a program that reads more than its tracepoint has is not attached
            made.load(8, R1, R6, 16 + 8 * number)
            made.store(8, FP, -64 + 8 * number, R1)
        else:
            made.store_number(8, FP, -64 + 8 * number, 0)
    if call.flags == -1:  # struct open_how begins with its flags; they take the place of its address
        made.load(8, R3, FP, -64 + 16)
        made.read(READ_USER, FP, -8, 8)
        made.jump_if(R0, "!=", 0, "end")
        made.load(8, R1, FP, -8)
        made.store(8, FP, -64 + 16, R1)
    if call.addressed and call.address is not None and call.address < 100:
        made.load(8, R1, FP, -64 + 8 * call.address)
        made.jump_if(R1, "==", 0, "end")
    made.store(8, FP, -80, R7)
    made.map(R1, maps.pending)
    made.address(R2, FP, -80)
    made.address(R3, FP, -72)
    made.op("=", R4, 0)
    made.call(UPDATE)
    made.jump_if(R0, "==", 0, "end")
    made.count(layout.LOST_PENDING)
    return made.finish()


def result(call: Call, maps: Maps, own: int, btf: Btf | None, *, quiet: Sequence[str]) -> bytes:
    """Tell a call that returned. `quiet`: prefixes below which reads, and reads that failed, are not told."""
    made = Writer(maps, own, btf)
    made.skip_own()
    made.store(8, FP, -24, R7)
    made.look_up(maps.pending, -24)
    made.jump_if(R0, "==", 0, "end")
    made.move(R8, R0)
    made.load(8, R1, R6, 16)
    made.store(8, FP, -32, R1)  # the result
    made.record(layout.FIRST_CALL + KINDS.index(call.name))
    made.load(8, R1, FP, -32)
    made.store(8, R9, layout.RESULT, R1)
    for number in range(6):
        made.load(8, R1, R8, 8 + 8 * number)
        made.store(8, R9, layout.ARGUMENTS + 8 * number, R1)
    made.store_number(8, R9, layout.LENGTHS, 0)
    made.map(R1, maps.pending)
    made.address(R2, FP, -24)
    made.call(DELETE)
    if call.socket:
        _socket(made, call)
        if call.name.startswith("dup"):  # of other files nobody asks, and shells do so all the time
            made.load(2, R1, R9, layout.FAMILY)
            made.jump_if(R1, "==", 0, "end")
        made.op("=", R6, layout.SOCKET_END)
    else:
        made.op("=", R6, layout.TEXTS)
        for number, place in enumerate(call.texts):
            made.load(8, R3, R9, layout.ARGUMENTS + 8 * place)
            made.append(READ_USER_TEXT, layout.PATH, layout.LENGTHS + 4 * number)
        if call.flags is not None and quiet:
            _quieted(made, 2 if call.flags == -1 else call.flags, quiet)
    made.output(urgent=not call.texts)
    return made.finish()


def _quieted(made: Writer, flags: int, quiet: Sequence[str]) -> None:
    """Reads that nobody asks about end here."""
    loop, plain = made.name(), made.name()
    made.load(8, R1, R9, layout.ARGUMENTS + 8 * flags)
    made.jump_if(R1, "&", _WRITING, "tell")
    made.load(4, R1, R9, layout.COMMAND)
    made.jump_if(R1, "==", int.from_bytes(b"sshd", "little"), "tell")
    made.op("=", R1, 0)
    made.address(R2, R9, layout.TEXTS)
    made.label(loop)  # `..` anywhere in the first 256 bytes?
    made.load(1, R3, R2, 0)
    made.jump_if(R3, "==", 0, plain)
    made.load(1, R4, R2, 1)
    made.op("<<", R3, 8)
    made.op_register("|", R3, R4)
    made.jump_if(R3, "==", 0x2E2E, "tell")
    made.op("+", R2, 1)
    made.op("+", R1, 1)
    made.jump_if(R1, "<", 256, loop)
    made.jump("tell")
    made.label(plain)
    made.load(8, R1, R9, layout.RESULT)
    made.jump_if(R1, "s<", 0, "end")
    made.load(8, R1, R9, layout.TEXTS)
    for prefix in quiet:
        start = prefix.encode()[:8]
        made.move(R2, R1)
        if len(start) < 8:
            made.number(R3, (1 << 8 * len(start)) - 1)
            made.op_register("&", R2, R3)
        made.number(R3, int.from_bytes(start, "little"))
        made.jump_if_registers(R2, "==", R3, "end")
    made.label("tell")


def _socket(made: Writer, call: Call) -> None:
    """The socket of a descriptor, by way of the task's files; then the address that the call was given."""
    for at in range(0, layout.PEER.size, 8):
        made.store_number(8, R9, layout.SOCKET + at, 0)
    failed = made.name()
    if made.btf:
        made.load(8, R8, R9, layout.RESULT if call.socket == "result" else layout.ARGUMENTS)
        made.op("<<", R8, 32)  # a descriptor is an int
        made.op(">>", R8, 32)
        made.call(TASK)
        made.move(R3, R0)
        made.follow(made.offsets("task_struct:files", "files_struct:fdt", "fdtable:max_fds"), failed)
        made.read(READ_KERNEL, FP, -8, 4)
        made.jump_if(R0, "!=", 0, failed)
        made.load(4, R1, FP, -8)
        made.jump_if_registers(R8, ">=", R1, failed)
        made.call(TASK)
        made.move(R3, R0)
        made.follow((*made.offsets("task_struct:files", "files_struct:fdt", "fdtable:fd"), 0), failed)
        made.op("<<", R8, 3)
        made.op_register("+", R3, R8)
        made.follow((0, 0), failed)
        made.store(8, FP, -40, R3)  # struct file
        made.follow(made.offsets("file:f_inode", "inode:i_mode"), failed)
        made.read(READ_KERNEL, FP, -8, 2)
        made.jump_if(R0, "!=", 0, failed)
        made.load(2, R1, FP, -8)
        made.op("&", R1, 0o170000)
        made.jump_if(R1, "!=", 0o140000, failed)  # no socket
        made.load(8, R3, FP, -40)
        made.follow((*made.offsets("file:private_data", "socket:sk"), 0), failed)
        made.move(R8, R3)
        for step, size, place in (
                ("sock_common:skc_family", 2, layout.FAMILY), ("sock_common:skc_num", 2, layout.LOCAL_PORT),
                ("sock_common:skc_dport", 2, layout.REMOTE_PORT), ("sock:sk_type", 2, layout.TYPE),
                ("sock:sk_protocol", 2, layout.PROTOCOL), ("sock_common:skc_state", 1, layout.STATE),
                ("sock_common:skc_daddr", 4, layout.REMOTE4), ("sock_common:skc_rcv_saddr", 4, layout.LOCAL4),
                ("sock_common:skc_v6_daddr", 16, layout.REMOTE6),
                ("sock_common:skc_v6_rcv_saddr", 16, layout.LOCAL6)):
            made.move(R3, R8)
            made.op("+", R3, made.offsets(step)[0])
            made.read(READ_KERNEL, R9, place, size)
    made.label(failed)
    if call.address is None:
        return
    none = made.name()
    if call.address >= 100:
        made.load(8, R3, R9, layout.ARGUMENTS + 8 * (call.address - 100))
        made.read(READ_USER, FP, -8, 8)  # msghdr.msg_name
        made.jump_if(R0, "!=", 0, "end" if call.addressed else none)
        made.load(8, R3, FP, -8)
    else:
        made.load(8, R3, R9, layout.ARGUMENTS + 8 * call.address)
    made.jump_if(R3, "==", 0, "end" if call.addressed else none)
    made.read(READ_USER, R9, layout.GIVEN, 28)
    made.jump_if(R0, "==", 0, none)
    # Less than 28 bytes may lie before a page that is not there: of IPv4 there are 16.
    made.load(8, R3, R9, layout.ARGUMENTS + 8 * (call.address % 100))
    made.read(READ_USER, R9, layout.GIVEN, 16)
    made.label(none)


def executed(maps: Maps, btf: Btf | None, filename: int, *, environment: bool) -> bytes:
    """A program was started (sched_process_exec). `filename`: where its record says where the name stands."""
    made = Writer(maps, 0, btf)
    made.record(layout.EXECUTE)
    for place in range(layout.BODY, layout.EXECUTED_TEXTS, 8):
        made.store_number(8, R9, place, 0)
    made.load(4, R1, R6, filename)
    made.op("&", R1, 0xFFFF)  # __data_loc: the offset in the lower half
    made.move(R3, R6)
    made.op_register("+", R3, R1)
    made.op("=", R6, layout.EXECUTED_TEXTS)
    made.append(READ_KERNEL_TEXT, layout.PATH, layout.PATH_LENGTH)
    if btf:
        _executed_by(made)
        _range(made, "arg_start", "arg_end", layout.ARGUMENTS_LENGTH)
        if environment:
            _range(made, "env_start", "env_end", layout.ENVIRONMENT_LENGTH)
        failed = made.name()
        made.call(TASK)
        made.move(R3, R0)
        made.follow((*made.offsets("task_struct:mm", "mm_struct:exe_file", "file:f_path.dentry",
                                   "dentry:d_name.name"), 0), failed)
        made.append(READ_KERNEL_TEXT, layout.LEAF, layout.LEAF_LENGTH)
        made.label(failed)
    made.output(urgent=True)
    return made.finish()


def _executed_by(made: Writer) -> None:
    exe = ("task_struct:mm", "mm_struct:exe_file", "file:f_inode")
    tty = ("task_struct:signal", "signal_struct:tty")
    made.task("task_struct:real_parent", "task_struct:tgid", size=4, place=layout.PARENT)
    made.task("task_struct:loginuid.val", size=4, place=layout.LOGIN)
    made.task("task_struct:start_boottime", size=8, place=layout.STARTED)
    made.task(*exe, "inode:i_ino", size=8, place=layout.INODE)
    made.task(*exe, "inode:i_nlink", size=4, place=layout.LINKS)
    made.task(*exe, "inode:i_sb", "super_block:s_magic", size=8, place=layout.MAGIC)
    made.task(*exe, "inode:i_sb", "super_block:s_dev", size=4, place=layout.DEVICE)
    made.task(*tty, "tty_struct:index", size=4, place=layout.TTY)
    made.task(*tty, "tty_struct:driver", "tty_driver:major", size=4, place=layout.TTY_MAJOR)
    made.task(*tty, "tty_struct:driver", "tty_driver:minor_start", size=4, place=layout.TTY_MINOR)
    _upper(made, exe)
    _number(made, ("task_struct:thread_pid",), layout.VPID, own=True)
    _number(made, ("task_struct:signal", "signal_struct:pids+16"), layout.VPGID, own=True)  # PIDTYPE_PGID
    _number(made, ("task_struct:signal", "signal_struct:pids+24"), layout.SID, own=False)  # PIDTYPE_SID


def _upper(made: Writer, exe: tuple[str, ...]) -> None:
    """On an overlay: 1 where the file is in the lower layer, 2 in the upper one, as the inode of overlayfs says."""
    assert made.btf is not None
    try:
        back = made.offsets("ovl_inode:__upperdentry")[0] - made.offsets("ovl_inode:vfs_inode")[0]
    except MalformedError:  # a kernel whose overlay is a module
        return
    failed = made.name()
    made.load(8, R1, R9, layout.MAGIC)
    made.jump_if(R1, "!=", OVERLAY, failed)
    made.call(TASK)
    made.move(R3, R0)
    made.follow((*made.offsets(*exe), back), failed)
    made.read(READ_KERNEL, FP, -8, 8)
    made.jump_if(R0, "!=", 0, failed)
    made.load(8, R1, FP, -8)
    made.store_number(4, R9, layout.UPPER, 1)
    made.jump_if(R1, "==", 0, failed)
    made.store_number(4, R9, layout.UPPER, 2)
    made.label(failed)


def _number(made: Writer, steps: tuple[str, ...], place: int, *, own: bool) -> None:
    """A struct pid's number: in its own namespace, or in the first."""
    assert made.btf is not None
    failed = made.name()
    made.call(TASK)
    made.move(R3, R0)
    made.follow((*made.offsets(*steps), 0), failed)
    made.move(R8, R3)
    made.op("=", R1, 0)
    if own:
        made.op("+", R3, made.offsets("pid:level")[0])
        made.read(READ_KERNEL, FP, -8, 4)
        made.jump_if(R0, "!=", 0, failed)
        made.load(4, R1, FP, -8)
        made.op("*", R1, made.btf.size("upid"))
    made.move(R3, R8)
    made.op_register("+", R3, R1)
    made.op("+", R3, made.offsets("pid:numbers")[0] + made.offsets("upid:nr")[0])
    made.read(READ_KERNEL, R9, place, 4)
    made.label(failed)


def _range(made: Writer, start: str, end: str, length: int) -> None:
    """The bytes between two addresses that the new program's memory map names, PATH at most, appended."""
    failed, short = made.name(), made.name()
    for member, place in ((end, -40), (start, -48)):
        made.call(TASK)
        made.move(R3, R0)
        made.follow(made.offsets("task_struct:mm", f"mm_struct:{member}"), failed)
        made.read(READ_KERNEL, FP, -8, 8)
        made.jump_if(R0, "!=", 0, failed)
        made.load(8, R1, FP, -8)
        made.store(8, FP, place, R1)
    made.load(8, R2, FP, -40)
    made.load(8, R3, FP, -48)
    made.op("=", R5, 0)
    made.op_register("-", R2, R3)
    made.jump_if(R2, "<=", layout.PATH, short)
    made.op("=", R2, layout.PATH)
    made.label(short)
    made.jump_if(R2, "==", 0, failed)
    made.store(8, FP, -56, R2)
    made.move(R1, R9)
    made.op_register("+", R1, R6)
    made.call(READ_USER)
    made.jump_if(R0, "!=", 0, failed)
    made.load(8, R2, FP, -56)
    made.store(4, R9, length, R2)
    made.op_register("+", R6, R2)
    made.label(failed)


def forked(maps: Maps, btf: Btf | None, child: int) -> bytes:
    """A process or a thread was made (sched_process_fork). `child`: where its number stands."""
    made = Writer(maps, 0, btf)
    made.load(4, R8, R6, child)
    made.record(layout.FORK)
    made.store(4, R9, layout.CHILD, R8)
    made.op("=", R6, layout.FORKED_END)
    made.output(urgent=False)
    return made.finish()


def ended(maps: Maps) -> bytes:
    """A process or a thread ended (sched_process_exit); nothing of it is pending any more."""
    made = Writer(maps, 0, None)
    made.store(8, FP, -24, R7)
    made.map(R1, maps.pending)
    made.address(R2, FP, -24)
    made.call(DELETE)
    made.record(layout.EXIT)
    made.op("=", R6, layout.BODY)
    made.output(urgent=False)
    return made.finish()
