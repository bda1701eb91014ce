"""Files around Falco's rules that mean harm: suppressions, tests, responses, artifacts, recordings, and the rules.

usage: python -m tests.fuzz.runtime_rules [COUNT] [SEED]

Real documents, mutated, cut and put into each other. Each reader must give what it reads or a CustodyError with words;
what it gives must be usable: suppressions are asked of alerts, responses matched, recorded events judged. Whatever rule
loads, nothing that is proved of it is refuted by an event. Prints how many did what.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.formats import falcotests, suppressions, talon, yaml
from custody.runtime.event import Place
from custody.runtime.responses import Responses
from custody.runtime.rulelint import lint
from custody.runtime.ruletrial import Trial
from custody.runtime.suppressions import Suppressions
from custody.services import falcorules
from custody.services.recordings import Recordings
from policylang.falco import Alert
from policylang.falco.analysis import never

_RULES = b"""
- list: shells
  items: [bash, sh]
- macro: shell
  condition: proc.name in (shells)
- rule: Shell
  desc: d
  condition: evt.type = execve and shell and not (fd.num > 3 and user.uid < 2) and not proc.pname = val(proc.name)
  output: "%proc.name %user.name"
  priority: WARNING
  exceptions: [{name: e, fields: [proc.cmdline, user.name], comps: [startswith, =], values: [[a, b]]}]
- rule: Audit
  desc: d
  source: k8s_audit
  condition: ka.verb in (get, list) and ka.target.resource = secrets and json.value[/user/username] != x
  output: "%ka.user.name"
  priority: INFO
"""
_SUPPRESSIONS = b"""
suppressions:
- name: s
  rules: [Shell, "Au*"]
  match: proc.name = bash and not user.uid in (1, 2) and custody.signed = true
  reason: r
  owner: o
  until: 2027-01-01
- {name: t, rules: ["*"], match: fd.num > 3, reason: r, owner: o, until: never, source: syscall}
"""
_TALON = b"""
- action: kill
  actionner: kubernetes:terminate
  parameters: {grace_period_seconds: 5, ignore_daemonsets: true}
- rule: r
  match: {rules: [Shell], priority: ">=Notice", tags: ["a, b"], output_fields: ["proc.name=bash, user.name!=x"]}
  actions:
  - action: kill
  - {action: mark, actionner: kubernetes:label, parameters: {labels: {a: b, c: ""}}, continue: "false"}
  - {action: cut, actionner: custody:quarantine, parameters: {method: labels}}
  notifiers: [k8sevents]
"""
_TESTS = b"""
rules: [rules.yaml]
match: all
tests:
- {name: t, event: {evt.type: execve, proc.name: bash},
   alerts: [{rule: Shell, count: 2, output_fields: {proc.name: bash}}]}
