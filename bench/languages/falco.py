"""Falco rules on synthetic events, on one core: events per second, evaluation only.

    python bench/languages/falco.py [FOLDER]

FOLDER has falco-rules/, falco-plugin-rules/ and falco-k8s-audit/; default $CUSTODY_ORACLES or ../shared/oracles. Falco
itself is not run: its published figure is 250,000 events a second on one CPU with capture and state included.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from policylang import falco

_PROGRAMS = ("bash", "python3", "nginx", "node", "java", "postgres", "redis-server", "containerd-shim", "runc", "curl",
             "sh", "cron", "sshd", "kubelet", "grep")
_FILES = ("/etc/ld.so.cache", "/lib/x86_64-linux-gnu/libc.so.6", "/proc/self/status", "/var/log/app.log", "/etc/passwd",
          "/usr/lib/python3/json/__init__.py", "/app/config.yaml", "/tmp/work.tmp", "/etc/hosts", "/dev/null",
          "/sys/fs/cgroup/memory.max", "/var/lib/postgresql/base/1/1247", "/home/app/.cache/x", "/usr/bin/env")


def event(kind: str, chance: random.Random) -> dict[str, Any]:
    """About 45 fields, as an agent fills them for a container's process."""
    name, parent = chance.choice(_PROGRAMS), chance.choice(_PROGRAMS)
    file = chance.choice(_FILES)
    inside = chance.random() < 0.8
    found: dict[str, Any] = {
        "evt.num": 1234, "evt.type": kind, "evt.rawtime": 1_700_000_000_000_000_000, "evt.res": "SUCCESS",
        "evt.rawres": 0, "evt.failed": False, "evt.dir": "<", "evt.is_open_read": False, "evt.is_open_write": False,
        "evt.is_open_exec": False, "evt.arg.flags": "O_RDONLY|O_CLOEXEC", "proc.name": name,
        "proc.exe": f"/usr/bin/{name}", "proc.exepath": f"/usr/bin/{name}", "proc.pname": parent, "proc.pexe": parent,
        "proc.pexepath": f"/usr/bin/{parent}",
        "proc.args": "--config /app/config.yaml -v", "proc.cmdline": f"{name} --config /app/config.yaml -v",
        "proc.pcmdline": f"{parent} run", "proc.aname": [parent, "containerd-shim", "systemd"],
        "proc.aname[2]": "containerd-shim", "proc.aname[3]": "systemd", "proc.cwd": "/app/", "proc.tty": 0,
        "proc.pid": 4242, "proc.ppid": 1, "proc.vpid": 42, "proc.sid": 1, "proc.sname": parent,
        "proc.duration": 60_000_000_000, "proc.is_exe_upper_layer": False, "proc.is_exe_from_memfd": False,
        "proc.is_exe_writable": False, "proc.env": "PATH=/usr/bin HOME=/root", "thread.cap_permitted": "CAP_CHOWN",
        "thread.cap_effective": "CAP_CHOWN", "user.name": "app", "user.uid": 1000, "user.loginuid": -1,
        "user.loginname": "<NA>", "group.gid": 1000, "group.name": "app",
        "container.id": "3ad7b26ded6d" if inside else "host", "container.name": "app" if inside else "host",
        "container.image.repository": "registry.example.com/app" if inside else None,
        "container.image.tag": "1.2" if inside else None, "container.privileged": False if inside else None}
    if kind == "openat":
        write = chance.random() < 0.15
        found |= {"evt.is_open_read": not write, "evt.is_open_write": write, "fd.name": file, "fd.nameraw": file,
                  "fd.directory": file.rpartition("/")[0], "fd.filename": file.rpartition("/")[2], "fd.num": 5,
                  "fd.typechar": "f", "fd.type": "file"}
    elif kind == "connect":
        server = f"10.0.{chance.randrange(8)}.{chance.randrange(1, 250)}"
        found |= {"fd.name": f"10.0.0.7:4000->{server}:443", "fd.typechar": "4", "fd.type": "ipv4", "fd.l4proto": "tcp",
                  "fd.cip": "10.0.0.7", "fd.sip": server, "fd.lip": "10.0.0.7", "fd.rip": server, "fd.cport": 4000,
                  "fd.sport": 443, "fd.lport": 4000, "fd.rport": 443, "fd.connected": True, "fd.name_changed": False,
                  "fd.sip.name": None, "fd.num": 7}
    return found


def stream(size: int = 2000) -> list[tuple[str, dict[str, Any]]]:
    """85 % openat, 5 % execve, 10 % connect."""
    chance = random.Random(7)
    kinds = ["openat"] * 85 + ["execve"] * 5 + ["connect"] * 10
    return [(kind, event(kind, chance)) for kind in chance.choices(kinds, k=size)]


def rate(run: Callable[[], Any], events: int, rounds: int = 7) -> float:
    run()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return events / median(times)


def through(matcher: falco.Matcher, events: Iterable[tuple[str, dict[str, Any]]]) -> int:
    return sum(len(matcher(kind, each)) for kind, each in events)


def main(folder: Path) -> None:
    rules = folder / "falco-rules" / "rules"
    names = ["falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"]
    texts = {name: (rules / name).read_text() for name in names}
    start = time.process_time()
    every = falco.load(texts)
    loaded = time.process_time() - start
    start = time.process_time()
    matcher = every.compile("syscall")
    events = stream()
    for kind in ("openat", "execve", "connect"):
        matcher(kind, next(each for name, each in events if name == kind))
    print(f"load {len(every.rules)} rules {loaded * 1e3:.0f} ms, compile for 3 event types "
          f"{(time.process_time() - start) * 1e3:.0f} ms")
    enabled = "".join(f"- rule: {json.dumps(rule.name)}\n  enabled: true\n  override: {{enabled: replace}}\n"
                      for rule in every.rules if not rule.enabled)
    stable = {names[0]: texts[names[0]]}
    for label, chosen in (("stable", stable), ("all", texts), ("all, enabled", {**texts, "enabled": enabled})):
        asked = falco.load(chosen).compile("syscall")
        print(f"{label}: {len(asked.rules)} rules, {through(asked, events)} alerts of {len(events)} events")
        for kind in ("openat", "execve", "connect"):
            own = [each for each in events if each[0] == kind]
            print(f"  {kind:8} {rate(lambda own=own, asked=asked: through(asked, own), len(own)):12,.0f}/s")
        print(f"  {'mixed':8} {rate(lambda asked=asked: through(asked, events), len(events)):12,.0f}/s")
    audit = folder / "falco-plugin-rules" / "plugins" / "k8saudit" / "rules" / "k8s_audit_rules.yaml"
    recordings = [("pluginevent", each) for file in sorted((folder / "falco-k8s-audit").rglob("trace_files/**/*.json"))
                  for line in file.read_text().splitlines() for each in _events(line)]
    asked = falco.load({audit.name: audit.read_text()}).compile("k8s_audit")
    print(f"k8s_audit: {len(asked.rules)} rules, {through(asked, recordings)} alerts of {len(recordings)} recordings")
    print(f"  {'mixed':8} {rate(lambda: through(asked, recordings), len(recordings), 31):12,.0f}/s, with their outputs")


def _events(line: str) -> list[dict[str, Any]]:
    try:
        return falco.events(json.loads(line))
    except ValueError:
        return []


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CUSTODY_ORACLES", "../shared/oracles")))
