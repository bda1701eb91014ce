"""Every operator, by type, with null. A condition is given an event and must say yes or no."""

from __future__ import annotations

from typing import Any

import pytest

from policylang import falco
from policylang.errors import InvalidError
from policylang.source import SourceError


def _rule(condition: str, source: str = "syscall", **keys: str) -> str:
    more = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    return (f"- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  source: {source}\n{more}"
            f"  condition: |\n    {condition}\n")


def _asked(condition: str, event: dict[str, Any], kind: str = "openat") -> bool:
    matcher = falco.load(_rule(condition)).compile()
    found = bool(matcher(kind, event))
    assert matcher.explain("r", kind, event)[0] == found
    return found


_TEXT = {"proc.name": "Bash", "fd.name": "/etc/ssh/sshd_config", "proc.pname": "bash", "proc.cmdline": "bash -c ls"}


@pytest.mark.parametrize(("condition", "expected"), [
    ("proc.name = Bash", True), ("proc.name = bash", False), ("proc.name != bash", True), ("proc.name != Bash", False),
    ("proc.name in (sh, Bash)", True), ("proc.name in (sh)", False), ("proc.name in ()", False),
    ("proc.name intersects (Bash)", True), ("proc.name exists", True), ("proc.name contains as", True),
    ("proc.name contains AS", False), ("proc.name icontains AS", True), ("proc.name startswith Ba", True),
    ("proc.name startswith ba", False), ("proc.name endswith sh", True), ("proc.name endswith SH", False),
    ("proc.name contains ''", True), ("proc.name startswith ''", True),
    ("fd.name glob /etc/*", True), ("fd.name glob /etc/*/sshd_?onfig", True), ("fd.name glob /etc", False),
    ("fd.name glob '*ssh*config'", True), ("fd.name glob '*[!a-z]config'", True), ("fd.name glob '*[^_]config'", False),
    (r"fd.name glob '/etc/\\*'", False), ("fd.name iglob /ETC/*", True), ("fd.name glob /ETC/*", False),
    ("fd.name regex '/etc/[a-z]+/.*'", True), ("fd.name regex 'ssh'", False), ("fd.name regex '.*ssh.*'", True),
    ("fd.name pmatch (/etc)", True), ("fd.name pmatch (/etc/ssh/)", True), ("fd.name pmatch (/et)", False),
    ("fd.name pmatch (/etc/ssh/sshd_config/x)", False), ("fd.name pmatch (/)", True), ("fd.name pmatch (/*/ssh)", True),
    ("fd.name pmatch (/var, /e?c/s*)", True), ("fd.name pmatch ()", False),
    ("proc.name > 1", True), ("proc.name < 1", False),
    ("proc.cmdline = anyof (a, 'bash -c ls')", True), ("proc.cmdline contains allof (bash, ls)", True),
    ("proc.cmdline contains allof (bash, rm)", False), ("proc.cmdline contains oneof (bash, ls)", False),
    ("proc.cmdline contains oneof (bash, rm)", True), ("proc.cmdline contains anyof (rm, ls)", True),
    ("proc.cmdline startswith anyof (x, bash)", True), ("proc.cmdline endswith anyof (x, ls)", True),
    ("proc.name != allof (a, b)", True), ("proc.name != allof (a, Bash)", False),
    ("proc.name != anyof (a, Bash)", True),
    ("proc.name = allof ()", False), ("proc.name regex anyof ('x', '[A-Z].*')", True), ("proc.name = anyof", False),
    ("proc.name = val(proc.pname)", False), ("tolower(proc.name) = val(proc.pname)", True),
    ("proc.cmdline startswith val(proc.pname)", True), ("proc.cmdline contains val(proc.name)", False),
    ("proc.cmdline icontains val(proc.name)", True), ("proc.name in val(proc.name)", True),
    ("proc.name != val(proc.pname)", True), ("proc.name = tolower(proc.name)", False)])
def test_texts(condition: str, expected: bool) -> None:
    assert _asked(condition, _TEXT) is expected


@pytest.mark.parametrize("test", [
    "proc.name = x", "proc.name != x", "proc.name in (x)", "proc.name exists", "proc.name contains x",
    "proc.name icontains x", "proc.name startswith x", "proc.name endswith x", "proc.name glob *",
    "proc.name regex '.*'", "proc.name pmatch (/)", "proc.name < 9", "fd.num = 0", "fd.num != 0", "fd.num < 5",
    "fd.num >= 0", "fd.num in (0)", "evt.is_open_read = false", "evt.is_open_read != true", "fd.ip != 1.2.3.4",
    "fd.sip = 1.2.3.4", "fd.snet != '10.0.0.0/8'", "fd.net in ('0.0.0.0/0')", "fd.port != 1", "fd.sport = 0",
    "fd.types in (file)", "fd.types intersects (file)", "fd.types exists", "proc.aname = x", "proc.aname != x",
    "proc.aname in (x)", "proc.aname exists", "tolower(proc.name) = x", "tolower(proc.name) exists",
    "len(proc.name) >= 0", "proc.name = val(proc.pname)", "proc.name != val(proc.pname)", "proc.name != anyof (x)",
    "proc.name contains allof ('')", "b64(proc.name) exists", "concat(proc.name, '') exists",
    "join(',', fd.types) exists", "getopt(proc.args, 'a') exists", "evt.buffer bcontains CAFE",
    "container.mount.dest[/proc*] != 'N/A'", "evt.arg.flags contains X", "proc.fdusage < 1"])
