"""The order in which rules of all engines are asked, and which part of it each way of asking takes."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Phase(enum.IntEnum):
    """What a rule does with a request. In this order."""

    MUTATE = 1
    """It changes the object. Each such rule sees what those before it changed."""
    VERIFY = 2
    """It judges images, and may change their names to those that it judged. All see the object as mutation left it."""
    VALIDATE = 3
    GENERATE = 4
    """It makes, changes or deletes other objects because of one that was admitted."""
    AUDIT = 5
    """It judges what lies in the cluster and is never asked about a request."""



JUDGING = frozenset({Phase.VERIFY, Phase.VALIDATE, Phase.AUDIT})
"""Phases in which what a rule says is a judgement: that something was changed or made allows nothing."""


class Stage(NamedTuple):
    """A part of the way that ends with an answer."""

    phases: tuple[Phase, ...]
    changes: bool
    """Whether what rules change is applied: the mutating webhook's answer carries it, no other one does."""


class Course(enum.StrEnum):
    """Where the fold over the phases begins and ends. A phase that comes twice is asked again of what was changed."""

    MUTATING = "mutating"
    """The mutating webhook alone."""
    VALIDATING = "validating"
    """The validating webhook alone: what other webhooks and the API server made of the object."""
    ADMISSION = "admission"
    """Both in a row, as the API server asks them about one request."""
    GENERATING = "generating"
    """After admission: what becomes of other objects. Nobody waits for the answer."""
    BACKGROUND = "background"
    """What lies in a cluster: nobody asks for it, and nothing is changed."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        return _STAGES[self]

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Each once, in order."""
        return _PHASES[self]


_MUTATING = Stage((Phase.MUTATE, Phase.VERIFY), changes=True)
_VALIDATING = Stage((Phase.VERIFY, Phase.VALIDATE), changes=False)
_STAGES = {Course.MUTATING: (_MUTATING,), Course.VALIDATING: (_VALIDATING,),
           Course.ADMISSION: (_MUTATING, _VALIDATING),
           Course.GENERATING: (Stage((Phase.GENERATE,), changes=False),),
           Course.BACKGROUND: (Stage((Phase.VERIFY, Phase.VALIDATE, Phase.AUDIT), changes=False),)}
_PHASES = {course: tuple(dict.fromkeys(phase for stage in stages for phase in stage.phases))
           for course, stages in _STAGES.items()}
