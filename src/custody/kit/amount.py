"""A count and its noun as a person writes them: `1 package`, `0 packages`."""


def amount(count: int, noun: str, plural: str = "") -> str:
    """`count` and `noun`, which is in the plural unless there is one; `plural` where it is not the noun and an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
