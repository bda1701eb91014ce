"""What is watched, as flags and settings say it: inputs, outputs and where they are."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from custody.errors import UsageError
from custody.formats.telemetry.inputs import Format, format_of
from custody.settings.tables import Runtime

SOURCES = ("syscall", "k8s_audit", "aws_cloudtrail", "github", "okta", "gcp_auditlog")
PRIORITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")


class Input(NamedTuple):
    """`FORMAT:PLACE`."""

    origin: str
    format: Format
    name: str
    """Of the format."""
    kind: str
    """file, stdin or unix."""
    path: Path

    @classmethod
    def parse(cls, text: str, where: str = "--input") -> Input:
        """Raises UsageError."""
        name, colon, place = text.partition(":")
        if not colon or not place:
            raise UsageError(f"{where}: got {text!r}, expected FORMAT:PLACE",
                             hint="a file or folder, unix:PATH, or - for standard input: audit:/var/log/audit.log")
        form = format_of(name, where)
        if place == "-":
            return cls(f"{name}:stdin", form, name, "stdin", Path("-"))
        if place.startswith("unix:"):
            return cls(text, form, name, "unix", Path(place.removeprefix("unix:")))
        return cls(text, form, name, "file", Path(place))


class Output(NamedTuple):
    kind: str
    """stdout, file, http or syslog."""
    place: str

    @classmethod
    def parse(cls, text: str, where: str = "--output") -> Output:
        """Raises UsageError."""
        if text in ("stdout", "-"):
            return cls("stdout", "")
        if text.startswith(("http://", "https://")):
            return cls("http", text)
        if text == "syslog":
            return cls("syslog", "/dev/log")
        if text.startswith("syslog:"):
            return cls("syslog", text.removeprefix("syslog:"))
        path = text.removeprefix("file:")
        if path in ("json", "text", "table"):  # as --output has it elsewhere: nobody means a file of that name
            raise UsageError(f"{where}: got {text!r}, expected stdout, FILE, https://…, syslog or syslog:ADDRESS",
                             hint=f"-o json and -o text are forms of alerts; ./{path} is a file of that name")
        if not path or (":" in path.partition("/")[0]):
            raise UsageError(f"{where}: got {text!r}, expected stdout, FILE, https://…, syslog or syslog:ADDRESS")
        return cls("file", path)


@dataclass(frozen=True, slots=True)
class Watched:
    """All of it."""

    rules: tuple[Path, ...]
    inputs: tuple[Input, ...]
    sensors: tuple[str, ...]
    outputs: tuple[Output, ...]
    stated: Runtime

    @classmethod
    def of(cls, stated: Runtime, flags: Container[str] = ()) -> Watched:
        """`flags` are the settings that flags said. Raises UsageError, which names what said it."""
        places = {name: f"--{name[:-1]}" if name in flags else f"runtime.{name}" for name in ("inputs", "outputs")}
        inputs = tuple(Input.parse(text, places["inputs"]) for text in stated.inputs)
        outputs = tuple(Output.parse(text, places["outputs"]) for text in stated.outputs) or (Output("stdout", ""),)
        _once(tuple(entry.origin for entry in inputs), "input")
        _once(tuple(f"{entry.kind}:{entry.place}" for entry in outputs), "output")
        return cls(tuple(map(Path, stated.rules)), inputs, tuple(stated.sensors), outputs, stated)

    @property
    def priority(self) -> int:
        return PRIORITIES.index(self.stated.priority)


def _once(names: Sequence[str], kind: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{kind} {name}: it is named twice")
