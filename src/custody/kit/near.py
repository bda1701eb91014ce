"""What somebody may have meant who wrote a name wrong."""

from __future__ import annotations

from collections.abc import Iterable


def near(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """`did you mean NAME?`, or `otherwise` where no known name is like it."""
    import difflib  # not for every start

    by_case = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), list(by_case), 1)
    return f"did you mean {by_case[close[0]]}?" if close else otherwise
