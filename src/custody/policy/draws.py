"""Random numbers that a decision has again: a stream drawn from what is decided, for one rule.

The key is the SHA-256 of the request, the decision's moment, and the names of policy and rule; the numbers are 64-bit
words of SHA-256 over the key and a counter. A replay draws the same ones; another request, moment or rule others.
Whoever knows all of these knows the numbers: they make names that do not meet, and no secrets.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from custody.policy.given import Given
    from custody.policy.rule import Rule

_ENCODER = msgspec.json.Encoder(order="deterministic")
_WORD = 8  # bytes


class Draws:
    """One stream, from its beginning."""

    def __init__(self, given: Given, rule: Rule) -> None:
        policy = rule.policy
        self._key = sha256(_ENCODER.encode([given.request, given.context.now, policy.kind, policy.name, rule.name])
                           ).digest()
        self._drawn = 0
        self._words = b""

    def below(self, bound: int) -> int:
        """From 0 to `bound` - 1, each as likely; `bound` is 1 to 2⁶⁴."""
        even = 2**64 - 2**64 % bound
        while (word := self._word()) >= even:
            pass
        return word % bound

    def _word(self) -> int:
        if not self._words:
            self._words = sha256(self._key + self._drawn.to_bytes(_WORD, "big")).digest()
            self._drawn += 1
        word, self._words = self._words[:_WORD], self._words[_WORD:]
        return int.from_bytes(word, "big")
