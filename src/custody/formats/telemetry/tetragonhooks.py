"""Tetragon's hooks in terms of Falco's events: which system call one stands at, and what its arguments say.

Which arguments an event has is said by the tracing policy that asked for it, in the policy's order and mostly without
names. So texts are taken for the call's texts in their order; a number counts where its place cannot be mistaken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from custody.formats.telemetry import flags, processes

_READ, _WRITE = 4, 2
"""MAY_READ and MAY_WRITE of linux/fs.h."""


class Path(msgspec.Struct, gc=False):
    path: str = ""
    mount: str = ""
    flags: str = ""
    permission: str = ""


class Sock(msgspec.Struct, gc=False):
    family: str = ""
    type: str = ""
    protocol: str = ""
    saddr: str = ""
    daddr: str = ""
    sport: int = 0
    dport: int = 0


class Address(msgspec.Struct, gc=False):
    family: str = ""
    addr: str = ""
    port: int = 0


class Module(msgspec.Struct, gc=False):
    name: str = ""


class SyscallId(msgspec.Struct, gc=False):
    id: int = 0
    abi: str = ""


class Argument(msgspec.Struct, gc=False):
    """One of the oneof's that a field of Falco's can be made of."""

    string_arg: str | None = None
    int_arg: int | None = None
    uint_arg: int | None = None
    long_arg: int | str | None = None
    size_arg: int | str | None = None
    file_arg: Path | None = None
    path_arg: Path | None = None
    linux_binprm_arg: Path | None = None
    sock_arg: Sock | None = None
    sockaddr_arg: Address | None = None
    module_arg: Module | None = None
    bpf_cmd_arg: str | None = None
    label: str = ""


class Hook(NamedTuple):
    type: str
    fields: dict[str, Any]


_RESULT = {"evt.res": "SUCCESS", "evt.rawres": 0, "evt.failed": False}


def _number(argument: Argument) -> int | None:
    for value in (argument.int_arg, argument.uint_arg, argument.long_arg, argument.size_arg):
        if isinstance(value, int):
            return value
        if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) <= 20:
            return int(value)
    return None


def _file(arguments: Sequence[Argument]) -> Path | None:
    return next((path for argument in arguments
                 if (path := argument.file_arg or argument.path_arg) is not None), None)


def of_file(path: str | None) -> dict[str, Any]:
    return {"fd.name": path, "fd.nameraw": path, "fd.directory": processes.directory(path),
            "fd.filename": processes.filename(path), "fd.typechar": "f", "fd.type": "file"}


def of_connection(server: str, server_port: int, client: str | None = None, client_port: int | None = None, *,
                  protocol: str | None = None, serving: bool = False) -> dict[str, Any]:
    """`serving`: the process that the event is of is the connection's server."""
    local, local_port = (server, server_port) if serving else (client, client_port)
    remote, remote_port = (client, client_port) if serving else (server, server_port)
    return {"fd.name": processes.connection(client, client_port, server, server_port),
            "fd.typechar": processes.typechar(server), "fd.type": "ipv6" if ":" in server else "ipv4",
            "fd.sockfamily": "ip", "fd.l4proto": protocol,
            "fd.sip": server, "fd.snet": server, "fd.sport": server_port, "fd.cip": client, "fd.cnet": client,
            "fd.cport": client_port, "fd.lip": local, "fd.lnet": local, "fd.lport": local_port, "fd.rip": remote,
            "fd.rnet": remote, "fd.rport": remote_port, "fd.ip": [end for end in (client, server) if end],
            "fd.net": [end for end in (client, server) if end],
            "fd.port": [port for port in (client_port, server_port) if port], "fd.is_server": serving}


# --- system calls ---------------------------------------------------------------------------------------------------

