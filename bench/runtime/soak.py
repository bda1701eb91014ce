"""Many events and many kills: memory over time, and whether each alert is in the output once.

    python bench/runtime/soak.py [EVENTS] [KILLS]

Default 10,000,000 events and 20 kills: the events that a busy node gives in a day, as fast as they are taken. They are
appended to a log that is rotated; `custody runtime watch` follows it and is killed (SIGKILL) at random moments. One
event of 10,000 is told; another, always the same, comes in floods.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

_RULES = """\
- rule: shell
  desc: a shell
  condition: evt.type = execve and proc.name = sh
  output: shell %proc.cmdline
  priority: WARNING
- rule: flood
  desc: always the same
  condition: evt.type = execve and proc.name = loop
  output: loop %proc.cmdline
  priority: NOTICE
"""
_BLOCK = 10_000
_ROTATED = 64 << 20
_BEHIND = 128 << 20


def line(name: str, number: int) -> bytes:
    return json.dumps({"evt.type": "execve", "proc.name": name, "proc.cmdline": f"{name} {number}", "proc.pid": number,
                       "container.id": "3ad7b26ded6d", "user.uid": 1000}).encode() + b"\n"


def resident(process: subprocess.Popen[bytes]) -> int:
    """KiB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) if "VmRSS:" in text else 0


def begun(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "custody.cli.main", "runtime", "watch", "--rules", "rules.yaml", "--input",
         f"fields:{folder / 'events.log'}", "--output", "alerts.jsonl", "--fold-window", "5"],
        cwd=folder, stderr=subprocess.DEVNULL)


def read(folder: Path) -> int:
    """Bytes of rotated and present files that are there still."""
    return sum(path.stat().st_size for path in folder.glob("events.log*"))


def main(events: int, kills: int) -> None:
    chance = random.Random(5)
    noise = b"".join(line("ls", number) for number in range(_BLOCK - 100))
    flood = line("loop", 1) * 99
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "rules.yaml").write_text(_RULES)
        log = folder / "events.log"
        (folder / "alerts.jsonl").touch()
        log.touch()
        process, blocks, killed = begun(folder), events // _BLOCK, 0
        while not (folder / ".custody" / "runtime.db").exists():  # what was rotated before it began, it does not know
            time.sleep(0.1)
        peak, samples, start, rotated = 0, [], time.monotonic(), []
        for block in range(blocks):
            with log.open("ab") as file:
                file.write(noise + flood + line("sh", block))
            if log.stat().st_size > _ROTATED:
                rotated.append(log.with_name(f"events.log.{len(rotated)}"))
                os.rename(log, rotated[-1])
                log.touch()
            if killed < kills and block >= blocks * (killed + chance.random()) / kills:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                process = begun(folder)
            told = len((folder / "alerts.jsonl").read_bytes().split(b'"rule":"shell"')) - 1 if (
                folder / "alerts.jsonl").exists() else 0
            while block - told > _BEHIND // len(noise):  # no further ahead than that
                time.sleep(0.2)
                told = len((folder / "alerts.jsonl").read_bytes().split(b'"rule":"shell"')) - 1
            for old in rotated[:-3]:
                if old.exists() and block - told < _BEHIND // len(noise):
                    old.unlink()
            if block % max(blocks // 20, 1) == 0:
                peak = max(peak, resident(process))
                samples.append(f"{resident(process) // 1024}")
        until = time.monotonic() + 600
        numbers: Counter[str] = Counter()
        while sum(numbers.values()) < blocks and time.monotonic() < until:
            time.sleep(1)
            alerts = [json.loads(text) for text in (folder / "alerts.jsonl").read_text().splitlines()]
            numbers = Counter(alert["output_fields"]["proc.cmdline"] for alert in alerts if alert["rule"] == "shell")
        seconds = time.monotonic() - start
        process.terminate()
        process.wait()
        alerts = [json.loads(text) for text in (folder / "alerts.jsonl").read_text().splitlines()]
        folded = sum(alert["output_fields"].get("custody.folded", 1) for alert in alerts if alert["rule"] == "flood")
        missing = blocks - len(numbers)
        doubled = sum(number - 1 for number in numbers.values())
        print(f"{blocks * _BLOCK:,} events, {killed} kills, {len(rotated)} rotations in {seconds:.0f} s: "
              f"{blocks * _BLOCK / seconds:,.0f}/s")
        print(f"  alerts: {missing} missing, {doubled} doubled of {blocks}; flood: {folded:,} of {blocks * 99:,} told in "
              f"{sum(alert['rule'] == 'flood' for alert in alerts):,} alerts")
        print(f"  resident MiB: {' '.join(samples)}; most {max(peak, 0) // 1024}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 20)
