"""Tetragon's JSON export: one GetEventsResponse a line (api/v1/tetragon/tetragon.proto, events.proto; Tetragon 1.5).

`process_exec` is execve; processes that Tetragon found in /proc when it started (`procFS`) are procinfo, which no rule
judges. `process_kprobe`, `process_lsm` and `process_tracepoint` become the system call that they stand at
(`tetragonhooks`); hooks that are no event of Falco's are left out, as is `process_loader`. `rate_limit_info` and
`process_throttle` are losses.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, ClassVar

import msgspec

from custody.errors import MalformedError
from custody.formats.telemetry import lenient, processes, tetragonhooks
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.instant import nanoseconds
from custody.formats.telemetry.table import Read, TableFields, ancestors
from custody.formats.telemetry.told import Lost, Told


class _Image(msgspec.Struct, gc=False):
    id: str = ""
    name: str = ""


class _Security(msgspec.Struct, gc=False):
    privileged: bool = False


class _Container(msgspec.Struct, gc=False):
    id: str = ""
    name: str = ""
    image: _Image | None = None
    start_time: str = ""
    pid: int | None = None
    security_context: _Security | None = None
    maybe_exec_probe: bool = False


class _Pod(msgspec.Struct, gc=False):
    namespace: str = ""
    name: str = ""
    uid: str = ""
    container: _Container | None = None


class _Capabilities(msgspec.Struct, gc=False):
    permitted: list[str] = []
    effective: list[str] = []
    inheritable: list[str] = []


class _Inode(msgspec.Struct, gc=False):
    links: int | None = None


class _File(msgspec.Struct, gc=False):
    path: str = ""
    inode: _Inode | None = None


class _Binary(msgspec.Struct, gc=False):
    file: _File | None = None


class _User(msgspec.Struct, gc=False):
    name: str = ""


class _Credentials(msgspec.Struct, gc=False):
    gid: int | None = None
    egid: int | None = None


class _Variable(msgspec.Struct, gc=False):
    key: str = msgspec.field(default="", name="Key")
    value: str = msgspec.field(default="", name="Value")


class _Process(msgspec.Struct, gc=False):
    pid: int | None = None
    uid: int | None = None
    tid: int | None = None
    cwd: str = ""
    binary: str = ""
    arguments: str = ""
    flags: str = ""
    start_time: str = ""
    auid: int | None = None
    pod: _Pod | None = None
    docker: str = ""
    cap: _Capabilities | None = None
    process_credentials: _Credentials | None = None
    binary_properties: _Binary | None = None
    user: _User | None = None
    environment_variables: list[_Variable] | None = None


class _Event(msgspec.Struct, gc=False):
    """What exec, exit, hooks and tracepoints have, as far as it is a field of Falco's."""

    process: _Process | None = None
    parent: _Process | None = None
    ancestors: list[_Process] | None = None
    function_name: str = ""
    subsys: str = ""
    event: str = ""
    args: list[tetragonhooks.Argument] | None = None
    result: tetragonhooks.Argument | None = msgspec.field(default=None, name="return")


class _Line(msgspec.Struct, gc=False):
    time: str = ""
    node_name: str = ""
    process_exec: _Event | None = None
    process_exit: _Event | None = None
    process_kprobe: _Event | None = None
    process_lsm: _Event | None = None
    process_tracepoint: _Event | None = None
    rate_limit_info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    process_throttle: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    process_loader: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    process_uprobe: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    process_usdt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    test: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Dropped(msgspec.Struct, gc=False):
    number_of_dropped_process_events: int | str = 0


class _Throttled(msgspec.Struct, gc=False):
    type: str = ""


_LINE = msgspec.json.Decoder(_Line)
_DROPPED = msgspec.json.Decoder(_Dropped, strict=False)
_THROTTLED = msgspec.json.Decoder(_Throttled)
_EXIT = b'{"process_exit"'
_EXPECTED = "an event of Tetragon's JSON export"


class Facts:
    """What the fields of one event are read from. Of a process without a name nothing is known: it is empty."""

    __slots__ = ("arguments", "at", "node", "parents", "process", "type")

    def __init__(self, type_: str, at: int | None, node: str, event: _Event, arguments: dict[str, Any]) -> None:
        self.type, self.at, self.node, self.arguments = type_, at, node, arguments
        self.process = event.process or _NOBODY
        self.parents: list[_Process] = [self.process]
        if event.parent is not None:
            self.parents.append(event.parent)
            if event.ancestors:
                self.parents += event.ancestors

    def parent(self, depth: int) -> _Process:
        return self.parents[depth] if depth < len(self.parents) else _NOBODY

    @property
    def container(self) -> _Container:
        pod = self.process.pod
        return (pod and pod.container) or _NOWHERE

    @property
    def image(self) -> _Image:
        return self.container.image or _UNNAMED