def _opened(arguments: Sequence[Argument]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for place, argument in enumerate(arguments):
        if argument.string_arg is not None:
            fields |= of_file(argument.string_arg)
            numbers = [number for later in arguments[place + 1:] if (number := _number(later)) is not None]
            if numbers:
                fields |= _how(numbers[0])
            break
    return fields


def _how(bits: int) -> dict[str, Any]:
    return {"evt.arg.flags": flags.opened(bits), "evt.is_open_read": flags.reads(bits),
            "evt.is_open_write": flags.writes(bits),
            "evt.is_open_create": bool(bits & 0o100)}


def _created(arguments: Sequence[Argument]) -> dict[str, Any]:
    path = next((argument.string_arg for argument in arguments if argument.string_arg is not None), None)
    return of_file(path) | _how(0o1101)


def _named(texts: tuple[str, ...] = (), numbers: tuple[str, ...] = (),
           shown: Callable[[int], Any] = int) -> Callable[[Sequence[Argument]], dict[str, Any]]:
    """`numbers` count where there are as many; the last of them is told by `shown`."""

    def read(arguments: Sequence[Argument]) -> dict[str, Any]:
        said = [argument.string_arg for argument in arguments if argument.string_arg is not None]
        fields: dict[str, Any] = {f"evt.arg.{name}": text for name, text in zip(texts, said, strict=False)}
        counted = [number for argument in arguments if (number := _number(argument)) is not None]
        if len(counted) == len(numbers):
            fields |= {f"evt.arg.{name}": number for name, number in zip(numbers[:-1], counted, strict=False)}
            if numbers:
                fields[f"evt.arg.{numbers[-1]}"] = shown(counted[-1])
        return fields

    return read


def _command(arguments: Sequence[Argument]) -> dict[str, Any]:
    return {"evt.arg.cmd": next((argument.bpf_cmd_arg for argument in arguments if argument.bpf_cmd_arg), None)}


def _request(arguments: Sequence[Argument]) -> dict[str, Any]:
    numbers = [number for argument in arguments if (number := _number(argument)) is not None]
    return {"evt.arg.request": flags.request(numbers[0]) if numbers else None}


def _domain(arguments: Sequence[Argument]) -> dict[str, Any]:
    numbers = [number for argument in arguments if (number := _number(argument)) is not None]
    return {"evt.arg.domain": flags.domain(numbers[0]) if numbers else None}


def _address(arguments: Sequence[Argument]) -> dict[str, Any]:
    for argument in arguments:
        if (address := argument.sockaddr_arg) is not None and address.addr:
            return of_connection(address.addr, address.port)
    return {}


_OWNER = _named(numbers=("uid",))
_CALLS: dict[str, Callable[[Sequence[Argument]], dict[str, Any]]] = {
    "open": _opened, "openat": _opened, "openat2": _opened, "creat": _created,
    "connect": _address, "accept": _named(), "accept4": _named(), "listen": _named(), "sendto": _address,
    "sendmsg": _named(), "socket": _domain, "bpf": _command, "ptrace": _request,
    "chmod": _named(("filename",), ("mode",), flags.mode), "fchmod": _named((), ("fd", "mode"), flags.mode),
    "fchmodat": _named(("filename",), ("mode",), flags.mode),
    "link": _named(("oldpath", "newpath")), "linkat": _named(("oldpath", "newpath")),
    "symlink": _named(("target", "linkpath")), "symlinkat": _named(("target", "linkpath")),
    "rename": _named(("oldpath", "newpath")), "renameat": _named(("oldpath", "newpath")),
    "renameat2": _named(("oldpath", "newpath")), "mkdir": _named(("path",)), "mkdirat": _named(("path",)),
    "rmdir": _named(("path",)), "unlink": _named(("path",)), "unlinkat": _named(("name",)),
    "setuid": _OWNER, "setns": _named((), ("fd", "nstype"), flags.cloned),
    "unshare": _named((), ("flags",), flags.cloned), "init_module": _named(), "finit_module": _named(),
    "userfaultfd": _named(), "dup": _named(), "dup2": _named(), "dup3": _named(), "execveat": _named(),
    "mount": _named(("dev", "dir", "type")), "umount2": _named(("name",)), "memfd_create": _named(("name",)),
}
_PREFIXES = ("__x64_sys_", "__arm64_sys_", "__ia32_sys_", "__se_sys_", "__do_sys_", "sys_")


# --- hooks of the kernel -------------------------------------------------------------------------------------------

def _installed(arguments: Sequence[Argument], _: Argument | None) -> Hook | None:
    """fd_install(fd, file): what a descriptor was opened on. How is not known."""
    file = _file(arguments)
    if file is None:
        return None
    number = next((number for argument in arguments if (number := _number(argument)) is not None), None)
    return Hook("openat", of_file(file.path) | _RESULT | {"fd.num": number, "evt.rawres": number})


def _permitted(arguments: Sequence[Argument], _: Argument | None) -> Hook | None:
    """security_file_permission(file, mask) of a file that is open: the mask says whether it is read or written."""
    file = _file(arguments)
    mask = next((number for argument in arguments if (number := _number(argument)) is not None), None)
    if file is None:
        return None
    access = {} if mask is None else {"evt.is_open_read": bool(mask & _READ), "evt.is_open_write": bool(mask & _WRITE)}
    return Hook("openat", of_file(file.path) | _RESULT | access | {"fd.num": 0})


def _truncated(arguments: Sequence[Argument], _: Argument | None) -> Hook | None:
    file = _file(arguments)
    written = {"evt.is_open_read": False, "evt.is_open_write": True, "fd.num": 0}
    return None if file is None else Hook("openat", of_file(file.path) | _RESULT | written)


def _connecting(protocol: str, name: str) -> Callable[[Sequence[Argument], Argument | None], Hook | None]:
    def read(arguments: Sequence[Argument], _: Argument | None) -> Hook | None:
        for argument in arguments:
            if (sock := argument.sock_arg) is not None and sock.daddr:
                datagram = {"fd.connected": False, "fd.name_changed": True} if name == "sendto" else {
                    "fd.connected": True}
                return Hook(name, of_connection(sock.daddr, sock.dport, sock.saddr or None, sock.sport or None,
                                                protocol=protocol) | _RESULT | datagram | {"fd.num": 0})
        return None

    return read


def _asked(arguments: Sequence[Argument], _: Argument | None) -> Hook | None:
    """security_socket_connect(sock, address): before it is known whether it succeeds."""
    address = _address(arguments)
    return Hook("connect", address | {"evt.res": "SUCCESS", "evt.rawres": 0, "fd.num": 0}) if address else None


def _accepted(arguments: Sequence[Argument], result: Argument | None) -> Hook | None:
    for argument in (*([result] if result is not None else []), *arguments):
        if (sock := argument.sock_arg) is not None and sock.daddr:
            return Hook("accept4", of_connection(sock.saddr, sock.sport, sock.daddr, sock.dport, protocol="tcp",
                                                 serving=True) | _RESULT | {"fd.num": 0})
    return None


def _listening(_: Sequence[Argument], __: Argument | None) -> Hook | None:
    return Hook("listen", dict(_RESULT))


def _module(_: Sequence[Argument], __: Argument | None) -> Hook | None:
    return Hook("finit_module", dict(_RESULT))


_HOOKS: dict[str, Callable[[Sequence[Argument], Argument | None], Hook | None]] = {
    "fd_install": _installed, "security_file_permission": _permitted, "security_file_open": _permitted,
    "file_open": _permitted, "file_permission": _permitted,
    "security_path_truncate": _truncated, "do_truncate": _truncated,
    "tcp_connect": _connecting("tcp", "connect"), "tcp_v4_connect": _connecting("tcp", "connect"),
    "tcp_v6_connect": _connecting("tcp", "connect"), "ip4_datagram_connect": _connecting("udp", "connect"),
    "ip6_datagram_connect": _connecting("udp", "connect"), "udp_sendmsg": _connecting("udp", "sendto"),
    "udpv6_sendmsg": _connecting("udp", "sendto"), "security_socket_connect": _asked, "socket_connect": _asked,
    "inet_csk_accept": _accepted, "inet_csk_listen_start": _listening, "inet_listen": _listening,
    "do_init_module": _module, "security_kernel_module_request": _module,
}
TYPES = frozenset({*_CALLS, "accept4", "finit_module"})
FIELDS = frozenset({
    *of_file(""), *of_connection("", 0), *_RESULT, "fd.num", "fd.connected", "fd.name_changed", "evt.arg.flags",
    "evt.is_open_read", "evt.is_open_write", "evt.is_open_create", "evt.arg.cmd", "evt.arg.request", "evt.arg.domain",
    "evt.arg.uid", "evt.arg.fd", "evt.arg.nstype", "evt.arg.mode", "evt.arg.filename", "evt.arg.oldpath",
    "evt.arg.newpath", "evt.arg.target", "evt.arg.linkpath", "evt.arg.path", "evt.arg.name", "evt.arg.dev",
    "evt.arg.dir", "evt.arg.type"})


def of_function(function: str, arguments: Sequence[Argument], result: Argument | None) -> Hook | None:
    """What a kprobe or LSM hook at a function tells; None where it is no event of Falco's."""
    for prefix in _PREFIXES:
        if function.startswith(prefix):
            return _call(function.removeprefix(prefix), arguments, result)
    read = _HOOKS.get(function)
    return None if read is None else read(arguments, result)


def of_tracepoint(subsystem: str, event: str, arguments: Sequence[Argument]) -> Hook | None:
    """`syscalls/sys_enter_NAME`; others, raw_syscalls too, are no event of Falco's."""
    if subsystem != "syscalls" or not event.startswith("sys_enter_"):
        return None
    return _call(event.removeprefix("sys_enter_"), arguments, None)


def _call(name: str, arguments: Sequence[Argument], result: Argument | None) -> Hook | None:
    read = _CALLS.get({"newfstatat": "fstatat"}.get(name, name))
    if read is None:
        return None
    fields = read(arguments)
    number = None if result is None else _number(result)
    if number is None:
        fields |= _RESULT | {"fd.num": 0}
    else:
        fields |= {"evt.rawres": number, "evt.failed": number < 0, "evt.res": "SUCCESS" if number >= 0 else "FAILURE",
                   "fd.num": number if name in ("open", "openat", "openat2", "creat") else 0}
    return Hook(name, fields)
