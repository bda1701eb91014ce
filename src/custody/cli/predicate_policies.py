"""`--policy` of the commands that verify attestations: what an attestation must say, beside who says it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from custody.cli.deadline import Duration
from custody.cli.trust_options import options_of
from custody.errors import Check, DeniedError, MalformedError, UnsupportedError, UsageError, VerificationError
from custody.evidence.model import Verified
from custody.formats import predicates, vsa
from custody.kit.clock import format_rfc3339, system_clock
from custody.sign.steps import Step, Trace

if TYPE_CHECKING:
    from custody.services.predicatepolicies import PredicatePolicies

_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{16,}")
SUMMARY = ("verifier_id", "resource_uri", "verified_levels", "policy_digests", "max_age")
"""The names of what `summary_options` give."""
policy_option = click.option("--policy", "policies", multiple=True, metavar="FILE",
                             help="Every attestation of the type is allowed by this: NAME.rego (data.signature.allow, "
                             "as cosign asks) or NAME.cel (of statement, predicate, signer); repeatable.")
type_option = click.option("--type", "kind", default="custom", show_default=True, metavar="TYPE",
                           help="Predicate type: a short name such as slsaprovenance1, spdxjson, cyclonedx, vuln, vsa, "
                           "or a URI.")
summary_options = options_of(
    click.option("--verifier-id", metavar="URI", help="With --type vsa: who must have verified; the summary must have "
                 "PASSED then, and be of the resource."),
    click.option("--resource-uri", metavar="URI", help="With --verifier-id: what must have been verified. Default: "
                 "NAME@DIGEST of the image."),
    click.option("--verified-level", "verified_levels", multiple=True, metavar="LEVEL",
                 help="With --verifier-id: it says this level, or of a track a higher one; repeatable."),
    click.option("--policy-digest", "policy_digests", multiple=True, metavar="ALG:HEX",
                 help="With --verifier-id: by this policy, or another one that is given so; repeatable."),
    click.option("--max-age", type=Duration("--max-age", ""), metavar="DURATION",
                 help="With --verifier-id: not verified longer ago, such as 24h."),
)
"""Of verification summaries; hand them to `Demand` as `summary`."""
STEPS = (Step.PREDICATE_TYPE, Step.PREDICATE, Step.SUMMARY, Step.POLICY)
"""What `Demand` asks, in this order."""


class Demand:
    """What an attestation must be. Raises UsageError and UnsupportedError for a type or a policy that is none."""

    def __init__(self, kind: str, policies: Iterable[str], summary: dict[str, Any], *, named: bool) -> None:
        """`named`: what is verified has a name by itself, as an image has, which `check` is given."""
        self.kind = kind
        self._summary = summary if _stated(kind, summary) else None
        if self._summary is not None and not named and not self._summary["resource_uri"]:
            raise UsageError("--resource-uri: not given, and a file has no name by which a verifier would call it")
        self.predicate_type = predicates.predicate_type(kind)
        # cosign's lists are lines of CSV.
        paths = [Path(name) for line in policies for name in next(csv.reader([line]), [])]
        self._policies: PredicatePolicies | None = None
        if paths:
            from custody.services.predicatepolicies import PredicatePolicies
            from custody.wiring.local import rego_world

            self._policies = PredicatePolicies(list(dict.fromkeys(paths)), rego_world())

    def check(self, verified: Verified, payload: bytes, trace: Trace, resource: str = "") -> None:
        """Raises VerificationError where it is of another type, of no right shape or another summary than is demanded,
        DeniedError where a policy does not allow it. `resource` is what a summary calls an image.
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
            self._check_summary(verified, trace, resource)
            if self._policies is None:
                trace.skipped("no --policy was given", Step.POLICY)
                return
            trace.begin(Step.POLICY)
            self._ask(self._policies, verified, payload)
            trace.passed("allowed")
        except (MalformedError, UnsupportedError) as error:
            trace.failed(error, Check.STATEMENT)
            raise VerificationError(error.message, check=Check.STATEMENT) from None
        except (DeniedError, VerificationError) as error:
            trace.failed(error, Check.STATEMENT)
            raise

    def _check_summary(self, verified: Verified, trace: Trace, resource: str) -> None:
        asked = self._summary
        if asked is None:
            trace.skipped("no --verifier-id was given", Step.SUMMARY)
            return
        trace.begin(Step.SUMMARY)
        summary = vsa.parse_summary(verified.predicate, "predicate")
        reason = vsa.mismatch(summary, vsa.Terms(
            verifier=asked["verifier_id"], resource=asked["resource_uri"] or resource,
            levels=asked["verified_levels"], policies=frozenset(asked["policy_digests"]),
            max_age=None if asked["max_age"] is None else timedelta(seconds=asked["max_age"])), system_clock())
        if reason is not None:
            raise VerificationError(f"summary: {reason}", check=Check.STATEMENT)
        trace.passed(f"{summary.verifier} at {format_rfc3339(summary.verified)}")

    def _ask(self, policies: PredicatePolicies, verified: Verified, payload: bytes) -> None:
        from custody.services.predicatepolicies import Attested

        try:
            objection = policies.objection(Attested(verified, payload, self.kind))
        except UsageError as error:  # the statement cannot be shown
            raise DeniedError(f"policy: {error.message}") from None
        if objection is not None:
            raise DeniedError(f"policy {objection}")


def _stated(kind: str, summary: dict[str, Any]) -> bool:
    """Whether something is demanded of a summary. Raises UsageError for what would be passed over."""
    given = [f"--{name.removesuffix('s').replace('_', '-')}" for name, value in summary.items()
             if value is not None and value != ()]
    if given and predicates.predicate_type(kind) != vsa.PREDICATE_TYPE:
        raise UsageError(f"{given[0]}: is of verification summaries, and --type is {kind}", hint="--type vsa")
    if given and summary["verifier_id"] is None:
        raise UsageError(f"{given[0]}: a summary says nothing until you say whose you expect", hint="--verifier-id URI")
    for digest in summary["policy_digests"]:
        if not _DIGEST.fullmatch(digest):
            raise UsageError(f"--policy-digest: got {digest!r}, expected such as sha256:HEX, in lower case")
    return bool(given)
