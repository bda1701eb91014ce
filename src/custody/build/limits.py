"""What a build step may use: memory, processes, files, output, time. Each is enforced, by the kernel or by the watch.

The kernel keeps the file size, the number of processes (in the step's own user namespace) and the private memory of
each process (setrlimit(2)), and the sizes of /tmp and /dev/shm (tmpfs(5)). The watch keeps what no rlimit sums up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from custody.errors import MalformedError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_UNITS = {"": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_SIZE = re.compile(r"([0-9]{1,15}) ?(KiB|MiB|GiB)?\Z")
_SHARED = 64 * MIB
"""Size of /dev/shm, as Docker's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, time in seconds."""

    memory: int = 2 * GIB
    processes: int = 512
    file_size: int = 2 * GIB
    files: int = 100_000
    depth: int = 64
    output_size: int = 4 * GIB
    tmp_size: int = GIB
    log_size: int = 64 * MIB
    timeout: int = 600

    def to_json(self) -> dict[str, int]:
        """For provenance; the keys are those of custody-build.toml."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def kernel(self, *, isolated: bool) -> dict[str, int]:
        """Names of setrlimit's resources and their values.

        Without a user namespace of its own a step would be counted together with all else that its user runs, so
        there the watch alone counts processes. The kernel also counts process 1 and, for some
        isolations, the one before it; the third is for the watch to see.
        """
        limits = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": self.file_size, "RLIMIT_DATA": self.memory, "RLIMIT_NOFILE": 4096}
        if isolated:
            limits |= {"RLIMIT_NPROC": self.processes + 3, "RLIMIT_MEMLOCK": 8 * MIB, "RLIMIT_MSGQUEUE": 819_200,
                       "RLIMIT_SIGPENDING": 4096, "RLIMIT_NICE": 0, "RLIMIT_RTPRIO": 0}
        return limits

    @property
    def shared_size(self) -> int:
        return min(_SHARED, self.tmp_size)


MINIMA = Limits(memory=64 * MIB, processes=8, file_size=MIB, files=1, depth=1, output_size=MIB, tmp_size=MIB,
                log_size=64 * KIB, timeout=1)
MAXIMA = Limits(memory=256 * GIB, processes=32_768, file_size=16 * GIB, files=500_000, depth=256, output_size=16 * GIB,
                tmp_size=64 * GIB, log_size=GIB, timeout=86_400)
_SIZES = frozenset({"memory", "file_size", "output_size", "tmp_size", "log_size"})


def parse_limits(stated: dict[str, int | str], where: str) -> Limits:
    """Limits with the defaults for what is not given. Raises MalformedError, naming the key `where`.KEY."""
    values = {}
    for name, value in stated.items():
        key = f"{where}.{name}"
        low, high = getattr(MINIMA, name), getattr(MAXIMA, name)
        if name in _SIZES:
            number = _parse_size(key, value)
            expected = f"{show_size(low)} to {show_size(high)}"
        elif isinstance(value, str):
            raise MalformedError(key, got=value, expected="a whole number")
        else:
            number, expected = value, f"{low} to {high}" + (" seconds" if name == "timeout" else "")
        if not low <= number <= high:
            raise MalformedError(key, got=value, expected=expected)
        values[name] = number
    return Limits(**values)


def _parse_size(key: str, value: int | str) -> int:
    if isinstance(value, int):
        return value
    match = _SIZE.match(value)
    if match is None:
        raise MalformedError(key, got=value, expected='bytes, or a size such as "512 MiB" or "2 GiB"')
    return int(match[1]) * _UNITS[match[2] or ""]


def show_size(size: int) -> str:
    """2147483648 → '2 GiB'; what is no whole number of units, in the largest unit in which it is."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"
