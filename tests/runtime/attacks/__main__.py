"""`python -m tests.runtime.attacks RULE`: does what the rule is about, in this process."""

from __future__ import annotations

import sys

from tests.runtime.attacks.actions import ACTIONS

ACTIONS[sys.argv[1]]()
