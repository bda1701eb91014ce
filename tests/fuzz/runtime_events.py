"""Hostile bytes as events: `python -m tests.fuzz.runtime_events [N]`.

Events of all formats with bytes and values changed: each line is refused as malformed, or gives events whose every
field can be asked for and told. Nothing else is raised, nothing takes long, and what stands beside it is judged.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

from custody.errors import MalformedError
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.inputs import FORMATS, Decoder
from custody.formats.telemetry.told import Foreign, Lost, Unread
from custody.runtime.alertlines import line
from custody.runtime.counted import Counted
from custody.runtime.engine import Engine, Record, Rules
from custody.runtime.event import Place
from policylang import falco

_RULES = """\
- rule: all of it
  desc: d
  condition: evt.type exists
  output: "%evt.time %proc.name %proc.cmdline %fd.name %fd.rip %container.image.repository %k8s.pod.name %proc.aname[2]"
  priority: DEBUG
- rule: by values
  desc: d
  condition: >
    proc.name = x or proc.cmdline contains sh or fd.name startswith /etc or fd.snet = "10.0.0.0/8" or evt.rawres > 5
    or evt.arg.flags contains O_RDWR or fd.ip = "1.1.1.1" or fd.sport > 80 or user.loginuid = -1 or user.uid >= 7
    or proc.aname in (a, b) or container.image.digest endswith x or proc.is_exe_from_memfd = true
  output: "%proc.args"
  priority: DEBUG
- rule: audit
  desc: d
  condition: ka.verb exists or ka.user.name exists or ka.req.pod.containers.image intersects (x)
  output: "%ka.verb %ka.target.name %ka.req.role.rules %jevt.value[/user/groups/0] %ka.req.pod.volumes.hostpath %jevt.obj"
  priority: DEBUG
  source: k8s_audit
