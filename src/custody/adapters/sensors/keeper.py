"""The process that holds a fanotify group and answers in time, whatever becomes of the one that judges.

A program that is started waits in the kernel until somebody answers. This process does nothing else: it hands each
question on with the file's descriptor, and answers by itself where no verdict came before the deadline, where the judge
does not read (it is stopped, or busy), and for the judge's own programs. When the judge is gone it ends, and with the
group's last descriptor the kernel lets everybody go. It is started as a file, with nothing but the standard library, so
that it is there in some 20 ms and holds no more than an interpreter.

Messages on the socket, one a packet, little-endian: to the judge `Q` question (number, pid, mask, with the descriptor),
`L` late (number), `O` the kernel's queue was full, `M` the answer to a mark (errno or 0), `B` how many were answered
without being asked; to the keeper `V` verdict (number, 1 allowed or 2 denied), `M` mark (flags, mask, with the
descriptor of a directory).
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import sys
import time

ALLOW, DENY = 1, 2
PERMISSION = 0x00040000  # FAN_OPEN_EXEC_PERM
OVERFLOW = 0x00004000  # FAN_Q_OVERFLOW
MOST = 256
"""Questions that wait at once; each holds a descriptor. More are answered as late ones are."""
_SOON = 0.02
"""Seconds without a verdict after which it is looked whether the judge waits for itself."""
EVENT = struct.Struct("<IBBHQii")
QUESTION = struct.Struct("<cqiQ")
NUMBER = struct.Struct("<cq")
VERDICT = struct.Struct("<cqI")
MARK = struct.Struct("<cIQ")


class Keeper:
    def __init__(self, group: int, judge: socket.socket, mark_call: int, deadline: float, late: int) -> None:
        self._group, self._judge, self._mark_call = group, judge, mark_call
        judge.setblocking(False)
        self._deadline, self._late = deadline, late
        self._owner, self._own = os.getppid(), os.getpid()
        self._waiting: dict[int, tuple[int, float]] = {}
        self._unsure: dict[int, tuple[int, float]] = {}
        self._last = 0
        self._unasked = 0

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._group, select.POLLIN)
        poll.register(self._judge, select.POLLIN)
        while True:
            for descriptor, event in poll.poll(self._timeout()):
                if descriptor == self._group:
                    self._questions()
                elif not event & select.POLLIN or not self._verdicts():
                    return
            self._expire()
            if self._unasked and self._send(NUMBER.pack(b"B", self._unasked)):
                self._unasked = 0

    def _timeout(self) -> float:
        if not self._waiting:
            return 1000.0
        first = next(iter(self._waiting.values()))[1]
        if self._unsure:
            first = min(first, next(iter(self._unsure.values()))[1])
        return max(1.0, (first - time.monotonic()) * 1000)

    # --- the kernel's side ------------------------------------------------------------------------------------------

    def _questions(self) -> None:
        try:
            data = os.read(self._group, 64 * 1024)
        except BlockingIOError:
            return
        at = 0
        while at + EVENT.size <= len(data):
            length, version, _, _, mask, descriptor, pid = EVENT.unpack_from(data, at)
            if version != 3 or length < EVENT.size:
                raise SystemExit("fanotify: another version of events")
            at += length
            if mask & OVERFLOW or descriptor < 0:
                self._send(NUMBER.pack(b"O", 1))
            else:
                self._ask(mask, descriptor, pid)

    def _ask(self, mask: int, descriptor: int, pid: int) -> None:
        if pid in (self._owner, self._own):
            self._answer(mask, descriptor, ALLOW)
            return
        self._last += 1
        if len(self._waiting) >= MOST or not self._send(QUESTION.pack(b"Q", self._last, pid, mask), descriptor):
            self._unasked += 1
            self._answer(mask, descriptor, self._late)
        elif mask & PERMISSION:
            now = time.monotonic()
            self._waiting[self._last] = descriptor, now + self._deadline
            self._unsure[self._last] = pid, now + _SOON
        else:
            os.close(descriptor)

    def _spared(self, pid: int) -> bool:
        """What the judge starts: it waits for that to have begun, and so for itself."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return int(file.read(4096).rpartition(b")")[2].split()[1]) == self._owner
        except (OSError, ValueError, IndexError):
            return False

    def _answer(self, mask: int, descriptor: int, verdict: int) -> None:
        if mask & PERMISSION:
            try:
                os.write(self._group, struct.pack("<iI", descriptor, verdict))
            except FileNotFoundError:
                pass  # who asked was killed meanwhile
        os.close(descriptor)

    def _expire(self) -> None:
        now = time.monotonic()
        for number, (pid, end) in [*self._unsure.items()]:
            if end > now:
                break
            del self._unsure[number]
            if number in self._waiting and self._spared(pid):
                self._answer(PERMISSION, self._waiting.pop(number)[0], ALLOW)
        for number, (descriptor, end) in [*self._waiting.items()]:
            if end > now:
                return  # in the order in which they were asked
            del self._waiting[number]
            self._answer(PERMISSION, descriptor, self._late)
            if not self._send(NUMBER.pack(b"L", number)):
                self._unasked += 1

    # --- the judge's side -------------------------------------------------------------------------------------------

    def _send(self, message: bytes, *descriptors: int) -> bool:
        try:
            if descriptors:
                socket.send_fds(self._judge, [message], descriptors)
            else:
                self._judge.send(message)
        except (BlockingIOError, ConnectionError):
            return False
        except OSError:  # too many descriptors on their way, or no memory
            return False
        return True

    def _verdicts(self) -> bool:
        """False when the judge is gone."""
        for _ in range(MOST):
            try:
                message, descriptors, _, _ = socket.recv_fds(self._judge, 64, 1)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not message:
                return False
            if message[:1] == b"V":
                _, number, verdict = VERDICT.unpack(message)
                waiting = self._waiting.pop(number, None)
                self._unsure.pop(number, None)
                if waiting is not None:
                    self._answer(PERMISSION, waiting[0], DENY if verdict == DENY else ALLOW)
            elif message[:1] == b"M" and descriptors:
                _, flags, mask = MARK.unpack(message)
                self._send(NUMBER.pack(b"M", self._mark(flags, mask, descriptors[0])))
                os.close(descriptors[0])
        return True

    def _mark(self, flags: int, mask: int, directory: int) -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        path = ctypes.c_char_p(b".")
        result = libc.syscall(ctypes.c_long(self._mark_call), ctypes.c_long(self._group), ctypes.c_long(flags),
                              ctypes.c_ulong(mask), ctypes.c_long(directory), path)
        return 0 if result == 0 else ctypes.get_errno()


def main(arguments: list[str]) -> None:
    group, judge, mark_call, milliseconds, late = map(int, arguments)
    Keeper(group, socket.socket(fileno=judge), mark_call, milliseconds / 1000, late).run()


if __name__ == "__main__":
    main(sys.argv[1:])