def test_null_is_never_true(test: str) -> None:
    """And what is not true is negated to true, so that `not x = y` and `x != y` differ."""
    for event in ({}, {"proc.pname": "x"}, {"fd.types": [], "proc.aname": []}):
        assert not _asked(test, event)
        assert _asked(f"not {test}", event)
        assert _asked(f"not ({test})", event)


@pytest.mark.parametrize(("condition", "expected"), [
    ("fd.num = 5", True), ("fd.num = 0x5", True), ("fd.num != 5", False), ("fd.num > 4", True), ("fd.num >= 6", False),
    ("fd.num <= -1", False), ("fd.num in (1, 5)", True), ("user.uid = 4294967295", True), ("user.loginuid = -1", True),
    ("fd.sport = 443", True), ("fd.port = 443", True), ("fd.port = 80", False), ("fd.port in (1, 4000)", True),
    ("fd.port != 443", False), ("fd.port != 80", True), ("fd.port > 3999", True),
    ("evt.is_open_read = true", True), ("evt.is_open_read = false", False), ("evt.is_open_read != false", True),
    ("evt.is_open_read in (true)", True), ("proc.fdusage = 0.5", False), ("proc.fdusage > 0", True),
    ("fd.types in (file, ipv4, pipe)", True), ("fd.types in (file)", False), ("fd.types intersects (pipe, file)", True),
    ("fd.types intersects (unix)", False), ("len(fd.types) = 2", True), ("proc.aname = sshd", True),
    ("proc.aname = sh", False), ("proc.aname in (x, sshd)", True), ("proc.aname != sshd", True),
    ("proc.aname startswith ss", True), ("proc.aname contains oneof (ssh, sys)", True), ("proc.apid = 1", True),
    ("proc.aname[2] = systemd", True), ("evt.buffer contains hi", True), ("evt.buffer bcontains 6869", True),
    ("evt.buffer bstartswith 00", True), ("evt.buffer startswith hi", False), ("evt.rawarg.uid = 0", True)])
def test_other_types(condition: str, expected: bool) -> None:
    event = {"fd.num": 5, "user.uid": 4294967295, "user.loginuid": -1, "fd.sport": 443, "fd.cport": 4000,
             "evt.is_open_read": True, "proc.fdusage": 0.25, "fd.types": ["file", "ipv4"],
             "proc.aname": ["sshd", "systemd"], "proc.apid": [7, 1], "proc.aname[2]": "systemd",
             "evt.buffer": b"\0hi", "evt.rawarg.uid": "0"}
    assert _asked(condition, event) is expected


@pytest.mark.parametrize(("condition", "expected"), [
    ("fd.sip = 10.1.2.3", True), ("fd.sip = 10.1.2.4", False), ("fd.sip != 10.1.2.4", True),
    ("fd.sip in (10.1.2.3)", True), ("fd.sip = '::1'", False), ("fd.sip != '::1'", True),
    ("fd.ip = 192.168.0.9", True), ("fd.ip != 192.168.0.9", False),
    ("fd.ip != 1.1.1.1", True), ("fd.snet = '10.0.0.0/8'", True), ("fd.snet = '10.9.9.9/8'", True),
    ("fd.snet in ('127.0.0.0/8', '10.1.0.0/16')", True), ("fd.snet != '10.0.0.0/8'", False),
    ("fd.net = '192.168.0.0/16'", True), ("fd.net != '192.168.0.0/16'", False), ("fd.net != '172.16.0.0/12'", True),
    ("fd.net = '0.0.0.0/0'", True), ("fd.snet = '::/0'", False), ("fd.rip = '2001:db8::1'", True),
    ("fd.rnet = '2001:db8::/32'", True), ("fd.rnet != '10.0.0.0/8'", True), ("fd.rip = '2001:0db8:0:0::1'", True),
    ("fd.cnet in ('10.0.0.0/8')", False)])
def test_addresses(condition: str, expected: bool) -> None:
    assert _asked(condition, {"fd.sip": "10.1.2.3", "fd.cip": "192.168.0.9", "fd.rip": "2001:db8::1"}) is expected


