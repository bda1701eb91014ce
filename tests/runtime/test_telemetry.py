"""What other tools write, as events of Falco's fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from custody.errors import MalformedError
from custody.formats.telemetry import audit
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.inputs import FORMATS, Decoder
from custody.formats.telemetry.instant import nanoseconds
from custody.formats.telemetry.told import Foreign, Lost, Unread
from policylang.falco import AuditEvent
from policylang.falco.values.fields import lookup

CONTAINER = "551e161c47d8ff0eb665438a7bcd5b4e3ef5a297282b40a92b7c77d6bd168eb3"
DIGEST = "sha256:8e86f744bfea165fd4ce68caa05abc96500f40130b857773186401926af7e9e6"
PROCESS = {
    "exec_id": "a", "pid": 52699, "uid": 0, "cwd": "/srv", "binary": "/usr/bin/a-name-longer-than-comm",
    "arguments": "-i --x", "flags": "execve clone", "start_time": "2026-11-30T10:03:57.7Z", "auid": 4294967295,
    "pod": {"namespace": "default", "name": "xwing", "uid": "u-1", "container": {
        "id": f"containerd://{CONTAINER}", "name": "spaceship", "pid": 49, "start_time": "2026-11-30T10:00:00Z",
        "image": {"id": f"docker.io/tgraf/netperf@{DIGEST}", "name": "localhost:5000/tgraf/netperf:1.2"},
        "security_context": {"privileged": True}}},
    "docker": CONTAINER[:31], "cap": {"permitted": ["CAP_CHOWN", "DAC_OVERRIDE"]},
    "environment_variables": [{"Key": "A", "Value": "b"}, {"Key": "C", "Value": "d"}]}
PARENT = {"pid": 7, "binary": "/usr/sbin/nginx", "arguments": "-g x"}
GRANDPARENT = {"pid": 1, "binary": "/usr/bin/containerd-shim"}


def made(name: str, types: frozenset[str] | None = None) -> Decoder:
    form = FORMATS[name]
    return form.made(name, types if types is not None else form.types or frozenset())


def one(name: str, document: Any) -> RuntimeEvent:
    told = made(name)(json.dumps(document).encode())
    assert len(told) == 1
    assert isinstance(told[0], RuntimeEvent)
    return told[0]


def fields(event: RuntimeEvent, *names: str) -> list[Any]:
    return [event.fields.get(name) for name in names]


# --- times ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "number"), [
    ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:01.5Z", 1_500_000_000),
    ("2026-11-30T10:03:57.700327580Z", 1796033037700327580),
    ("2026-11-30T12:03:57.7+02:00", 1796033037700000000), ("2026-11-30T10:03:57.700326678+0000", 1796033037700326678),
    ("2026-11-30T10:03:57.7003266781234Z", 1796033037700326678),
    ("2026-13-30T10:03:57Z", None), ("2026-02-30T10:03:57Z", None), ("2026-11-30T10:03:57", None), ("", None),
    (None, None), (7, None), ("2026-11-30T10:03:57xZ", None), ("0000-01-01T00:00:00Z", None),
    ("2026-11-30T10:03:57.Z", None)])
def test_times(text: object, number: int | None) -> None:
    nanoseconds("2026-11-30T10:03:57Z")
    assert nanoseconds(text) == number
    assert nanoseconds(text) == number, "known now"


# --- Tetragon -------------------------------------------------------------------------------------------------------

def tetragon(kind: str, **parts: Any) -> dict[str, Any]:
    return {kind: {"process": PROCESS, "parent": PARENT, "ancestors": [GRANDPARENT], **parts}, "node_name": "node-1",
            "time": "2026-11-30T10:03:58Z"}


def test_tetragon_executes() -> None:
    event = one("tetragon", tetragon("process_exec"))
    assert (event.source, event.type, event.at) == ("syscall", "execve", 1796033038000000000)
    expected = {
        "proc.name": "a-name-longer-t", "proc.exepath": "/usr/bin/a-name-longer-than-comm", "proc.args": "-i --x",
        "proc.cmdline": "a-name-longer-t -i --x", "proc.cwd": "/srv/", "proc.pname": "nginx",
        "proc.pcmdline": "nginx -g x", "proc.aname[1]": "nginx", "proc.aname[2]": "containerd-shim",
        "proc.aname[3]": None, "proc.aname": ["nginx", "containerd-shim"], "proc.pid": 52699, "proc.vpid": 49,
        "proc.ppid": 7, "proc.duration": 300_000_000, "proc.env": "A=b C=d", "user.uid": 0, "user.name": "root",
        "user.loginuid": -1, "container.id": CONTAINER[:12], "container.full_id": CONTAINER,
        "container.name": "spaceship", "container.image": "localhost:5000/tgraf/netperf:1.2",
        "container.image.repository": "localhost:5000/tgraf/netperf", "container.image.tag": "1.2",
        "container.image.digest": DIGEST, "container.privileged": True, "container.start_ts": 1796032800000000000,
        "k8s.pod.name": "xwing", "k8s.ns.name": "default", "k8s.pod.uid": "u-1", "evt.hostname": "node-1",
        "thread.cap_permitted": "CAP_CHOWN CAP_DAC_OVERRIDE", "evt.res": "SUCCESS", "evt.rawres": 0,
        "proc.is_exe_from_memfd": False, "proc.tty": None, "fd.name": None, "proc.is_exe_upper_layer": None}
    assert {name: event.fields.get(name) for name in expected} == expected


def test_tetragon_on_the_host() -> None:
    event = one("tetragon", {"process_exec": {"process": {"pid": 4, "uid": 7, "binary": "/bin/id", "flags": "execve",
                                                          "auid": 1000}}, "time": "2026-11-30T10:03:58Z"})
    assert fields(event, "container.id", "container.name", "proc.vpid", "user.name", "user.loginuid",
                  "container.image.repository", "container.privileged", "k8s.pod.name", "proc.pname") == [
        "host", "host", 4, None, 1000, None, None, None, None]


def test_tetragon_memfd_and_processes_of_before() -> None:
    hidden = {**PROCESS, "binary_properties": {"file": {"inode": {"number": "7", "links": 0}, "path": "/memfd:x"}}}
    assert fields(one("tetragon", {"process_exec": {"process": hidden}}), "proc.is_exe_from_memfd") == [True]
    before = {**PROCESS, "flags": "procFS auid"}
    assert made("tetragon")(json.dumps({"process_exec": {"process": before}}).encode()) == ()


@pytest.mark.parametrize(("function", "arguments", "result", "kind", "expected"), [
    ("__x64_sys_openat", [{"int_arg": -100}, {"string_arg": "/etc/passwd"}, {"int_arg": 0o102}], {"int_arg": 5},
     "openat",
     {"fd.name": "/etc/passwd", "fd.directory": "/etc", "fd.filename": "passwd", "fd.num": 5, "evt.is_open_write": True,
      "evt.is_open_read": True, "evt.arg.flags": "O_RDWR|O_CREAT", "evt.rawres": 5, "fd.typechar": "f"}),
    ("sys_openat", [{"string_arg": "/x"}], {"int_arg": -2}, "openat",
     {"fd.name": "/x", "evt.is_open_read": None, "evt.rawres": -2, "evt.failed": True, "fd.num": -2}),
    ("security_file_permission", [{"file_arg": {"path": "/etc/shadow"}}, {"int_arg": 4}], {"int_arg": 0}, "openat",
     {"fd.name": "/etc/shadow", "evt.is_open_read": True, "evt.is_open_write": False, "fd.num": 0}),
    ("security_path_truncate", [{"path_arg": {"path": "/etc/x"}}], None, "openat", {"evt.is_open_write": True}),
    ("fd_install", [{"int_arg": 9}, {"file_arg": {"path": "/a/b"}}], None, "openat",
     {"fd.num": 9, "fd.name": "/a/b", "evt.is_open_write": None}),
    ("tcp_connect", [{"sock_arg": {"family": "AF_INET", "saddr": "10.0.0.7", "daddr": "1.2.3.4", "sport": 40000,
                                   "dport": 443}}], None, "connect",
     {"fd.sip": "1.2.3.4", "fd.sport": 443, "fd.cip": "10.0.0.7", "fd.rip": "1.2.3.4", "fd.lport": 40000,
      "fd.name": "10.0.0.7:40000->1.2.3.4:443", "fd.typechar": "4", "fd.l4proto": "tcp", "fd.is_server": False,
      "fd.ip": ["10.0.0.7", "1.2.3.4"], "fd.connected": True}),
    ("security_socket_connect", [{"sockaddr_arg": {"family": "AF_INET6", "addr": "2001:db8::1", "port": 53}}], None,
     "connect", {"fd.sip": "2001:db8::1", "fd.sport": 53, "fd.cip": None, "fd.typechar": "6", "fd.type": "ipv6"}),
    ("inet_csk_accept", [], {"sock_arg": {"saddr": "10.0.0.7", "sport": 80, "daddr": "9.9.9.9", "dport": 5}}, "accept4",
     {"fd.sip": "10.0.0.7", "fd.cip": "9.9.9.9", "fd.rip": "9.9.9.9", "fd.lport": 80, "fd.is_server": True}),
    ("udp_sendmsg", [{"sock_arg": {"saddr": "10.0.0.7", "sport": 1, "daddr": "8.8.8.8", "dport": 53}}], None, "sendto",
     {"fd.l4proto": "udp", "fd.connected": False, "fd.name_changed": True}),
    ("__arm64_sys_fchmodat", [{"string_arg": "/bin/x"}, {"uint_arg": 0o4755}], None, "fchmodat",
     {"evt.arg.filename": "/bin/x",
      "evt.arg.mode": "S_ISUID|S_IRUSR|S_IWUSR|S_IXUSR|S_IRGRP|S_IXGRP|S_IROTH|S_IXOTH"}),
    ("sys_unshare", [{"int_arg": 0x10000000}], None, "unshare", {"evt.arg.flags": "CLONE_NEWUSER"}),
    ("sys_setns", [{"int_arg": 4}, {"int_arg": 0x20000}], None, "setns", {"evt.arg.fd": 4,
                                                                          "evt.arg.nstype": "CLONE_NEWNS"}),
    ("sys_ptrace", [{"long_arg": "16"}, {"long_arg": 7}], None, "ptrace", {"evt.arg.request": "PTRACE_ATTACH"}),
    ("sys_bpf", [{"bpf_cmd_arg": "BPF_PROG_LOAD"}], None, "bpf", {"evt.arg.cmd": "BPF_PROG_LOAD"}),
    ("sys_symlinkat", [{"string_arg": "/etc/shadow"}, {"string_arg": "/tmp/x"}], None, "symlinkat",
     {"evt.arg.target": "/etc/shadow", "evt.arg.linkpath": "/tmp/x"}),
    ("sys_socket", [{"int_arg": 17}, {"int_arg": 3}], None, "socket", {"evt.arg.domain": "AF_PACKET"}),
    ("sys_setuid", [{"int_arg": 0}], None, "setuid", {"evt.arg.uid": 0}),
    ("do_init_module", [{"module_arg": {"name": "x"}}], None, "finit_module", {"evt.rawres": 0}),
])
def test_tetragon_hooks(function: str, arguments: list[Any], result: Any, kind: str, expected: dict[str, Any]) -> None:
    parts = {"return": result} if result is not None else {}
    event = one("tetragon", tetragon("process_kprobe", function_name=function, args=arguments, **parts))
    assert event.type == kind
    assert {name: event.fields.get(name) for name in expected} == expected
    assert event.fields.get("proc.pname") == "nginx"


def test_tetragon_tracepoints_and_lsm() -> None:
    event = one("tetragon", tetragon("process_tracepoint", subsys="syscalls", event="sys_enter_unlinkat",
                                     args=[{"string_arg": "/var/log/x"}]))
    assert (event.type, event.fields.get("evt.arg.name")) == ("unlinkat", "/var/log/x")
    assert one("tetragon", tetragon("process_lsm", function_name="file_open", args=[
        {"file_arg": {"path": "/etc/x"}}])).fields.get("fd.name") == "/etc/x"
    nothing: Any
    for nothing in (tetragon("process_tracepoint", subsys="raw_syscalls", event="sys_enter", args=[]),
                    tetragon("process_kprobe", function_name="some_function", args=[]),
                    tetragon("process_kprobe", function_name="tcp_connect", args=[{"int_arg": 1}]),
                    tetragon("process_loader", path="/lib/x"), {"process_usdt": {}}, {"test": {}}):
        assert made("tetragon")(json.dumps(nothing).encode()) == ()


@pytest.mark.parametrize(("document", "lost"), [
    ({"rate_limit_info": {"number_of_dropped_process_events": "7"}}, Lost("rate-limit", 7)),
    ({"rate_limit_info": {"number_of_dropped_process_events": 3}}, Lost("rate-limit", 3)),
    ({"rate_limit_info": {}}, Lost("rate-limit", 0)),
    ({"process_throttle": {"type": "THROTTLE_START", "cgroup": "x"}}, Lost("throttle", 0))])
def test_tetragon_losses(document: Any, lost: Lost) -> None:
    assert made("tetragon")(json.dumps(document).encode()) == (lost,)
    assert made("tetragon")(b'{"process_throttle":{"type":"THROTTLE_STOP"}}') == ()


def test_what_nobody_wants_is_left_out() -> None:
    decoder = made("tetragon", frozenset({"connect"}))
    assert decoder(json.dumps(tetragon("process_exec")).encode()) == ()
    assert decoder(b'{"process_exit":{"process":{}},"time":"x"}') == ()
    assert len(made("tetragon")(b'{"process_exit":{"process":{"binary":"/bin/x"}},"time":"x"}')) == 1


# --- Tracee ---------------------------------------------------------------------------------------------------------

def tracee(name: str, result: int = 0, **arguments: Any) -> dict[str, Any]:
    return {"timestamp": 1657290245020855990, "processId": 12, "hostProcessId": 4242, "hostParentProcessId": 4,
            "userId": 0, "processName": "ls", "executable": {"path": "/bin/ls"}, "hostName": "pod",
            "container": {"id": CONTAINER, "name": "web", "image": "nginx:1.25", "imageDigest": f"nginx@{DIGEST}"},
            "kubernetes": {"podName": "web-1", "podNamespace": "shop", "podUID": "u"}, "eventId": "1",
            "eventName": name, "returnValue": result,
            "args": [{"name": key, "type": "x", "value": value} for key, value in arguments.items()]}


def test_tracee_executes() -> None:
    event = one("tracee", tracee("sched_process_exec", pathname="/usr/bin/ls", argv=["ls", "--color", "/etc"],
                                 env=["A=b"], sha256="12ab"))
    assert (event.type, event.at) == ("execve", 1657290245020855990)
    expected = {
        "proc.name": "ls", "proc.exe": "ls", "proc.exepath": "/usr/bin/ls", "proc.args": "--color /etc",
        "proc.cmdline": "ls --color /etc", "proc.env": "A=b", "proc.pid": 4242, "proc.vpid": 12, "proc.ppid": 4,
        "user.uid": 0, "user.name": "root", "container.id": CONTAINER[:12], "container.image.repository": "nginx",
        "container.image.tag": "1.25", "container.image.digest": DIGEST, "k8s.ns.name": "shop",
        "k8s.pod.name": "web-1", "k8s.pod.uid": "u", "custody.exe.sha256": "12ab", "proc.pname": None,
        "proc.aname[2]": None}
    assert {name: event.fields.get(name) for name in expected} == expected
    assert event.fields.get("fd.name") is None


def test_tracee_of_before_0_11() -> None:
    event = one("tracee", {"eventName": "execve", "processName": "sh", "containerId": CONTAINER, "podName": "p",
                           "containerImage": "a/b:1", "containerName": "c", "podNamespace": "n", "podUID": "u",
                           "args": [{"name": "argv", "value": ["sh"]}]})
    assert fields(event, "container.id", "k8s.pod.name", "k8s.ns.name", "k8s.pod.uid", "container.name",
                  "container.image.repository", "proc.cmdline") == [CONTAINER[:12], "p", "n", "u", "c", "a/b", "sh"]


@pytest.mark.parametrize(("document", "kind", "expected"), [
    (tracee("openat", 5, dirfd=-100, pathname="/etc/x", flags=524289), "openat",
     {"fd.name": "/etc/x", "fd.num": 5, "evt.is_open_write": True, "evt.is_open_read": False,
      "evt.arg.flags": "O_WRONLY|O_CLOEXEC", "evt.res": "SUCCESS"}),
    (tracee("openat", -2, pathname="/etc/x", flags="O_RDONLY|O_LARGEFILE"), "openat",
     {"evt.is_open_read": True, "evt.rawres": -2, "evt.res": "ENOENT", "evt.failed": True,
      "evt.arg.flags": "O_RDONLY|O_LARGEFILE"}),
    (tracee("security_file_open", pathname="/etc/x", flags="nonsense"), "openat", {"evt.is_open_read": None}),
    (tracee("security_socket_connect", sockfd=3, type="SOCK_STREAM", remote_addr={
        "sa_family": "AF_INET", "sin_addr": "1.2.3.4", "sin_port": "443"}), "connect",
     {"fd.sip": "1.2.3.4", "fd.sport": 443, "fd.l4proto": "tcp", "fd.num": 3, "fd.typechar": "4"}),
    (tracee("connect", -115, sockfd=3, addr={"sa_family": "AF_INET6", "sin6_addr": "::1", "sin6_port": "53"}),
     "connect", {"fd.sip": "::1", "evt.res": "EINPROGRESS", "fd.typechar": "6"}),
    (tracee("connect", addr={"sa_family": "AF_UNIX", "sun_path": "/var/run/docker.sock"}), "connect",
     {"fd.name": "/var/run/docker.sock", "fd.typechar": "u"}),
    (tracee("net_tcp_connect", dst="9.9.9.9", dst_port=80, dst_dns=[]), "connect", {"fd.sip": "9.9.9.9"}),
    (tracee("accept4", 7, addr={"sin_addr": "9.9.9.9", "sin_port": 50}), "accept4",
     {"fd.cip": "9.9.9.9", "fd.sip": None, "fd.num": 7, "fd.typechar": "4"}),
    (tracee("security_socket_accept", local_addr={"sin_addr": "10.0.0.7", "sin_port": 80}), "accept4",
     {"fd.sip": "10.0.0.7", "fd.sport": 80, "fd.cip": None}),
    (tracee("ptrace", request=16), "ptrace", {"evt.arg.request": "PTRACE_ATTACH"}),
    (tracee("ptrace", request="PTRACE_SEIZE"), "ptrace", {"evt.arg.request": "PTRACE_SEIZE"}),
    (tracee("fchmodat", pathname="/x", mode=0o4000), "fchmodat", {"evt.arg.mode": "S_ISUID"}),
    (tracee("unlinkat", pathname="/x"), "unlinkat", {"evt.arg.name": "/x"}),
    (tracee("security_inode_rename", old_path="/a", new_path="/b"), "rename", {"evt.arg.newpath": "/b"}),
    (tracee("sched_process_exit"), "procexit", {}),
])
def test_tracee_events(document: Any, kind: str, expected: dict[str, Any]) -> None:
    event = one("tracee", document)
    assert event.type == kind
    assert {name: event.fields.get(name) for name in expected} == expected


def test_tracee_losses_and_others() -> None:
    assert made("tracee")(b'{"level":"warn","ts":1,"msg":"Lost 12 events"}') == (Lost("lost", 12),)
    assert made("tracee")(b'{"level":"info","ts":1,"msg":"started"}') == ()
    assert made("tracee")(json.dumps(tracee("cgroup_mkdir")).encode()) == ()
    with pytest.raises(MalformedError, match="no eventName"):
        made("tracee")(b"{}")


# --- audit ----------------------------------------------------------------------------------------------------------

EVENT = {
    "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "a-1",
    "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/default/pods?limit=5", "verb": "create",
    "user": {"username": "admin", "groups": ["system:masters"]}, "impersonatedUser": {"username": "eve"},
    "sourceIPs": ["127.0.0.1"], "userAgent": "kubectl", "objectRef": {
        "resource": "pods", "namespace": "default", "name": "web", "apiVersion": "v1"},
    "responseStatus": {"metadata": {}, "code": 201}, "requestObject": {"spec": {
        "hostNetwork": True, "containers": [{"name": "c", "image": "nginx:1", "securityContext": {"privileged": True}}],
        "volumes": [{"hostPath": {"path": "/etc"}}]}},
    "responseObject": {"metadata": {"name": "web"}}, "requestReceivedTimestamp": "2026-11-30T10:03:57.700326Z",
    "stageTimestamp": "2026-11-30T10:03:57.710326Z", "annotations": {"authorization.k8s.io/decision": "allow"}}
_FIELDS = ("ka.auditid", "ka.stage", "ka.verb", "ka.uri", "ka.uri.param[limit]", "ka.user.name", "ka.user.groups",
           "ka.impuser.name", "ka.target.name", "ka.target.namespace", "ka.target.resource", "ka.target.subresource",
           "ka.response.code", "ka.response.reason", "ka.auth.decision", "ka.auth.reason", "ka.sourceips",
           "ka.req.pod.host_network", "ka.req.pod.containers.image", "ka.req.pod.containers.privileged",
           "ka.req.pod.volumes.hostpath", "ka.resp.name", "ka.useragent", "jevt.value[/stage]",
           "jevt.value[/requestObject/spec/hostNetwork]", "jevt.value[/nothing]", "jevt.rawtime", "evt.rawtime",
           "evt.type", "evt.source", "ka.cluster.name", "ka.nothing")


@pytest.mark.parametrize("changes", [
    {}, {"verb": 7}, {"verb": None}, {"user": None}, {"user": "x"}, {"user": {"username": ["a"]}}, {"objectRef": []},
    {"responseStatus": {"code": "201"}}, {"responseStatus": {}}, {"responseStatus": None}, {"annotations": None},
    {"objectRef": {"name": 5, "subresource": "exec"}}, {"stageTimestamp": 5}, {"requestURI": "not a uri [["}])
@pytest.mark.parametrize("backwards", [False, True])
def test_audit_fields_are_those_of_the_whole_event(changes: Any, backwards: bool) -> None:
    """What is read at once, and late, is what the event says when it is read whole, in whatever order one asks."""
    document = {**EVENT, **changes}
    event, whole = one("audit", document), AuditEvent(document)
    for name in reversed(_FIELDS) if backwards else _FIELDS:
        assert event.fields.get(name) == whole.get(name), name
    assert json.loads(event.fields.get("jevt.obj")) == document


def test_audit_lists() -> None:
    good, bad = EVENT, {**EVENT, "stage": 7}
    listed = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [
        {key: value for key, value in good.items() if key != "kind"}, bad, "x", good]}
    told = made("audit")(json.dumps(listed).encode())
    assert [type(item) for item in told] == [RuntimeEvent, Unread, Unread, RuntimeEvent]
    assert len(made("audit")(json.dumps([good, good]).encode())) == 2
    assert made("audit")(b'{"kind":"EventList","items":null}') == []
    event = told[0]
    assert isinstance(event, RuntimeEvent)
    assert audit.key(event).startswith("a-1/ResponseComplete/")
    for wrong in ({}, {**EVENT, "kind": "Pod"}, {**EVENT, "stage": None}):
        with pytest.raises(MalformedError):
            made("audit")(json.dumps(wrong).encode())


# --- Falco, recordings, clouds ------------------------------------------------------------------------------------

def test_falco_alerts() -> None:
    alert = {"hostname": "n", "output": "10:03:57.700326678: Notice A shell (user=root)", "priority": "Notice",
             "rule": "Terminal shell in container", "source": "syscall", "tags": ["shell"],
             "time": "2026-11-30T10:03:57.700326678Z", "output_fields": {
                 "evt.time": 1796033037700326678, "container.id": "abc", "k8s.pod.name": "web", "user.uid": 0}}
    (told,) = made("falco")(json.dumps(alert).encode())
    assert isinstance(told, Foreign)
    assert told.alert.json() == alert
    (again,) = made("falco")(json.dumps(alert).encode())
    assert isinstance(again, Foreign)
    assert again.key == told.key
    (bare,) = made("falco")(json.dumps({**alert, "output": "A shell", "priority": "info", "uuid": "u"}).encode())
    assert isinstance(bare, Foreign)
    assert (bare.alert.priority, bare.alert.output, bare.key) == ("Informational", "A shell", "u")
    wrong: Any
    for wrong in ({}, {**alert, "priority": "loud"}, {**alert, "rule": ""}, {**alert, "output_fields": []}):
        with pytest.raises(MalformedError):
            made("falco")(json.dumps(wrong).encode())


def test_falco_drops() -> None:
    told = made("falco")(json.dumps({"rule": "Falco internal: syscall event drop", "priority": "Debug", "output": "",
                                     "output_fields": {"n_drops": "1080000"}}).encode())
    assert told[1] == Lost("syscall-drop", 1080000)


def test_recordings() -> None:
    event = one("fields", {"evt.type": "openat", "fd.name": "/etc/x", "evt.rawtime": 7})
    assert (event.source, event.type, event.at, event.fields.get("fd.name")) == ("syscall", "openat", 7, "/etc/x")
    wrong: Any
    for wrong in ({}, {"evt.type": 5}, {"evt.type": "x", "evt.source": "moon"}, [], "x", 7):
        with pytest.raises(MalformedError):
            made("fields")(json.dumps(wrong).encode())


def test_cloudtrail() -> None:
    record = {"eventVersion": "1.08", "eventSource": "signin.amazonaws.com", "eventName": "ConsoleLogin",
              "awsRegion": "us-east-1", "eventTime": "2026-11-30T10:03:57Z", "userIdentity": {
                  "type": "Root", "accountId": "1"}, "eventID": "e"}
    told = made("cloudtrail")(json.dumps({"Records": [record, record]}).encode())
    assert len(told) == 2
    event = told[0]
    assert isinstance(event, RuntimeEvent)
    assert (event.source, event.type, event.fields.get("ct.name")) == ("aws_cloudtrail", "pluginevent", "ConsoleLogin")
    assert made("cloudtrail")(json.dumps({"Records": [record, {}]}).encode())[1] == Unread("another object")
    with pytest.raises(MalformedError, match="another object"):
        made("cloudtrail")(b"{}")
    with pytest.raises(MalformedError):
        made("okta")(json.dumps(record).encode())


# --- hostile bytes --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["tetragon", "tracee", "audit", "falco", "fields", "cloudtrail", "github"])
@pytest.mark.parametrize("data", [
    b"", b"null", b"[]", b"7", b'"x"', b"{", b"\x00", b'{"a":', b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe",
    b'{"process_exec":7}', b'{"kind":"EventList","items":7}', b'{"Records":[7]}', b'{"eventName":7}',
    b'{"process_exec":{"process":{"pid":"x"}}}', b'{"evt.type":"\\ud800"}' * 2, b"9" * 10_000])
def test_what_is_none_is_refused(name: str, data: bytes) -> None:
    try:
        told = made(name)(data)
    except MalformedError:
        return
    assert not any(isinstance(item, RuntimeEvent) for item in told)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\\ud800", b"\xed\xa0\x80"])
def test_a_name_that_is_no_unicode_hides_nothing(name: bytes) -> None:
    """Whoever may choose a file's name must not choose whether his event is judged."""
    line = json.dumps(tetragon("process_kprobe", function_name="fd_install", args=[
        {"int_arg": 3}, {"file_arg": {"path": "/etc/NAME"}}])).encode().replace(b"NAME", name)
    decoder = made("tetragon")
    (event,) = decoder(line)
    assert isinstance(event, RuntimeEvent)
    assert event.fields.get("fd.directory") == "/etc"
    assert event.fields.get("proc.pname") == "nginx"
    event.fields.get("fd.name").encode()
    assert decoder.repairs.count == 1


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"123456789012345678901234567890", b"NaN", b"Infinity"])
def test_a_number_that_is_none_hides_nothing(number: bytes) -> None:
    line = json.dumps({**EVENT, "requestObject": {"spec": {"hostNetwork": True, "x": 777}}}).encode().replace(
        b"777", number)
    (event,) = made("audit")(line)
    assert isinstance(event, RuntimeEvent)
    assert event.fields.get("ka.target.name") == "web"
    assert event.fields.get("ka.req.pod.host_network") == "true"


def test_a_large_event() -> None:
    large = {**EVENT, "responseObject": {"data": "x" * (1 << 20)}}
    event = one("audit", large)
    assert event.fields.get("ka.target.name") == "web"
    assert len(event.fields.get("jevt.value[/responseObject/data]")) == 1 << 20


def test_fields_are_fields_of_falco() -> None:
    """What a format says that it can know is a field that rules can name, custody's own aside."""
    for form in FORMATS.values():
        for name in form.fields or ():
            stem, _, argument = name.partition("[")
            assert name.startswith("custody.") or lookup("syscall", stem, argument.rstrip("]") or None), name
