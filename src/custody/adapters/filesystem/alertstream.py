"""Alerts to standard output, which is whoever reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from custody.adapters.filesystem.drafts import storage_error
from custody.ports.alerting import Line, Place


class AlertStream:
    """Implements ports.alerting.AlertOutput. What a reader has read cannot be taken back.

    Where nobody reads on, `write` raises BrokenPipeError: there is nobody to tell any more.
    """

    def __init__(self, stream: TextIO, *, text: bool = False) -> None:
        self._stream, self._text = stream, text

    @property
    def name(self) -> str:
        return "stdout"

    def write(self, lines: Sequence[Line]) -> None:
        try:
            buffer = getattr(self._stream, "buffer", None)
            if self._text or buffer is None:
                self._stream.write("".join(f"{line.text if self._text else line.json.decode()}\n" for line in lines))
                self._stream.flush()
                return
            # JSON is UTF-8, whatever the terminal's encoding is: another, or escapes of it, would be no JSON.
            self._stream.flush()
            buffer.write(b"".join(b"%b\n" % line.json for line in lines))
            buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise storage_error("standard output", error) from None

    def place(self) -> Place | None:
        return None

    def recover(self, place: Place | None) -> str:  # noqa: ARG002 - what was read is read
        return ""

    def close(self) -> None:
        """The stream is its owner's."""
