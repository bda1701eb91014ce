"""`--policy` of the commands that verify attestations: what an attestation must say, beside who says it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from custody.errors import Check, DeniedError, MalformedError, UsageError, VerificationError
from custody.evidence.model import Verified
from custody.formats import predicates
from custody.sign.steps import Step, Trace

if TYPE_CHECKING:
    from custody.services.predicatepolicies import PredicatePolicies

policy_option = click.option("--policy", "policies", multiple=True, metavar="FILE",
                             help="Every attestation of the type is allowed by this: NAME.rego (data.signature.allow, "
                             "as cosign asks) or NAME.cel (of statement, predicate, signer); repeatable.")
type_option = click.option("--type", "kind", default="custom", show_default=True, metavar="TYPE",
                           help="Predicate type: a short name such as slsaprovenance1, spdxjson, cyclonedx, vuln, vsa, "
                           "or a URI.")
STEPS = (Step.PREDICATE_TYPE, Step.PREDICATE, Step.POLICY)
"""What `Demand` asks, in this order."""


class Demand:
    """What an attestation must be. Raises UsageError and UnsupportedError for a type or a policy that is none."""

    def __init__(self, kind: str, policies: Iterable[str]) -> None:
        self.kind = kind
        self.predicate_type = predicates.predicate_type(kind)
        # cosign's lists are lines of CSV.
        paths = [Path(name) for line in policies for name in next(csv.reader([line]), [])]
        self._policies: PredicatePolicies | None = None
        if paths:
            from custody.services.predicatepolicies import PredicatePolicies
            from custody.wiring.local import rego_world

            self._policies = PredicatePolicies(list(dict.fromkeys(paths)), rego_world())

    def check(self, verified: Verified, payload: bytes, trace: Trace) -> None:
        """Raises VerificationError where it is of another type or of no right shape, DeniedError where a policy does
        not allow it.
        """
        try:
            trace.begin(Step.PREDICATE_TYPE)
            if verified.predicate_type != self.predicate_type:
                raise VerificationError(f"predicate type: got {verified.predicate_type}, expected "
                                        f"{self.predicate_type}", check=Check.STATEMENT, hint="--type TYPE")
            trace.passed(self.predicate_type)
            trace.begin(Step.PREDICATE)
            predicates.check_shape(verified.predicate_type, verified.predicate)
            trace.passed()
            if self._policies is None:
                trace.skipped("no --policy was given", Step.POLICY)
                return
            trace.begin(Step.POLICY)
            self._ask(self._policies, verified, payload)
            trace.passed("allowed")
        except MalformedError as error:
            trace.failed(error, Check.STATEMENT)
            raise VerificationError(error.message, check=Check.STATEMENT) from None
        except (DeniedError, VerificationError) as error:
            trace.failed(error, Check.STATEMENT)
            raise

    def _ask(self, policies: PredicatePolicies, verified: Verified, payload: bytes) -> None:
        from custody.services.predicatepolicies import Attested

        try:
            objection = policies.objection(Attested(verified, payload, self.kind))
        except UsageError as error:  # the statement cannot be shown
            raise DeniedError(f"policy: {error.message}") from None
        if objection is not None:
            raise DeniedError(f"policy {objection}")
