"""A record of the ring buffer, as programs write it and the reader takes it: places in bytes, the machine's order."""

from __future__ import annotations

import struct

# --- every record: when, who, where ---------------------------------------------------------------------------------
TIME, THREAD, USER, CGROUP, CGROUP_V1, RESULT = 0, 8, 16, 24, 32, 40
KIND, FLAGS, COMMAND = 48, 52, 56
EFFECTIVE, PERMITTED = 72, 80
HEAD = struct.Struct("=QIIIIQQqII16sQQ")
"""time, tid, tgid, uid, gid, cgroup, cgroup (v1), result, kind, flags, comm, effective, permitted capabilities."""
BODY = 88
assert HEAD.size == BODY

RICH = 1
"""Of FLAGS: what BTF leads to was read."""

# --- a system call: its arguments, then one or two texts, or a socket ------------------------------------------------
ARGUMENTS, LENGTHS, TEXTS = 88, 136, 144
CALL = struct.Struct("=6QII")
SOCKET = 144
FAMILY, LOCAL_PORT, REMOTE_PORT, TYPE, PROTOCOL, STATE, REMOTE4, LOCAL4, REMOTE6, LOCAL6, GIVEN = (
    SOCKET + at for at in (0, 2, 4, 6, 8, 10, 12, 16, 20, 36, 52))
PEER = struct.Struct("=HH2sHHH4s4s16s16s28s")
"""family, local port, remote port as sent, type, protocol, state, IPv4 remote and local, IPv6 too, sockaddr given."""
SOCKET_END = SOCKET + PEER.size

# --- an executed program --------------------------------------------------------------------------------------------
PARENT, VPID, VPGID, SID, LOGIN, TTY, TTY_MAJOR, TTY_MINOR = range(88, 120, 4)
INODE, MAGIC, DEVICE, LINKS, STARTED = 120, 128, 136, 140, 144
PATH_LENGTH, ARGUMENTS_LENGTH, ENVIRONMENT_LENGTH, LEAF_LENGTH = 152, 156, 160, 164
UPPER = 168
EXECUTED = struct.Struct("=8iQQIIQIIIII4x")
EXECUTED_TEXTS = 176
assert BODY + EXECUTED.size == EXECUTED_TEXTS

# --- a new process: the thread's number -----------------------------------------------------------------------------
CHILD = 88
FORKED_END = 92

PATH = 4096
"""Bytes of a path, of all arguments, of the environment; what is longer is cut."""
LEAF = 256
SCRATCH = 16 * 1024
assert EXECUTED_TEXTS + 3 * PATH + LEAF <= SCRATCH

EXECUTE, FORK, EXIT = 1, 2, 3
FIRST_CALL = 16
"""The kind of the first system call of the table."""

LOST_RING, LOST_PENDING = 0, 1
