"""`custody runtime sensors`, sensors in `runtime watch`, and what becomes of what they lose."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click.testing
import pytest

from custody.adapters.sensors.tracing import Tracing
from custody.cli.runtime_sensors import command
from custody.errors import UsageError, VerificationError
from custody.formats.telemetry.event import RuntimeEvent
from custody.ports.sensing import Probe
from custody.runtime.alertlines import line
from custody.runtime.counted import Counted
from custody.runtime.coverage import coverage, unread
from custody.runtime.engine import Record
from custody.runtime.event import Place
from custody.runtime.folding import Folding
from custody.runtime.losses import Losses
from custody.runtime.sight import Sight
from custody.services.sensorlosses import SensorLosses
from custody.settings import Settings
from custody.settings.tables import Sensing
from custody.wiring import sensing
from policylang import falco
from tests.runtime.sensing import works
from tests.runtime.test_rule_analysis import rule

_SHELL = rule("Shell", "evt.type in (execve, execveat) and proc.name in (bash, own-shell)", "shell %proc.cmdline")
_NAMED = rule("Named", "evt.type = connect and fd.sip.name = example.com", "x")
_MOUNTED = rule("Mounted", 'evt.type = execve and not container.mount.dest[/proc*] in ("<NA>", "N/A")', "x")
_BOTH = rule("Both", "evt.type in (execve, sendmsg) and proc.name = a", "x")
_NEVER = rule("Never", "evt.type = execve and evt.num = 0", "x")


class Fixed:
    """A sensor that says what a test wants it to say."""

    fields = frozenset({"proc.name"})

    def __init__(self, name: str, *types: str, works: bool = True, lost: dict[str, int] | None = None) -> None:
        self.name, self.types, self.lost, self._works = name, types, lost or {}, works

    def probe(self) -> Probe:
        return Probe(self._works, "" if self._works else "not today", frozenset(self.types if self._works else ()))

    async def run(self, emit: Any) -> None:
        raise AssertionError

    def losses(self) -> dict[str, int]:
        return self.lost

    def close(self) -> None:
        pass


def _typed(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(command, arguments, obj=Settings())


def test_which_rules_can_be_seen_and_why_others_cannot() -> None:
    loaded = falco.load(f"[{_SHELL}, {_NAMED}, {_MOUNTED}, {_BOTH}, {_NEVER}]").rules
    sights = [Sight("ebpf", "syscall", frozenset({"execve", "connect"}), frozenset({"proc.name", "fd.sip"}))]
    said = {covered.rule: covered for covered in coverage(loaded, sights)}
    assert (said["Shell"].by, said["Shell"].unseen) == (("ebpf",), ("execveat",))
    assert (said["Named"].by, said["Named"].reason) == ((), "ebpf never tells fd.sip.name")
    assert (said["Mounted"].by, said["Both"].unseen) == ((), ("sendmsg",))
    assert "container.mount" in said["Mounted"].reason
    assert "never match" in said["Never"].reason
    assert all(covered.reason == "no sensor works here" for covered in coverage(loaded[:2], []))


def test_a_rule_about_reads_that_are_not_told_is_named() -> None:
    reads = "evt.type = openat and evt.is_open_read = true and "
    loaded = falco.load(f"""[{rule("Library", reads + "fd.name startswith /usr/lib/secret", "x")},
        {rule("Listed", reads + "fd.name in (/etc/shadow, /usr/share/keys)", "x")},
        {rule("Etc", reads + "fd.name = /etc/x", "x")},
        {rule("Written", "evt.type = openat and evt.is_open_write = true and fd.name = /usr/lib/x", "x")}]""").rules
    assert [unread(made, ("/usr/lib", "/usr/share/")) for made in loaded] == [
        ("/usr/lib/secret",), ("/usr/share/keys",), (), ()]
    assert unread(loaded[0], ()) == ()


def test_each_sensor_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(f"[{_SHELL}, {_NAMED}]")
    monkeypatch.setattr(sensing, "SENSORS", {
        "one": lambda *_: Fixed("one", "execve"), "two": lambda *_: Fixed("two", works=False)})
    said = _typed("--rules", str(tmp_path / "rules.yaml"))
    assert said.exit_code == 0, said.output
    assert "two     no     no      0       not today" in said.output
    assert "partly: Shell: not by execveat" in said.output
    assert "not seen: Named: one never tells connect" in said.output
    told = json.loads(_typed("--rules", str(tmp_path / "rules.yaml"), "-o", "json").output)
    assert told["sensors"][1] == {"name": "two", "works": False, "reason": "not today", "blocks": False, "events": []}
    assert told["rules"][1]["seenBy"] == []


def test_sensors_that_tell_of_the_same_programs_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"one": ("execve",), "two": ("execve", "connect"), "three": ("connect",)}
    monkeypatch.setattr(sensing, "SENSORS", {
        name: lambda *_, name=name, covers=covers: Fixed(name, *covers) for name, covers in made.items()})
    assert "one, two each tell of programs that start: named together, each program is told by each." in _typed().output
    assert json.loads(_typed("-o", "json").output)["toldTwice"] == ["one", "two"]
    monkeypatch.setattr(sensing, "SENSORS", {"one": lambda types, stated: Fixed("one", "execve")})
    assert "told by each" not in _typed().output


def test_no_sensor_that_works_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensing, "SENSORS", {"two": lambda *_: Fixed("two", works=False)})
    said = _typed()
    assert "not today" in said.output
    assert isinstance(said.exception, VerificationError)
    assert said.exception.exit_code == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes somebody else here")
def test_for_an_ordinary_user_each_says_why_it_does_not_work() -> None:
    """The modules are loaded before: that user may not read where they lie."""
    child = os.fork()
    if child == 0:
        try:
            made = [make(frozenset(), Sensing()) for make in sensing.SENSORS.values()]
            for sensor in made:
                sensor.probe()
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            probes = [sensor.probe() for sensor in made]
            # Since Linux 6.6 the proc connector speaks to everybody; what it cannot read of others it says.
            os._exit(0 if all("not root" in probe.reason and (not probe.covers or sensor.name == "proc-connector")
                              for sensor, probe in zip(made, probes, strict=True)) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_in_a_namespace_of_processes_of_its_own_nothing_is_said_to_work_that_sees_nothing() -> None:
    """The proc connector tells nobody there, and numbers of the eBPF sensor are those of other processes."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("root and unshare are needed for a namespace of its own")
    code = ("from custody.wiring import sensing; from custody.settings.tables import Sensing; "
            "made = {name: make(frozenset(), Sensing()) for name, make in sensing.SENSORS.items()}; "
            "probes = [made[name].probe() for name in ('ebpf', 'proc-connector')]; "
            "print([probe.reason for probe in probes if not probe.covers])")
    done = subprocess.run(["unshare", "-pf", "--mount-proc", sys.executable, "-c", code], capture_output=True,
                          text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert "numbers of the machine" in done.stdout, done.stderr
    assert "not in the first namespaces" in done.stdout or "refused" in done.stdout


def test_an_unknown_sensor_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"ebfp.*ebpf"):
        sensing.sensors(["ebfp"], frozenset())