@pytest.mark.parametrize(("condition", "expected"), [
    ("toupper(proc.name) = BASH", True), ("basename(proc.exepath) = bash", True), ("b64(proc.args) = hello", True),
    ("tolower(b64(proc.args)) startswith hel", True), ("len(proc.name) = 4", True), ("len(proc.pname) = 2", True),
    ("concat(fd.sip, ':', proc.name) = x", None), ("concat(proc.name, ':', proc.exepath) = 'Bash:/usr/bin/bash'", True),
    ("join('-', (proc.name, 'x')) = Bash-x", True), ("join(fd.types, ',') = 'file,ipv4'", True),
    ("getopt(proc.cmdline, 'nt:') intersects (n)", True), ("getopt(proc.cmdline, 'nt:') in (n, t, 5)", True),
    ("getopt(proc.cmdline, 'nt:')[t] = 5", True), ("getopt(proc.cmdline, 'x')[x] exists", False),
    ("getopt(proc.cmdline, 'nt:')[n] exists", True), ("toupper(fd.types) in (FILE, IPV4)", True),
    ("toupper(fd.types)[1] = IPV4", True), ("toupper(fd.types)[9] exists", False),
    ("len(proc.aname) = 1", None), ("toupper(fd.num) = 1", None), ("toupper(fd.ip) = 1", None)])
def test_transformers(condition: str, expected: bool | None) -> None:
    event = {"proc.name": "Bash", "proc.exepath": "/usr/bin/bash", "proc.args": "aGVsbG8", "proc.pname": "é",
             "fd.types": ["file", "ipv4"], "proc.cmdline": "nc -n -t5 host"}
    if expected is None:
        with pytest.raises(SourceError, match=r"transformer|strings only"):
            falco.load(_rule(condition))
    else:
        assert _asked(condition, event) is expected


@pytest.mark.parametrize(("condition", "reason"), [
    ("proc.nam = x", "filter_check called with nonexistent field proc.nam"),
    ("proc.name[1] = x", "filter_check called with nonexistent field proc.name[1]"),
    ("evt.arg = x", "filter_check called with nonexistent field evt.arg"),
    ("container.mount.dest = x", "filter_check called with nonexistent field container.mount.dest"),
    ("ka.verb = get", "filter_check called with nonexistent field ka.verb"),
    ("evt.type = opn", "unknown event type opn"), ("evt.type in (open, opn)", "unknown event type opn"),
    ("fd.num = x", "x is not a valid number"), ("fd.num = 99999999999999999999", "99999999999999999999 is not a valid"),
    ("fd.num = 1.5", "1.5 is not a valid number"), ("fd.sport = 70000", "70000 is not a valid number"),
    ("proc.fdusage = nan", "nan is not a valid number"), ("proc.fdusage > 1e+999", "1e+999 is not a valid number"),
    ("evt.is_open_read = yes", "filter error: unrecognized boolean value yes"),
    ("fd.sip = x", "unrecognized IP address x"), ("fd.sip = 1.2.3.4.5", "unrecognized IP address"),
    ("fd.snet = '10.0.0.0/33'", "invalid netmask 33"), ("fd.snet = 10.0.0.0", "unrecognized IP network 10.0.0.0"),
    ("fd.num contains 1", "filter error: 'contains' operator not supported for numeric filters"),
    ("fd.sip startswith 1", "filter error: 'startswith' operator not supported for ip address and network filters"),
    ("evt.is_open_read > 1", "filter error: '>' operator not supported for numeric filters"),
    ("proc.name bcontains ab", "filter error: 'bcontains' operator not supported for string filters"),
    ("evt.buffer icontains ab", "filter error: 'icontains' operator not supported for buffer filters"),
    ("evt.buffer bcontains xy", "filter error: bcontains and bstartswith operator support hex strings only"),
    ("fd.types = file", "filter error: '=' operator not supported list filters"),
    ("proc.name regex '['", "invalid regex pattern: missing ]: ["),
    ("proc.name regex '\\\\d+'", "invalid regex pattern: invalid escape sequence: \\d"),
    ("proc.name = val(fd.num)", "field 'proc.name' has type 'CHARBUF' while the right-hand side field 'fd.num' has "
                                "incompatible type 'INT64'"),
    ("proc.name pmatch val(proc.pname)", "operator 'PMATCH' doesn't support right-hand side fields"),
    ("fd.net = val(fd.ip)", "field type 'IPNET' doesn't support right-hand side fields"),
    ("proc.aname = val(proc.name)", "field 'proc.aname' doesn't support right-hand side fields"),
    ("proc.name = val(proc.aname)", "field 'proc.aname' can't be used as a right-hand side field"),
    ("fd.proto = https", "https is not a valid number")])
def test_refused(condition: str, reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        falco.load(_rule(condition))
    assert caught.value.reason.startswith(reason)
    assert caught.value.kind == "LOAD_ERR_COMPILE_CONDITION"
    assert caught.value.line == 7


@pytest.mark.parametrize(("field", "value"), [
    ("proc.name", 5), ("proc.name", ["a"]), ("fd.num", "5"), ("fd.sip", 7), ("proc.aname", [1])])
def test_events_with_wrong_types(field: str, value: object) -> None:
    matcher = falco.load(_rule("proc.name startswith a or proc.name in (a) or fd.num > 3 or fd.sip = 1.2.3.4 or "
                               "proc.aname startswith x")).compile()
    with pytest.raises(InvalidError, match=field):
        matcher("open", {field: value})
