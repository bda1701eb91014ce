"""From JSON bytes to judged events, on one core: decoding, fields, 93 rules; events per second of process time.

    python bench/runtime/endtoend.py [FOLDER]

FOLDER has falco-rules/, falco-plugin-rules/ and falco-k8s-audit/; default $CUSTODY_ORACLES or ../shared/oracles. Lines
are made up as the tools write them; audit events are the recordings, and small ones of a quiet cluster.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.languages.falco import event, rate

from custody.formats.telemetry.inputs import FORMATS
from custody.runtime.counted import Counted
from custody.runtime.engine import Engine, Rules
from custody.runtime.folding import Folding
from custody.runtime.losses import Losses
from custody.services.eventwatch import EventWatch
from policylang import falco

_BINARIES = ("/usr/sbin/nginx", "/usr/bin/python3.11", "/usr/local/bin/node", "/usr/bin/java", "/usr/bin/redis-server",
             "/usr/bin/env", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/containerd")
_CAPABILITIES = ["CAP_CHOWN", "DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
                 "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE"]


def process(chance: random.Random, binary: str) -> dict[str, Any]:
    identifier = f"{chance.getrandbits(256):064x}"
    return {
        "exec_id": f"bm9kZS0xOjEzNTQ4Njc0MzIx{chance.getrandbits(60)}", "pid": chance.randrange(1, 1 << 20),
        "uid": 1000, "cwd": "/app", "binary": binary, "arguments": "--config /app/config.yaml -v",
        "flags": "execve clone", "start_time": "2026-11-30T10:03:57.700327580Z",
        "auid": 4294967295, "pod": {
            "namespace": "shop", "name": "web-7d4b9c6f5-x2x7k", "uid": "0b3d0a3c-2d07-4b6e-9d62-0d2d8a1f3c55",
            "container": {"id": f"containerd://{identifier}", "name": "web", "image": {
                "id": f"registry.example/web@sha256:{identifier}", "name": "registry.example/web:1.4"},
                "start_time": "2026-11-30T09:52:41Z", "pid": 49},
            "pod_labels": {"app": "web", "pod-template-hash": "7d4b9c6f5"}, "workload": "web",
            "workload_kind": "Deployment"},
        "docker": identifier[:31], "parent_exec_id": f"bm9kZS0xOjEzNTQ4Njc0MzIx{chance.getrandbits(60)}", "refcnt": 1,
        "cap": {"permitted": _CAPABILITIES, "effective": _CAPABILITIES}, "tid": 52699, "in_init_tree": True}


def executions(size: int) -> list[bytes]:
    """Tetragon's process_exec, about 2 KB each."""
    chance = random.Random(7)
    return [json.dumps({"process_exec": {"process": process(chance, chance.choice(_BINARIES)),
                                         "parent": process(chance, chance.choice(_BINARIES))},
                        "node_name": "node-1", "time": f"2026-11-30T10:03:{number % 60:02}.{number:09}Z"},
                       separators=(",", ":")).encode() for number in range(size)]


def connections(size: int) -> list[bytes]:
    chance = random.Random(8)
    return [json.dumps({"process_kprobe": {
        "process": process(chance, chance.choice(_BINARIES)), "parent": process(chance, chance.choice(_BINARIES)),
        "function_name": "tcp_connect", "args": [{"sock_arg": {
            "family": "AF_INET", "type": "SOCK_STREAM", "protocol": "IPPROTO_TCP", "saddr": "10.0.0.7",
            "daddr": f"10.0.{chance.randrange(8)}.{chance.randrange(250)}", "sport": 40000, "dport": 443,
            "cookie": "18446616", "state": "TCP_SYN_SENT"}}], "action": "KPROBE_ACTION_POST", "policy_name": "connect"},
        "node_name": "node-1", "time": "2026-11-30T10:03:57.700326678Z"}, separators=(",", ":")).encode()
        for _ in range(size)]