def test_settings_reach_the_sensor() -> None:
    digest = "0" * 64
    stated = Sensing(mounts=["/a"], deadline=0.5, late="deny", deny=[f"sha256:{digest}"], all_reads=True)
    fanotify: Any = sensing.sensors(["fanotify"], frozenset(), stated)[0]
    assert (fanotify.mounts, fanotify._deadline, fanotify._deny_late) == (["/a"], 0.5, True)
    known: dict[str, str | None] = {"custody.exe.sha256": digest}
    execution = type("Execution", (), {"event": RuntimeEvent("syscall", "execve", known, None, "fanotify")})
    assert fanotify.judge(execution) is False
    known["custody.exe.sha256"] = "1" * 64
    assert fanotify.judge(execution) is True
    known["custody.exe.sha256"] = None  # nobody knows what it is: `late` says what becomes of it
    assert fanotify.judge(execution) is False
    ebpf: Any = sensing.sensors(["ebpf"], frozenset(), stated)[0]
    assert ebpf._quiet == ()


def test_bytes_that_are_no_text_neither_hide_an_event_nor_stop_its_alert() -> None:
    """As an argument or a file's name has them: matching, writing, folding and keeping go on."""
    command = "a secret \udcff"
    matcher = falco.load(f"""[
        {rule("Regex", "evt.type = execve and proc.cmdline regex '.*secret.*'", "x %proc.cmdline")},
        {rule("Glob", "evt.type = execve and proc.cmdline glob '*secr?t ?'", "x")}]""").compile("syscall", "all")
    alerts = matcher("execve", {"proc.cmdline": command})
    assert [alert.rule for alert in alerts] == ["Regex", "Glob"]
    record = Record("key", alerts[0], Place())
    assert json.loads(line(record).json)["output_fields"]["proc.cmdline"] == command
    folding, later = Folding(Counted(), alike=1), Folding(Counted(), alike=1)
    assert [folding.tell(record, 0.0) for _ in range(3)] == [True, False, False]
    later.restore(folding.state(), 0.0)
    assert [kept.alert.output_fields["proc.cmdline"] for kept in later.due(1, all_of_them=True)] == [command]


def test_losses_are_told_once_and_as_they_grow() -> None:
    losses = Losses(Counted())
    sensor = Fixed("ebpf", lost={"ring-buffer": 7})
    counting = SensorLosses([sensor], losses)
    counting.look()
    counting.look()
    sensor.lost = {"ring-buffer": 9, "late": 1}
    counting.look()
    told = [(alert.rule, alert.output_fields["custody.input"], alert.output_fields["custody.kind"],
             alert.output_fields["custody.number"]) for alert in losses.due(0, all_of_them=True)]
    assert told == [("Events lost", "ebpf", "ring-buffer", 9), ("Events lost", "ebpf", "late", 1)]


def test_a_program_that_is_started_is_an_alert_of_watch(tmp_path: Path) -> None:
    works(Tracing())
    (tmp_path / "rules.yaml").write_text(f"[{_SHELL}]")
    (tmp_path / "own-shell").symlink_to("/bin/true")
    watch = subprocess.Popen(
        [sys.executable, "-m", "custody.cli.main", "runtime", "watch", "--rules", "rules.yaml", "--sensor", "ebpf"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "CUSTODY_DATA_DIR": str(tmp_path / "data")})
    assert watch.stdout is not None
    assert watch.stderr is not None
    try:
        end = time.monotonic() + 60
        os.set_blocking(watch.stdout.fileno(), False)
        said = b""
        while b"own-shell" not in said and time.monotonic() < end:
            subprocess.run([tmp_path / "own-shell", "-c", "true"], check=False)
            time.sleep(0.2)
            said += watch.stdout.read() or b""
        alert = json.loads(next(line for line in said.splitlines() if b"own-shell" in line))
        assert alert["rule"] == "Shell"
        assert alert["output"].endswith("shell own-shell -c true")
        watch.send_signal(signal.SIGTERM)
        watch.wait(30)
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
        watch.stderr.close()