"""
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 63, 1 << 70, -(1 << 70), 1e308, "", "x" * 5000, "\x00", "\u202e", "\ud800", "é", [], {}, [[]],
    {"a": {}}, "AF_INET", "1.2.3.4", "::", "99999", ["a", 1, None], {"sin_addr": [], "sin_port": {}}, "9" * 400)
SECONDS = 2.0
"""For one line, on a machine that does other things too."""


def _seeds() -> dict[str, list[Any]]:
    process = {"pid": 4, "uid": 0, "cwd": "/", "binary": "/bin/sh", "arguments": "-c x", "flags": "execve",
               "start_time": "2026-11-30T10:03:57Z", "auid": 4294967295, "docker": "abc", "pod": {
                   "namespace": "n", "name": "p", "uid": "u", "container": {
                       "id": "containerd://abc", "image": {"id": "x@sha256:a", "name": "x:1"}, "pid": 5}},
               "cap": {"permitted": ["CAP_X"]}, "binary_properties": {"file": {"path": "memfd:"}}}
    kprobes = [("tcp_connect", [{"sock_arg": {"saddr": "1.1.1.1", "daddr": "2.2.2.2", "sport": 1, "dport": 2}}]),
               ("__x64_sys_openat", [{"int_arg": 1}, {"string_arg": "/x"}, {"int_arg": 577}]),
               ("security_file_permission", [{"file_arg": {"path": "/x"}}, {"int_arg": 4}]),
               ("sys_ptrace", [{"long_arg": "16"}]), ("security_socket_connect", [{"sockaddr_arg": {
                   "family": "AF_INET", "addr": "1.1.1.1", "port": 5}}])]
    traced: list[tuple[str, dict[str, Any]]] = [("sched_process_exec", {"pathname": "/x", "argv": ["x"], "env": ["a=b"]}),
              ("openat", {"pathname": "/x", "flags": 577}), ("openat", {"pathname": "/x", "flags": "O_RDWR|O_CREAT"}),
              ("connect", {"sockfd": 3, "addr": {"sin_addr": "1.1.1.1", "sin_port": "80"}}),
              ("accept4", {"addr": {"sin6_addr": "::1", "sin6_port": 80}}), ("fchmodat", {"pathname": "x", "mode": 3}),
              ("ptrace", {"request": 16}), ("security_socket_connect", {"type": "SOCK_STREAM", "remote_addr": {}})]
    audit = {"kind": "Event", "auditID": "a", "stage": "ResponseComplete", "verb": "create", "user": {
        "username": "x", "groups": ["g"]}, "objectRef": {"resource": "pods", "name": "x", "subresource": "exec"},
        "requestURI": "/x?a=b", "responseStatus": {"code": 201}, "stageTimestamp": "2026-11-30T10:03:57Z",
        "requestObject": {"spec": {"containers": [{"image": "x", "securityContext": {"privileged": True}}], "volumes": [
            {"hostPath": {"path": "/"}}]}, "rules": [{"verbs": ["*"]}]}, "annotations": {"a": "b"}}
    return {
        "tetragon": [{"process_exec": {"process": process, "parent": process, "ancestors": [process]}, "time": "x"},
                     *({"process_kprobe": {"process": process, "function_name": name, "args": arguments,
                                           "return": {"int_arg": 0}}, "time": "2026-11-30T10:03:57Z"}
                       for name, arguments in kprobes),
                     {"rate_limit_info": {"number_of_dropped_process_events": "7"}}],
        "tracee": [{"eventName": name, "timestamp": 5, "userId": 0, "processName": "x", "returnValue": 0, "container": {
            "id": "abc", "image": "x:1"}, "args": [{"name": key, "value": value} for key, value in arguments.items()]}
            for name, arguments in traced],
        "audit": [audit, {"kind": "EventList", "items": [audit, audit]}],
        "falco": [{"rule": "x", "priority": "Notice", "output": "1: Notice x", "time": "2026-11-30T10:03:57Z",
                   "output_fields": {"evt.time": 5, "container.id": "abc"}, "tags": ["a"], "source": "syscall"}],
        "fields": [{"evt.type": "execve", "proc.name": "x", "fd.sip": "1.1.1.1", "evt.rawtime": 5}],
        "cloudtrail": [{"Records": [{"eventSource": "a.amazonaws.com", "eventName": "x", "userIdentity": {
            "type": "Root"}, "eventTime": "2026-11-30T10:03:57Z"}]}],
        "github": [{"webhook_type": "push", "repository": {"name": "x"}, "headers": {}}]}


def changed(value: Any, chance: random.Random) -> Any:
    """The same document with something in it that is another."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        if chance.random() < 0.08:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: changed(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        return [*value[:place], changed(value[place], chance), *value[place + 1:]]
    return chance.choice(_VALUES)


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """Bytes that are cut, flipped, doubled or put in."""
    how = chance.randrange(6)
    place = chance.randrange(len(data) + 1)
    if how == 0:
        return data[:place]
    if how == 1:
        return data[:place] + bytes([chance.randrange(256)]) + data[place + 1:]
    if how == 2:
        return data[:place] + data[place - chance.randrange(30):place] + data[place:]
    if how == 3:
        return data[:place] + chance.choice((b"\x00", b"\xff\xfe", b"\\ud800", b"1e999", b"[" * 500, b"\xed\xa0\x80",
                                             b"9" * 300, b'"', b"{", b"null")) + data[place:]
    if how == 4:
        return data + data
    return data


def told(decoder: Decoder, engine: Engine, data: bytes) -> int:
    """How many events came of it; all that is known of each is asked for."""
    try:
        items = decoder(data)
    except MalformedError:
        return 0
    for item in items:
        assert isinstance(item, (RuntimeEvent, Foreign, Lost, Unread))
        for record in engine.records(item, "k"):
            written = line(record)
            assert b"\n" not in written.json
            assert "\n" not in written.text
            json.loads(written.json)
        if isinstance(item, RuntimeEvent):
            for name in ("proc.name", "fd.name", "proc.aname[3]", "ka.req.pod.containers.image", "jevt.value[/user]"):
                item.fields.get(name)
            Place.of(item.fields)
        if isinstance(item, Foreign):
            line(Record("k", item.alert, Place()))
    return len(items)


def main(rounds: int, seed: int = 0) -> None:
    chance = random.Random(seed)
    engine = Engine(Rules(falco.load(_RULES), "all"), Counted())
    seeds = _seeds()
    events = 0
    for number in range(rounds):
        name = chance.choice(list(seeds))
        document = chance.choice(seeds[name])
        for _ in range(chance.randrange(4)):
            document = changed(document, chance)
        data = json.dumps(document).encode()
        for _ in range(chance.randrange(3)):
            data = spoilt(data, chance)
        decoder = FORMATS[name].made(name, FORMATS[name].types or frozenset())
        start = time.process_time()
        try:
            events += told(decoder, engine, data)
        except Exception:
            print(f"round {number}, {name}: {data[:2000]!r}", file=sys.stderr)
            raise
        assert time.process_time() - start < SECONDS, data[:500]
    print(f"{rounds} lines, {events} events, {sum(engine.counted.unjudged.values())} not judged")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
