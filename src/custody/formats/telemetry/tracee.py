"""Tracee's JSON output: one trace.Event a line (types/trace/trace.go; Tracee 0.20 to 0.23).

Its events are system calls by their names, and hooks of the kernel of which those count here that are an event of
Falco's. Arguments are numbers, or texts with `parse-arguments`. What it knows of a parent is its number, so that no
field of a parent's name is ever known. `Lost N events` of its own log, on the same stream, are losses.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, ClassVar

import msgspec

from custody.errors import MalformedError
from custody.formats.telemetry import flags, lenient, processes
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.table import Read, TableFields
from custody.formats.telemetry.tetragonhooks import of_connection, of_file
from custody.formats.telemetry.told import Lost, Told
from policylang.falco.values.events import SYSCALLS


class _Executable(msgspec.Struct, gc=False):
    path: str = ""


class _Container(msgspec.Struct, gc=False):
    id: str = ""
    name: str = ""
    image: str = ""
    digest: str = msgspec.field(default="", name="imageDigest")


class _Kubernetes(msgspec.Struct, gc=False):
    pod: str = msgspec.field(default="", name="podName")
    namespace: str = msgspec.field(default="", name="podNamespace")
    uid: str = msgspec.field(default="", name="podUID")


class _Argument(msgspec.Struct, gc=False):
    name: str
    value: Any = None


class _Event(msgspec.Struct, gc=False, rename="camel"):
    event_name: str = ""
    timestamp: int = 0
    process_id: int | None = None
    host_process_id: int | None = None
    thread_id: int | None = None
    host_thread_id: int | None = None
    host_parent_process_id: int | None = None
    thread_start_time: int = 0
    user_id: int | None = None
    process_name: str = ""
    executable: _Executable | None = None
    host_name: str = ""
    container_id: str = ""
    container: _Container | None = None
    container_image: str = ""
    container_name: str = ""
    kubernetes: _Kubernetes | None = None
    pod_name: str = ""
    pod_namespace: str = ""
    pod_uid: str = msgspec.field(default="", name="podUID")
    return_value: int = 0
    syscall: str = ""
    args: list[_Argument] | None = None
    msg: str = ""
    level: str = ""


_EVENT = msgspec.json.Decoder(_Event)
_LOST = re.compile(r"[Ll]ost (\d{1,18}) (?:events|write events|network events|bpf logs)")
_EXPECTED = "an event of Tracee's JSON output"
_NO_CONTAINER, _NO_POD = _Container(), _Kubernetes()


class Facts:
    """What the fields of one event are read from."""

    __slots__ = ("arguments", "container", "event", "pod", "type")

    def __init__(self, type_: str, event: _Event, arguments: dict[str, Any]) -> None:
        self.type, self.event, self.arguments = type_, event, arguments
        self.container = event.container or _NO_CONTAINER
        self.pod = event.kubernetes or _NO_POD


def _image(facts: Facts) -> str:
    return facts.container.image or facts.event.container_image


def _container_id(facts: Facts) -> str:
    return processes.container(facts.container.id or facts.event.container_id)


_FIELDS: dict[str, Read] = {
    "evt.type": lambda facts: facts.type, "evt.num": lambda _: 1, "evt.source": lambda _: "syscall",
    "evt.is_async": lambda _: False, "evt.rawtime": lambda facts: facts.event.timestamp or None,
    "evt.hostname": lambda facts: facts.event.host_name or None,
    "proc.name": lambda facts: facts.event.process_name or None,
    "proc.exepath": lambda facts: (facts.event.executable and facts.event.executable.path) or None,
    "proc.pid": lambda facts: facts.event.host_process_id, "proc.vpid": lambda facts: facts.event.process_id,
    "proc.ppid": lambda facts: facts.event.host_parent_process_id,
    "thread.tid": lambda facts: facts.event.host_thread_id, "thread.vtid": lambda facts: facts.event.thread_id,
    "user.uid": lambda facts: facts.event.user_id, "user.name": lambda facts: processes.user(facts.event.user_id),
    "container.id": _container_id,
    "container.full_id": lambda facts: facts.container.id or facts.event.container_id or None,
    "container.name": lambda facts: facts.container.name or facts.event.container_name or (
        "host" if _container_id(facts) == "host" else None),
    "container.image": lambda facts: _image(facts) or None,
    "container.image.repository": lambda facts: processes.repository(_image(facts)),
    "container.image.tag": lambda facts: processes.tag(_image(facts)),
    "container.image.digest": lambda facts: processes.digest(facts.container.digest),
    "k8s.pod.name": lambda facts: facts.pod.pod or facts.event.pod_name or None,
    "k8s.ns.name": lambda facts: facts.pod.namespace or facts.event.pod_namespace or None,
    "k8s.pod.uid": lambda facts: facts.pod.uid or facts.event.pod_uid or None,
}
_Arguments = Mapping[str, Any]
_Says = Callable[[_Arguments, int], dict[str, Any]]


# --- arguments -----------------------------------------------------------------------------------------------------

def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _executed(arguments: _Arguments, _: int) -> dict[str, Any]:
    path, vector = _text(arguments.get("pathname")), arguments.get("argv")
    said: dict[str, Any] = {"proc.exepath": path} if path else {}
    if isinstance(vector, list):
        words = [word for word in vector if isinstance(word, str)]
        said |= {"proc.exe": words[0] if words else path, "proc.args": " ".join(words[1:]), "argv": words}
    variables = arguments.get("env") or arguments.get("envp")
    if isinstance(variables, list):
        said["proc.env"] = " ".join(text for text in variables if isinstance(text, str))
    if digest := _text(arguments.get("sha256")):
        said["custody.exe.sha256"] = digest
    return said


def _opened(arguments: _Arguments, result: int) -> dict[str, Any]:
    said = of_file(_text(arguments.get("pathname"))) | {"fd.num": result}
    how = arguments.get("flags")
    bits = flags.access_of(how) if isinstance(how, str) else _whole(how)
    if bits is not None:
        said |= {"evt.is_open_read": flags.reads(bits), "evt.is_open_write": flags.writes(bits),
                 "evt.is_open_create": bool(bits & 0o100),
                 "evt.arg.flags": how if isinstance(how, str) else flags.opened(bits)}
    return said


def _ends(address: Any) -> tuple[str, int] | None:
    """Address and port of a socket address."""
    if not isinstance(address, dict):
        return None
    host = address.get("sin_addr", address.get("sin6_addr"))
    port = address.get("sin_port", address.get("sin6_port", 0))
    number = int(port) if isinstance(port, str) and port.isascii() and port.isdecimal() and len(port) < 6 else port
    return (host, number) if isinstance(host, str) and isinstance(number, int) else None


def _connected(arguments: _Arguments, _: int) -> dict[str, Any]:
    address = arguments.get("remote_addr", arguments.get("addr", arguments.get("dest_addr")))
    said: dict[str, Any] = {"fd.num": _whole(arguments.get("sockfd"))}
    if (ends := _ends(address)) is not None:
        kind = arguments.get("type")
        protocol = {"SOCK_STREAM": "tcp", "SOCK_DGRAM": "udp", 1: "tcp", 2: "udp"}.get(kind) if isinstance(
            kind, (str, int)) else None
        return said | of_connection(*ends, protocol=protocol)
    path = address.get("sun_path") if isinstance(address, dict) else None
    return said | ({"fd.name": path, "fd.typechar": "u", "fd.type": "unix", "fd.sockfamily": "unix"} if isinstance(
        path, str) else {})


def _dialled(arguments: _Arguments, _: int) -> dict[str, Any]:
    """net_tcp_connect."""
    host, port = _text(arguments.get("dst")), _whole(arguments.get("dst_port"))
    return of_connection(host, port or 0, protocol="tcp") | {"fd.num": 0, "fd.connected": True} if host else {}


def _accepted(arguments: _Arguments, result: int) -> dict[str, Any]:
    """The address is the client's of accept(2), and the server's of the hook."""
    if (client := _ends(arguments.get("addr"))) is not None:
        return of_connection("", 0, *client, protocol="tcp", serving=True) | {
            "fd.num": result, "fd.name": None, "fd.sip": None, "fd.snet": None, "fd.sport": None, "fd.lip": None,
            "fd.lnet": None, "fd.lport": None, "fd.typechar": processes.typechar(client[0]),
            "fd.type": "ipv6" if ":" in client[0] else "ipv4"}
    if (server := _ends(arguments.get("local_addr"))) is not None:
        return of_connection(*server, protocol="tcp", serving=True) | {"fd.num": 0}
    return {"fd.num": result}


def _named(names: Mapping[str, str], shown: Mapping[str, Callable[[int], Any]] | None = None) -> _Says:
    """Falco's names of arguments by Tracee's; numbers that Falco has as texts are told by `shown`."""
    forms = shown or {}

    def read(arguments: _Arguments, _: int) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for theirs, ours in names.items():
            value = arguments.get(theirs)
            if isinstance(value, int) and not isinstance(value, bool) and ours in forms:
                value = forms[ours](value)
            if isinstance(value, (str, int)):
                said[f"evt.arg.{ours}"] = value
        return said

    return read


_PATHS = _named({"oldpath": "oldpath", "newpath": "newpath"})
_MODE = _named({"pathname": "filename", "filename": "filename", "fd": "fd", "mode": "mode"}, {"mode": flags.mode})
_MODULE = _named({"name": "name"})
_CALLS: dict[str, _Says] = {
    "execve": _executed, "execveat": _executed, "open": _opened, "openat": _opened, "openat2": _opened,
    "creat": lambda arguments, result: _opened({**arguments, "flags": 0o1101}, result),
    "connect": _connected, "sendto": _connected, "sendmsg": _named({"sockfd": "fd"}), "accept": _accepted,
    "accept4": _accepted, "listen": _named({"sockfd": "fd"}), "socket": _named({"domain": "domain"},
                                                                              {"domain": flags.domain}),
    "chmod": _MODE, "fchmod": _MODE, "fchmodat": _MODE, "link": _PATHS, "linkat": _PATHS, "rename": _PATHS,
    "renameat": _PATHS, "renameat2": _PATHS, "symlink": _named({"target": "target", "linkpath": "linkpath"}),
    "symlinkat": _named({"target": "target", "linkpath": "linkpath"}), "mkdir": _named({"pathname": "path"}),
    "mkdirat": _named({"pathname": "path"}), "rmdir": _named({"pathname": "path"}),
    "unlink": _named({"pathname": "path"}), "unlinkat": _named({"pathname": "name"}),
    "ptrace": _named({"request": "request"}, {"request": flags.request}), "bpf": _named({"cmd": "cmd"}),
    "setuid": _named({"uid": "uid"}), "setns": _named({"fd": "fd", "nstype": "nstype"}, {"nstype": flags.cloned}),
    "unshare": _named({"flags": "flags"}, {"flags": flags.cloned}), "init_module": _MODULE, "finit_module": _MODULE,
    "userfaultfd": _named({"flags": "flags"}), "dup": _named({"oldfd": "fd"}), "dup2": _named({"oldfd": "fd"}),
    "dup3": _named({"oldfd": "fd"}), "mount": _named({"source": "dev", "target": "dir", "filesystemtype": "type"}),
    "memfd_create": _named({"name": "name"}),
}
_HOOKS: dict[str, tuple[str, _Says]] = {
    "sched_process_exec": ("execve", _executed), "security_file_open": ("openat", _opened),
    "security_socket_connect": ("connect", _connected), "net_tcp_connect": ("connect", _dialled),
    "security_socket_accept": ("accept4", _accepted), "security_socket_listen": ("listen", _named({"sockfd": "fd"})),
    "security_inode_symlink": ("symlink", _named({"target": "target", "linkpath": "linkpath"})),
    "security_inode_rename": ("rename", _named({"old_path": "oldpath", "new_path": "newpath"})),
    "security_inode_unlink": ("unlink", _named({"pathname": "path"})),
    "module_load": ("finit_module", _MODULE), "sched_process_exit": ("procexit", lambda *_: {}),
}
TYPES = frozenset({*_CALLS, *(name for name, _ in _HOOKS.values())})
_SAID = frozenset({
    *of_file(""), *of_connection("", 0), "evt.res", "evt.rawres", "evt.failed", "fd.num", "fd.connected",
    "evt.is_open_read", "evt.is_open_write", "evt.is_open_create", "proc.exepath", "proc.exe", "proc.args", "proc.env",
    "custody.exe.sha256", *(f"evt.arg.{name}" for name in (
        "flags", "oldpath", "newpath", "target", "linkpath", "path", "name", "filename", "mode", "fd", "request", "cmd",
        "uid", "nstype", "domain", "dev", "dir", "type"))})


def _unknown(_: Facts) -> None:
    return None


def _argument(name: str) -> Read:
    before: Read = _FIELDS.get(name, _unknown)
    return lambda facts: facts.arguments[name] if name in facts.arguments else before(facts)


def _cmdline(facts: Facts) -> str | None:
    words = facts.arguments.get("argv")
    return None if words is None else " ".join([facts.event.process_name, *words[1:]])


class TraceeFields(TableFields):
    """Of one event."""

    __slots__ = ()
    table: ClassVar = {**_FIELDS, **{name: _argument(name) for name in _SAID}, "proc.cmdline": _cmdline}


FIELDS = frozenset(TraceeFields.table)


class Tracee:
    """Reads lines. `types` are those that anybody wants."""

    def __init__(self, origin: str, types: Set[str] = TYPES) -> None:
        self._origin, self._types = origin, types
        self.repairs = lenient.Repairs()

    def __call__(self, data: bytes) -> Sequence[Told]:
        """Raises MalformedError."""
        event = lenient.decode(data, _EVENT, self.repairs, _EXPECTED)
        name = event.event_name
        if not name:
            return self._logged(event)
        hook = _HOOKS.get(name)
        if hook is not None:
            type_, says = hook
        elif (calls := _CALLS.get(name)) is not None:
            type_, says = name, calls
        elif name in SYSCALLS:
            type_, says = name, _nothing
        else:
            return ()
        if type_ not in self._types:
            return ()
        result = event.return_value
        said = says({argument.name: argument.value for argument in event.args or ()}, result)
        said["evt.rawres"], said["evt.failed"] = result, result < 0
        said["evt.res"] = "SUCCESS" if result >= 0 else errno.errorcode.get(-result, "UNKNOWN")
        return (RuntimeEvent("syscall", type_, TraceeFields(Facts(type_, event, said)), event.timestamp or None,
                             self._origin),)

    @staticmethod
    def _logged(event: _Event) -> Sequence[Told]:
        """Tracee's log has JSON lines too."""
        if not (event.level or event.msg):
            raise MalformedError("", got="no eventName", expected=_EXPECTED)
        match = _LOST.search(event.msg)
        return (Lost("lost", int(match[1])),) if match is not None else ()


def _nothing(_: _Arguments, __: int) -> dict[str, Any]:
    return {}