- {name: u, events: [{evt.type: open}], recordings: [a.jsonl], rules: [Shell], alerts: []}
"""
_LINES = [json.dumps(document).encode() for document in (
    {"evt.type": "execve", "proc.name": "bash", "fd.num": 3, "user.uid": 0, "proc.pname": "sh"},
    {"process_exec": {"process": {"binary": "/bin/bash", "pid": 1, "arguments": "-c x"}},
     "time": "2026-01-01T00:00:00Z"},
    {"timestamp": 1, "processName": "bash", "processId": 1, "eventName": "execve", "returnValue": 0,
     "args": [{"name": "pathname", "type": "string", "value": "/bin/sh"}]},
    {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "ResponseComplete", "auditID": "1", "verb": "get",
     "user": {"username": "ann"}, "objectRef": {"resource": "secrets"}},
    {"eventSource": "s3.amazonaws.com", "eventName": "GetObject", "userIdentity": {"type": "Root"},
     "resources": [{}], "requestParameters": {"bucketName": "b", "key": "k"}},
    {"protoPayload": {"methodName": "m", "serviceName": "s"}, "resource": {"type": "gcs_bucket", "labels": {}}},
    {"webhook_type": "push", "commits": [{"added": ["a"]}], "files": [{"name": "f", "matches": [{"line": 1}]}]},
    {"eventType": "user.mfa.okta_verify.deny_push", "actor": {"id": "a"}, "published": "2026-01-01T00:00:00Z"},
    {"rule": "Shell", "priority": "Notice", "output": "o", "output_fields": {"evt.type": "execve", "proc.name": "sh"}})]
_HOSTILE: tuple[Any, ...] = (
    None, -1, 0, 1 << 70, 1e308, "", "\u0000", "\u202ex", "9" * 5000, [], {}, [[[[]]]], True, "\ud800",
    "::add-mask::x")
_WORDS = (b"- ", b": ", b"[", b"]", b"{", b"}", b"'", b'"', b"\n", b"&a ", b"*a", b"!!python/object:x ", b"never",
          b"not ", b"and", b"(", b")", b"%", b"\\", b"proc.name", b"evt.num=0", b"custody.x", b"\xff", b"2026-13-01",
          b"val(",
          b"<<: ")


def mutate(document: bytes, others: list[bytes], chance: random.Random) -> bytes:
    changed = bytearray(document)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) or 1)
        kind = chance.randrange(5)
        if kind == 0 and changed:
            changed[at] = chance.randrange(256)
        elif kind == 1:
            del changed[at:at + chance.randint(1, 30)]
        elif kind == 2:
            other = chance.choice(others)
            start = chance.randrange(len(other))
            changed[at:at] = other[start:start + chance.randint(1, 60)]
        elif kind == 3:
            changed[at:at] = chance.choice(_WORDS)
        else:
            lines = bytes(changed).split(b"\n")
            chance.shuffle(lines) if chance.random() < 0.1 else lines.insert(
                chance.randrange(len(lines) + 1), chance.choice(chance.choice(others).split(b"\n")))
            changed = bytearray(b"\n".join(lines))
    return bytes(changed)


_TOKENS = ("proc.name = bash", "proc.name in (bash, sh)", "not", "and", "or", "(", ")", "fd.num > 3", "fd.num < 2",
           "shell", "user.uid = 0", "evt.type = open", "evt.num = 0", "custody.signed = true",
           "proc.name startswith b", "exists", "val(proc.pname)", "proc.aname = sh", "fd.num in (1, 2)",
           "fd.num != 3", "user.name = a", "proc.cmdline glob *")
_CONDITIONS = ("proc.name = bash and not proc.name in (sh, bash)", "fd.num > 3 and (user.uid = 0 or fd.num < 2)",
               "evt.type = execve and proc.name startswith b and not proc.name = bash", "not proc.name exists",
               "custody.signed = false or fd.num in (1, 2)", "proc.name = val(proc.pname) and proc.name != sh")


def mutate_values(document: bytes, chance: random.Random) -> bytes:
    """Other values at places of the document, which stays one of its language."""
    tree = yaml.documents(document, "seed")[0]
    for _ in range(chance.randint(1, 2)):
        room: Any = tree
        while tree:
            at = chance.choice(list(room) if isinstance(room, dict) else range(len(room)))
            if isinstance(room[at], (dict, list)) and room[at] and chance.random() < 0.85:
                room = room[at]
                continue
            break
        if not tree:
            break
        if at in ("match", "condition") and isinstance(room[at], str):
            room[at] = chance.choice(_CONDITIONS) if chance.random() < 0.6 else " ".join(
                chance.choices(_TOKENS, k=chance.randint(1, 6)))
        elif chance.random() < 0.2:
            del room[at]
        else:
            room[at] = chance.choice([value for value in _HOSTILE if value != "\ud800"])
    return yaml.dumped(tree).encode()


def mutate_line(line: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return mutate(line, _LINES, chance)
    document = json.loads(line)
    for _ in range(chance.randint(1, 3)):
        room: Any = document
        while True:
            name = chance.choice(list(room))
            if isinstance(room[name], dict) and room[name] and chance.random() < 0.7:
                room = room[name]
                continue
            break
        room[name] = chance.choice(_HOSTILE)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _suppress(data: bytes) -> None:
    asked = Suppressions(suppressions.read(data, "s.yaml"), lambda: datetime(2026, 6, 1, tzinfo=UTC))
    for fields in ({"proc.name": "bash", "user.uid": 0, "custody.signed": True}, {"fd.num": 4}, {"fd.num": "x"}, {}):
        alert = Alert("Shell", "Warning", "syscall", "o", fields)
        if asked(alert, Place()) is not None and not fields:
            raise AssertionError("an alert without fields is suppressed")
    list(asked.remarks(falcorules.compiled({"r.yaml": _RULES}).rules))


def _respond(data: bytes) -> None:
    responses = Responses(talon.read(data, "r.yaml"))
    for fields in ({"proc.name": "bash", "user.name": "y"}, {}):
        responses.of(Alert("Shell", "Warning", "syscall", "o", fields, ("a", "b")))


def _rules(data: bytes) -> None:
    ruleset = falcorules.compiled({"r.yaml": data})
    list(lint(ruleset, match="first"))
    dead = {rule.name for rule in ruleset.rules if never(rule.condition) is not None}
    for name in ("execve", "open"):
        for event in ({"proc.name": "bash", "fd.num": 3, "user.uid": 0, "proc.pname": "sh"}, {"proc.name": "a"}, {}):
            matched = ruleset.compile(match="all").matched(name, event)
            if dead & {*matched}:
                raise AssertionError(f"{dead & {*matched}}: never true, and true of {event}")


def _artifact(data: bytes) -> None:
    falcorules.unpacked(data, "layer")


def _record(data: bytes) -> None:
    trial = Trial(falcorules.compiled({"r.yaml": _RULES}), "all")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.jsonl"
        path.write_bytes(data)
        for event in Recordings([path]):
            for alert in trial(event):
                json.dumps(alert.json())


_READERS: dict[str, tuple[Callable[[bytes], None], bytes]] = {
    "suppressions": (_suppress, _SUPPRESSIONS), "responses": (_respond, _TALON), "rules": (_rules, _RULES),
    "tests": (lambda data: (falcotests.read(data, "t.yaml"), None)[1], _TESTS)}


def cases(count: int, seed: int) -> Iterator[tuple[str, Callable[[bytes], None], bytes]]:
    chance = random.Random(seed)
    texts = [text for _, text in _READERS.values()]
    _, archive = falcorules.archived({"a.yaml": _RULES, "b.yaml": _RULES})
    plain = gzip.decompress(archive)
    for _ in range(count):
        name = chance.choice((*_READERS, "artifact", "recording", "recording"))
        if name == "artifact":
            data = mutate(archive, [archive], chance) if chance.random() < 0.2 else gzip.compress(
                mutate(plain, [plain], chance), 1)
            yield name, _artifact, data
        elif name == "recording":
            lines = [mutate_line(chance.choice(_LINES), chance) for _ in range(chance.randint(1, 5))]
            yield name, _record, b"\n".join(lines)
        else:
            reader, text = _READERS[name]
            yield name, reader, mutate_values(text, chance) if chance.random() < 0.7 else mutate(text, texts, chance)


def main(count: int = 5000, seed: int = 1) -> int:
    done: Counter[str] = Counter()
    for number, (name, reader, data) in enumerate(cases(count, seed)):
        try:
            reader(data)
            done[f"{name} read"] += 1
        except CustodyError as error:
            if not error.message:
                raise AssertionError("an error without words") from None
            done[f"{name} refused"] += 1
        except Exception:
            print(f"case {number} of seed {seed}: {name}: {data!r}", file=sys.stderr)
            raise
    print(", ".join(f"{what}: {times}" for what, times in sorted(done.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