_NOBODY, _NOWHERE, _UNNAMED = _Process(), _Container(), _Image()


def _duration(facts: Facts) -> int | None:
    start = nanoseconds(facts.process.start_time)
    return None if start is None or facts.at is None or facts.at < start else facts.at - start


def _virtual_pid(facts: Facts) -> int | None:
    pid = facts.container.pid
    return facts.process.pid if pid is None and facts.process.pod is None and not facts.process.docker else pid


def _container_id(facts: Facts) -> str:
    return processes.container(facts.container.id or facts.process.docker)


def _privileged(facts: Facts) -> bool | None:
    context = facts.container.security_context
    return None if context is None else context.privileged


def _capabilities(kind: str) -> Read:
    def read(facts: Facts) -> str | None:
        capabilities = facts.process.cap
        return None if capabilities is None else processes.capabilities(getattr(capabilities, kind))

    return read


def _memfd(facts: Facts) -> bool | None:
    if facts.type != "execve":
        return None
    binary = facts.process.binary_properties
    return binary is not None and binary.file is not None and "memfd:" in binary.file.path


def _environment(facts: Facts) -> str | None:
    variables = facts.process.environment_variables
    return None if variables is None else " ".join(f"{variable.key}={variable.value}" for variable in variables)


def _group(facts: Facts) -> int | None:
    credentials = facts.process.process_credentials
    return None if credentials is None else credentials.egid if credentials.egid is not None else credentials.gid


def _user(facts: Facts) -> str | None:
    process = facts.process
    return processes.user(process.uid, process.user.name if process.user is not None else None)


def _pod(name: str) -> Read:
    def read(facts: Facts) -> str | None:
        pod = facts.process.pod
        return (getattr(pod, name) or None) if pod is not None else None

    return read


def _names(facts: Facts) -> list[str]:
    return [name for parent in facts.parents[1:] if (name := processes.name(parent.binary))]


_FIELDS: dict[str, Read] = {
    "evt.type": lambda facts: facts.type, "evt.rawtime": lambda facts: facts.at, "evt.num": lambda _: 1,
    "evt.hostname": lambda facts: facts.node or None, "evt.source": lambda _: "syscall",
    "evt.is_async": lambda _: False,
    "proc.name": lambda facts: processes.name(facts.process.binary),
    "proc.exe": lambda facts: facts.process.binary or None, "proc.exepath": lambda facts: facts.process.binary or None,
    "proc.args": lambda facts: facts.process.arguments if facts.process.binary else None,
    "proc.cmdline": lambda facts: processes.cmdline(facts.process.binary, facts.process.arguments),
    "proc.cwd": lambda facts: processes.folder(facts.process.cwd) or None,
    "proc.env": _environment, "proc.pid": lambda facts: facts.process.pid,
    "thread.tid": lambda facts: facts.process.tid, "proc.vpid": _virtual_pid,
    "proc.ppid": lambda facts: facts.parent(1).pid, "proc.duration": _duration,
    "proc.pid.ts": lambda facts: nanoseconds(facts.process.start_time),
    "proc.pname": lambda facts: processes.name(facts.parent(1).binary),
    "proc.pexe": lambda facts: facts.parent(1).binary or None,
    "proc.pexepath": lambda facts: facts.parent(1).binary or None,
    "proc.pcmdline": lambda facts: processes.cmdline(facts.parent(1).binary, facts.parent(1).arguments),
    "proc.aname": _names, **ancestors("proc.aname", lambda facts, depth: processes.name(facts.parent(depth).binary)),
    **ancestors("proc.aexe", lambda facts, depth: facts.parent(depth).binary or None),
    **ancestors("proc.aexepath", lambda facts, depth: facts.parent(depth).binary or None),
    **ancestors("proc.acmdline", lambda facts, depth: processes.cmdline(facts.parent(depth).binary,
                                                                        facts.parent(depth).arguments)),
    **ancestors("proc.apid", lambda facts, depth: facts.parent(depth).pid),
    "proc.is_exe_from_memfd": _memfd,
    "proc.is_container_liveness_probe": lambda facts: facts.container.maybe_exec_probe or None,
    "thread.cap_permitted": _capabilities("permitted"), "thread.cap_effective": _capabilities("effective"),
    "thread.cap_inheritable": _capabilities("inheritable"),
    "user.uid": lambda facts: facts.process.uid,
    "user.name": _user,
    "user.loginuid": lambda facts: processes.login(facts.process.auid), "group.gid": _group,
    "container.id": _container_id,
    "container.full_id": lambda facts: facts.container.id.rpartition("/")[2] or None,
    "container.name": lambda facts: facts.container.name or ("host" if _container_id(facts) == "host" else None),
    "container.image": lambda facts: facts.image.name or None,
    "container.image.repository": lambda facts: processes.repository(facts.image.name),
    "container.image.tag": lambda facts: processes.tag(facts.image.name),
    "container.image.digest": lambda facts: processes.digest(facts.image.id),
    "container.start_ts": lambda facts: nanoseconds(facts.container.start_time), "container.privileged": _privileged,
    "k8s.pod.name": _pod("name"), "k8s.ns.name": _pod("namespace"), "k8s.pod.uid": _pod("uid"),
}


