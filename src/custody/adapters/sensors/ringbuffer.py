"""A ring buffer of the kernel, read where it lies (kernel.org, bpf/ringbuf)."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

from custody.adapters.sensors import kernel

_BUSY, _DISCARDED = 1 << 31, 1 << 30
_word = struct.Struct("=Q")
_head = struct.Struct("=I")


class RingBuffer:
    """`size` is a power of two, in bytes. `descriptor` can be polled."""

    def __init__(self, size: int) -> None:
        self.descriptor = kernel.create_map(kernel.RINGBUF, 0, 0, size, "custody_ring")
        self._mask, page = size - 1, mmap.PAGESIZE
        try:
            self._consumer = mmap.mmap(self.descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            # The producer's place, then the data twice: what goes over the end goes on behind it.
            self._data = mmap.mmap(self.descriptor, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        except OSError:
            os.close(self.descriptor)
            raise
        self._page = page

    def records(self, most: int) -> Iterator[bytes]:
        """What is there, oldest first, `most` of them; a copy each."""
        data, consumer, mask, page = self._data, self._consumer, self._mask, self._page
        (at,) = _word.unpack_from(consumer)
        for _ in range(most):
            if at >= _word.unpack_from(data)[0]:
                return
            place = page + (at & mask)
            (length,) = _head.unpack_from(data, place)
            if length & _BUSY:
                return
            size = length & ~_DISCARDED
            record = None if length & _DISCARDED else data[place + 8:place + 8 + size]
            at += (size + 8 + 7) & ~7
            _word.pack_into(consumer, 0, at)  # whatever becomes of it, it is not read twice
            if record is not None:
                yield record

    def close(self) -> None:
        if self.descriptor >= 0:
            self._data.close()
            self._consumer.close()
            os.close(self.descriptor)
            self.descriptor = -1
