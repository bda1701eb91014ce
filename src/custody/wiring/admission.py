"""The webhook: its judge, over a gatherer that it shares with whoever else asks, and the certificate it serves with."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from custody.kit.clock import Clock

if TYPE_CHECKING:
    from custody.admission.answered import Observer
    from custody.admission.certs import ServingCertificate
    from custody.admission.webhook import Admission, Snapshot
    from custody.evidence.model import EvidenceSet
    from custody.policy.load import PolicySet
    from custody.services.gather import Gatherer


def admission(policies: PolicySet, gatherer: Gatherer, clock: Clock, observer: Observer | None = None) -> Admission:
    from custody.admission.webhook import Admission

    def gather(snapshot: Snapshot, images: list[str]) -> Awaitable[Mapping[str, EvidenceSet]]:
        predicate_types = dict.fromkeys(images, snapshot.predicate_types)
        if snapshot.root is None:  # the gatherer's own
            return gatherer.gather(predicate_types, snapshot.keys)
        return gatherer.gather(predicate_types, snapshot.keys, root=snapshot.root)

    return Admission(policies, gather, clock, observer=observer)


def serving_certificate(folder: Path, hosts: list[str], clock: Clock) -> ServingCertificate:
    from custody.admission.certs import ServingCertificate

    serving = ServingCertificate(folder, hosts)
    serving.ensure(clock())
    return serving
