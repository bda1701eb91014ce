"""How the demonstration is told: links of a chain as they happen, a table at the end, or all of it as data."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import terminal


@dataclass(slots=True)
class Link:
    """One gate's work on the image: what it found, the digest it is about, when, and how long it took."""

    gate: str
    title: str
    at: str = ""
    milliseconds: int = 0
    digest: str | None = None
    evidence: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.evidence.append(line)


@dataclass(frozen=True, slots=True)
class Stopped:
    """One attack: which gate and rule stopped it, in whose words, and what that control does not stop."""

    attack: str
    gate: str
    rule: str
    reason: str
    does_not_stop: str
    milliseconds: int


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Ends as every command does that nobody reads on; rich would end with 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Teller:
    """Tells people on a console (standard output), or stays silent and keeps everything for JSON."""

    def __init__(self, *, quiet: bool) -> None:
        self.links: list[Link] = []
        self.stopped: list[Stopped] = []
        self._console = _Console(quiet=quiet, highlight=False, soft_wrap=True, file=terminal(sys.stdout),
                                 width=None if sys.stdout.isatty() else 120)
        self._started = time.monotonic()

    def heading(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def note(self, text: str) -> None:
        self._console.print(Text(text, style="dim"))

    @contextmanager
    def link(self, gate: str, title: str) -> Iterator[Link]:
        link, began = Link(gate, title, format_rfc3339(system_clock().replace(microsecond=0))), time.monotonic()
        yield link
        link.milliseconds = round((time.monotonic() - began) * 1000)
        self.links.append(link)
        self._console.print(Text.assemble(("● ", "green"), (f"{gate:<14}", "bold cyan"), f" {title}",
                                          (f"   {link.at[11:19]}  {link.milliseconds} ms", "dim")))
        lines = [*link.evidence, *([link.digest] if link.digest else [])]
        for at, line in enumerate(lines):
            branch = "└─ " if at == len(lines) - 1 else "├─ "
            self._console.print(Text.assemble(("│              ", "dim"), (branch, "dim"), line))

    def attack(self, stopped: Stopped) -> None:
        self.stopped.append(stopped)
        self._console.print(Text.assemble(("■ ", "red"), (f"{stopped.attack}", "bold"),
                                          (f"   {stopped.milliseconds} ms", "dim")))
        for label, text in (("gate", f"{stopped.gate}: {stopped.rule}"), ("reason", stopped.reason),
                            ("does not stop", stopped.does_not_stop)):
            self._console.print(Text.assemble(("   ", ""), (f"{label:<14}", "dim"), text))

    def table(self) -> None:
        table = Table(title="\nEvery attack was stopped", title_justify="left", show_lines=False, header_style="bold")
        for name in ("#", "attack", "stopped by", "rule"):
            table.add_column(name, overflow="fold", no_wrap=name == "rule")
        for number, attack in enumerate(self.stopped, 1):
            table.add_row(str(number), attack.attack, attack.gate, attack.rule)
        self._console.print(table)
        self._console.print(f"{len(self.links)} links, {len(self.stopped)} attacks stopped, "
                            f"{time.monotonic() - self._started:.1f} s")

    def data(self) -> dict[str, Any]:
        return {"schemaVersion": 1, "links": [asdict(link) for link in self.links],
                "attacks": [asdict(attack) for attack in self.stopped],
                "seconds": round(time.monotonic() - self._started, 1)}
