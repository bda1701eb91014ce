"""What all programs in the kernel begin and end with: whose thread it is, a record's head, its way into the ring."""

from __future__ import annotations

from typing import NamedTuple

from custody.adapters.sensors import layout
from custody.adapters.sensors.assembler import (
    BOOT_TIME,
    CGROUP,
    COMM,
    FP,
    OUTPUT,
    PID_TGID,
    QUERY,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    READ_KERNEL,
    TASK,
    UID_GID,
    Assembler,
)
from custody.adapters.sensors.btf import Btf

_NO_WAKEUP, _WAKEUP = 1, 2
_BATCH = 64 * 1024
"""Bytes that wait until the reader is woken for what is not urgent; it looks by itself from time to time."""


class Maps(NamedTuple):
    """Descriptors."""

    ring: int
    pending: int
    scratch: int
    lost: int


class Writer(Assembler):
    """R6: the context, then the size so far. R7: thread. R8: what is pending. R9: the record."""

    def __init__(self, maps: Maps, own: int, btf: Btf | None) -> None:
        super().__init__()
        self.maps, self.own, self.btf = maps, own, btf
        self.move(R6, R1)
        self.call(PID_TGID)
        self.move(R7, R0)

    def skip_own(self) -> None:
        """What this process does itself is not told: telling it would be something to tell."""
        self.move(R1, R7)
        self.op(">>", R1, 32)
        self.jump_if(R1, "==", self.own, "end")

    def record(self, kind: int) -> None:
        """R9 and the head. What BTF leads to is zero where it cannot be read."""
        self.store_number(4, FP, -16, 0)
        self.look_up(self.maps.scratch, -16)
        self.jump_if(R0, "==", 0, "end")
        self.move(R9, R0)
        for helper, place in ((BOOT_TIME, layout.TIME), (UID_GID, layout.USER), (CGROUP, layout.CGROUP)):
            self.call(helper)
            self.store(8, R9, place, R0)
        self.move(R1, R7)  # tid first, then tgid, whatever the machine's order of bytes
        self.store(4, R9, layout.THREAD, R1)
        self.op(">>", R1, 32)
        self.store(4, R9, layout.THREAD + 4, R1)
        self.store_number(4, R9, layout.KIND, kind)
        self.store_number(4, R9, layout.FLAGS, layout.RICH if self.btf else 0)
        for place in (layout.CGROUP_V1, layout.RESULT, layout.EFFECTIVE, layout.PERMITTED):
            self.store_number(8, R9, place, 0)
        self.address(R1, R9, layout.COMMAND)
        self.op("=", R2, 16)
        self.call(COMM)
        if self.btf:
            subsystem = next((number for name in ("pids_cgrp_id", "memory_cgrp_id", "cpu_cgrp_id")
                              if (number := self.btf.value("cgroup_subsys_id", name)) is not None), None)
            if subsystem is not None:
                self.task("task_struct:cgroups", f"css_set:subsys+{8 * subsystem}", "cgroup_subsys_state:cgroup",
                          "cgroup:kn", "kernfs_node:id", size=8, place=layout.CGROUP_V1)
            self.task("task_struct:cred", "cred:cap_effective", size=8, place=layout.EFFECTIVE)
            self.task("task_struct:cred", "cred:cap_permitted", size=8, place=layout.PERMITTED)

    def offsets(self, *steps: str) -> tuple[int, ...]:
        """`structure:member` and `structure:member+bytes` as offsets."""
        assert self.btf is not None
        numbers = []
        for step in steps:
            structure, _, path = step.partition(":")
            path, _, more = path.partition("+")
            numbers.append(self.btf.offset(structure, path) + int(more or 0))
        return tuple(numbers)

    def task(self, *steps: str, size: int, place: int) -> None:
        """Read what the current task leads to into the record; it stays as it is where a step fails."""
        failed = self.name()
        self.call(TASK)
        self.move(R3, R0)
        self.follow(self.offsets(*steps), failed)
        self.read(READ_KERNEL, R9, place, size)
        self.label(failed)

    def append(self, helper: int, limit: int, length: int) -> None:
        """A text at R3 to the end of the record, whose size R6 is; its length with the zero goes to `length`."""
        whole, within = self.name(), self.name()
        self.move(R1, R9)
        self.op_register("+", R1, R6)
        self.op("=", R2, limit)
        self.call(helper)
        self.jump_if(R0, "s>", 0, whole)
        self.op("=", R0, 0)
        self.label(whole)
        self.jump_if(R0, "<=", limit, within)
        self.op("=", R0, 0)
        self.label(within)
        self.store(4, R9, length, R0)
        self.op_register("+", R6, R0)

    def output(self, *, urgent: bool) -> None:
        """R6 bytes of the record into the ring; what does not go in is counted."""
        flags = self.name()
        self.op("=", R8, 0)
        if not urgent:
            self.map(R1, self.maps.ring)
            self.op("=", R2, 0)  # BPF_RB_AVAIL_DATA
            self.call(QUERY)
            self.op("=", R8, _WAKEUP)
            self.jump_if(R0, ">", _BATCH, flags)
            self.op("=", R8, _NO_WAKEUP)
            self.label(flags)
        self.map(R1, self.maps.ring)
        self.move(R2, R9)
        self.move(R3, R6)
        self.move(R4, R8)
        self.call(OUTPUT)
        self.jump_if(R0, "==", 0, "end")
        self.count(layout.LOST_RING)

    def count(self, counter: int) -> None:
        self.store_number(4, FP, -16, counter)
        self.look_up(self.maps.lost, -16)
        self.jump_if(R0, "==", 0, "end")
        self.load(8, R1, R0, 0)
        self.op("+", R1, 1)
        self.store(8, R0, 0, R1)

    def finish(self) -> bytes:
        self.label("end")
        self.op("=", R0, 0)
        self.leave()
        return self.code()