def traced(size: int) -> list[bytes]:
    """Tracee's openat."""
    chance = random.Random(9)
    return [json.dumps({
        "timestamp": 1796033037000000000 + number, "threadStartTime": 1796033036000000000, "processorId": 1,
        "processId": 12, "cgroupId": 5247, "threadId": 12, "parentProcessId": 1, "hostProcessId": 4242,
        "hostThreadId": 4242, "hostParentProcessId": 4000, "userId": 1000, "mountNamespace": 4026532300,
        "pidNamespace": 4026532301, "processName": "nginx", "executable": {"path": "/usr/sbin/nginx"},
        "hostName": "web-7d4b9c6f5-x2x7k", "containerId": "551e161c47d8", "container": {
            "id": "551e161c47d8", "name": "web", "image": "registry.example/web:1.4"}, "kubernetes": {
            "podName": "web-7d4b9c6f5-x2x7k", "podNamespace": "shop", "podUID": "0b3d"}, "eventId": "257",
        "eventName": "openat", "matchedPolicies": ["default"], "argsNum": 4, "returnValue": 5, "syscall": "openat",
        "stackAddresses": [0], "contextFlags": {"containerStarted": True, "isCompat": False}, "args": [
            {"name": "dirfd", "type": "int", "value": -100},
            {"name": "pathname", "type": "const char*", "value": chance.choice(("/etc/hosts", "/app/x", "/tmp/y"))},
            {"name": "flags", "type": "int", "value": 524288}, {"name": "mode", "type": "mode_t", "value": 0}]},
        separators=(",", ":")).encode() for number in range(size)]


def recorded(size: int) -> list[bytes]:
    """Falco's field names, about 45 of them: 85 % openat, 5 % execve, 10 % connect."""
    chance = random.Random(7)
    kinds = chance.choices(["openat"] * 85 + ["execve"] * 5 + ["connect"] * 10, k=size)
    return [json.dumps(event(kind, chance), separators=(",", ":")).encode() for kind in kinds]


def reads(size: int) -> list[bytes]:
    """Audit events of what a quiet cluster does: leases, lists, gets."""
    chance = random.Random(11)
    lines = []
    for number in range(size):
        verb, resource = chance.choice((("get", "leases"), ("update", "leases"), ("list", "pods"), ("watch", "nodes")))
        lines.append(json.dumps({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
            "auditID": f"{chance.getrandbits(128):032x}", "stage": "ResponseComplete",
            "requestURI": f"/apis/coordination.k8s.io/v1/namespaces/kube-system/{resource}/x?timeout=10s", "verb": verb,
            "user": {"username": "system:kube-controller-manager", "groups": ["system:authenticated"]},
            "sourceIPs": ["10.0.0.1"], "userAgent": "kube-controller-manager/v1.34.3", "objectRef": {
                "resource": resource, "namespace": "kube-system", "name": "x", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 200},
            "requestReceivedTimestamp": "2026-11-30T10:03:57.700326Z",
            "stageTimestamp": f"2026-11-30T10:{number // 60 % 60:02}:{number % 60:02}.700326Z",
            "annotations": {"authorization.k8s.io/decision": "allow"}}, separators=(",", ":")).encode())
    return lines


def watching(texts: dict[str, str]) -> EventWatch:
    counted = Counted()
    engine = Engine(Rules(falco.load(texts)), counted)
    return EventWatch(engine, Folding(counted), Losses(counted), None)  # type: ignore[arg-type]  # nothing is delivered


def measure(watch: EventWatch, name: str, lines: list[bytes]) -> tuple[float, int]:
    """Events per second, and alerts."""
    decoder = FORMATS[name].made(name, watch.engine.types)
    alerts: list[int] = []

    def run() -> None:
        watch._events.clear()
        alerts.append(len(watch.take(decoder, lines, name, "k").records))

    run_: Callable[[], None] = run
    return rate(run_, len(lines), rounds=5), alerts[-1]


def main(folder: Path) -> None:
    rules = folder / "falco-rules" / "rules"
    names = ["falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"]
    audit = folder / "falco-plugin-rules" / "plugins" / "k8saudit" / "rules" / "k8s_audit_rules.yaml"
    watch = watching({**{name: (rules / name).read_text() for name in names}, audit.name: audit.read_text()})
    print(f"{watch.engine.rules.count} rules")
    recordings = [line.encode() for file in sorted((folder / "falco-k8s-audit").rglob("trace_files/**/*.json"))
                  for line in file.read_text().splitlines() if line.strip()]
    for label, name, lines in (
            ("Tetragon exec", "tetragon", executions(2000)), ("Tetragon connect", "tetragon", connections(2000)),
            ("Tracee openat", "tracee", traced(2000)), ("Falco's fields", "fields", recorded(2000)),
            ("audit, quiet", "audit", reads(2000)), ("audit, recordings", "audit", recordings)):
        each, alerts = measure(watch, name, lines)
        size = sum(map(len, lines)) / len(lines)
        print(f"  {label:18} {each:10,.0f}/s   {size:6,.0f} bytes   {each * size / 1e6:6,.0f} MB/s   {alerts} alerts")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CUSTODY_ORACLES", "../shared/oracles")))