def _argument(name: str) -> Read:
    return lambda facts: facts.arguments.get(name)


class TetragonFields(TableFields):
    """Of one event."""

    __slots__ = ()
    table: ClassVar = {**_FIELDS, **{name: _argument(name) for name in tetragonhooks.FIELDS}}


def _fields(facts: Facts) -> TetragonFields:
    """With what nearly every rule of a process asks for, by the same functions as the table's."""
    process, parent = facts.process, facts.parent(1)
    binary, arguments, father = process.binary, process.arguments, parent.binary
    command = binary.rpartition("/")[2][:processes.COMM] if binary else None
    image = facts.image.name
    return TetragonFields(facts, {
        "evt.type": facts.type, "evt.rawtime": facts.at, "evt.num": 1, **facts.arguments,
        "proc.name": command, "proc.exe": binary or None, "proc.exepath": binary or None,
        "proc.args": arguments if binary else None,
        "proc.cmdline": f"{command} {arguments}" if binary and arguments else command,
        "proc.pname": father.rpartition("/")[2][:processes.COMM] if father else None,
        "proc.pexe": father or None, "proc.pcmdline": processes.cmdline(father, parent.arguments),
        "user.uid": process.uid, "user.loginuid": processes.login(process.auid), "user.name": _user(facts),
        "container.id": _container_id(facts), "container.image.repository": processes.repository(image),
        "container.privileged": _privileged(facts), "proc.tty": None, "proc.is_exe_upper_layer": None})


TYPES = frozenset({"execve", "procexit", *tetragonhooks.TYPES})
FIELDS = frozenset(TetragonFields.table)
_EXECUTED = {"evt.res": "SUCCESS", "evt.rawres": 0, "evt.failed": False}


class Tetragon:
    """Reads lines. `types` are those that anybody wants; others are left out as soon as that is known."""

    def __init__(self, origin: str, types: Set[str] = TYPES) -> None:
        self._origin, self._types = origin, types
        self.repairs = lenient.Repairs()

    def __call__(self, data: bytes) -> Sequence[Told]:
        """Raises MalformedError."""
        if data.startswith(_EXIT) and "procexit" not in self._types and data[-1:] == b"}":
            return ()
        line = lenient.decode(data, _LINE, self.repairs, _EXPECTED)
        if (event := line.process_exec) is not None:
            process = event.process
            started = process is not None and "procFS" in process.flags
            return self._made("procinfo" if started else "execve", line, event, _EXECUTED)
        if (event := line.process_exit) is not None:
            return self._made("procexit", line, event, {})
        if (event := line.process_kprobe or line.process_lsm) is not None:
            hook = tetragonhooks.of_function(event.function_name, event.args or (), event.result)
            return () if hook is None else self._made(hook.type, line, event, hook.fields)
        if (event := line.process_tracepoint) is not None:
            hook = tetragonhooks.of_tracepoint(event.subsys, event.event, event.args or ())
            return () if hook is None else self._made(hook.type, line, event, hook.fields)
        return self._lost(line)

    def _made(self, name: str, line: _Line, event: _Event, arguments: dict[str, Any]) -> Sequence[Told]:
        if name not in self._types:
            return ()
        at = nanoseconds(line.time)
        return (RuntimeEvent("syscall", name, _fields(Facts(name, at, line.node_name, event, arguments)), at,
                             self._origin),)

    def _lost(self, line: _Line) -> Sequence[Told]:
        if line.rate_limit_info is not msgspec.UNSET:
            number = lenient.decode(bytes(line.rate_limit_info), _DROPPED, self.repairs,
                                    _EXPECTED).number_of_dropped_process_events
            return (Lost("rate-limit", _count(number)),)
        if line.process_throttle is not msgspec.UNSET:
            kind = lenient.decode(bytes(line.process_throttle), _THROTTLED, self.repairs, _EXPECTED).type
            return (Lost("throttle", 0),) if kind != "THROTTLE_STOP" else ()
        known = (line.process_loader, line.process_uprobe, line.process_usdt, line.test)
        if all(part is msgspec.UNSET for part in known):
            raise MalformedError("", got="none of its events", expected=_EXPECTED)
        return ()


def _count(number: int | str) -> int:
    """protojson writes numbers of 64 bits as texts; Tetragon's own encoder does not."""
    if isinstance(number, str):
        number = int(number) if number.isascii() and number.isdecimal() and len(number) <= 19 else 0
    return max(number, 0)
