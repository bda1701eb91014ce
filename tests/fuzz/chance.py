"""What every generator draws by: the same seed, the same programs and documents."""

from __future__ import annotations

import random
from typing import Any


class Chance:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def chance(self, part: float) -> bool:
        return self.random.random() < part
