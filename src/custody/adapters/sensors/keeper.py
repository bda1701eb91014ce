"""The process beside the one that judges, which answers for it where it does not: whoever starts a program never hangs.

A program that is started waits in the kernel until somebody answers. The judge reads the questions and answers them;
this process looks on. Where the judge has made no progress for the whole deadline, though a question waits (it is
stopped, or busy, or waits for a program of its own), all that it has read and all that lies in the queue is answered
from here. Both hold the group: when the judge ends, however it does, this process ends too, and with the group's last
descriptor the kernel lets everybody go. It is started as a file, with nothing but the standard library.

What both share is a page (struct PAGE): the judge's progress, whether it has a question in hand, and how many were
answered from here. The kernel knows a question by the number of the descriptor that the reader was given: the numbers
of the judge's open files are answers enough for what it has in hand; of all others the kernel knows no question.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
import sys
import time

ALLOW, DENY = 1, 2
PERMISSION = 0x00040000  # FAN_OPEN_EXEC_PERM
OVERFLOW = 0x00004000  # FAN_Q_OVERFLOW
EVENT = struct.Struct("=IBBHQii")
ANSWER = struct.Struct("=iI")
PAGE = struct.Struct("=QQQQ")
"""progress, question in hand (0 or 1), questions answered by the keeper, whole overflows seen by it."""
WORD = struct.Struct("=Q")


class Keeper:
    def __init__(self, group: int, judge: int, page: int, deadline: float, late: int) -> None:
        """`judge` is a pipe that the judge holds the other end of; `page` a file of the shared page."""
        self._group, self._judge, self._deadline, self._late = group, judge, deadline, late
        self._page = mmap.mmap(page, mmap.PAGESIZE)
        self._owner, self._own = os.getppid(), os.getpid()

    def run(self) -> None:
        ended, waiting = select.poll(), select.poll()
        ended.register(self._judge, select.POLLHUP)
        waiting.register(self._group, select.POLLIN)
        seen, since = -1, time.monotonic()
        while not ended.poll(max(1, self._deadline * 250)):
            progress, in_hand, _, _ = PAGE.unpack_from(self._page)
            now = time.monotonic()
            if progress != seen or not (in_hand or waiting.poll(0)):
                seen, since = progress, now
            elif now - since >= self._deadline:
                self._answer_all(in_hand=bool(in_hand))

    def _answer_all(self, *, in_hand: bool) -> None:
        if in_hand:
            for name in os.listdir(f"/proc/{self._owner}/fd"):
                self._answer(int(name), self._late)
        while True:
            try:
                data = os.read(self._group, 64 * 1024)
            except BlockingIOError:
                return
            at = 0
            while at + EVENT.size <= len(data):
                length, _, _, _, mask, descriptor, pid = EVENT.unpack_from(data, at)
                at += max(length, EVENT.size)
                if mask & OVERFLOW or descriptor < 0:
                    self._count(24)
                    continue
                if mask & PERMISSION:
                    self._answer(descriptor, ALLOW if self._spared(pid) else self._late)
                os.close(descriptor)

    def _answer(self, number: int, verdict: int) -> None:
        try:
            os.write(self._group, ANSWER.pack(number, verdict))
        except OSError:
            return  # no question has this number, or who asked was killed
        self._count(16)

    def _count(self, place: int) -> None:
        WORD.pack_into(self._page, place, WORD.unpack_from(self._page, place)[0] + 1)

    def _spared(self, pid: int) -> bool:
        """The judge, and what it starts: it waits for that to have begun, and so for itself."""
        if pid in (self._owner, self._own):
            return True
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return int(file.read(4096).rpartition(b")")[2].split()[1]) == self._owner
        except (OSError, ValueError, IndexError):
            return False


def main(arguments: list[str]) -> None:
    group, judge, page, milliseconds, late = map(int, arguments)
    Keeper(group, judge, page, milliseconds / 1000, late).run()


if __name__ == "__main__":
    main(sys.argv[1:])
