"""What goes wrong again and again is said once: whoever reads a log is told what changes."""

from __future__ import annotations

_MOST = 100


class SaidOnce:
    """Texts that were said about one thing. No thread's in particular: two at once may both say."""

    def __init__(self) -> None:
        self._last = ""
        self._ever: set[str] = set()

    def changes(self, text: str) -> bool:
        """Whether it is another text than the last."""
        changed, self._last = text != self._last, text
        return changed

    def first(self, text: str) -> bool:
        """Whether it was never said, and there is room to remember that: 100 texts."""
        if text in self._ever or len(self._ever) >= _MOST:
            return False
        self._ever.add(text)
        return True

    def over(self) -> None:
        """It goes well: the next failure is said, whatever it is."""
        self._last = ""
