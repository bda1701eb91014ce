"""Chains of certificates, verified as Go's crypto/x509 does (RFC 5280, section 6): signatures, validity, basic
constraints, key usages, name constraints and critical extensions."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from policylang.go.x509 import HANDLED

_ANY_PURPOSE = x509.ObjectIdentifier("2.5.29.37.0")
_LONGEST = 10  # certificates
_MOST_STEPS = 1_000  # chains looked at: issuers that sign each other make many


def extension(certificate: x509.Certificate, kind: Any) -> Any:
    """The extension's value; None without it."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def build(leaf: x509.Certificate, root: x509.Certificate, between: Sequence[x509.Certificate], now: datetime,
          purposes: Sequence[x509.ObjectIdentifier]) -> list[x509.Certificate] | None:
    """The chain from the leaf to the root, through intermediates; None where there is none that holds.

    `purposes`: extended key usages; one of them must be allowed by every certificate.
    """
    stack, steps = [[leaf]], 0
    while stack and steps < _MOST_STEPS:
        steps += 1
        chain = stack.pop()
        last = chain[-1]
        if not last.not_valid_before_utc <= now <= last.not_valid_after_utc or _unhandled(last) or \
                not all(_permits(last, below) for below in chain[:-1]):
            continue
        if last == root:
            if any(all(_serves(certificate, purpose) for certificate in chain) for purpose in purposes):
                return chain
            continue
        stack += [[*chain, issuer] for issuer in (root, *between)
                  if issuer not in chain and len(chain) < _LONGEST and _issued(issuer, last, len(chain) - 1)]
    return None


def _unhandled(certificate: x509.Certificate) -> bool:
    return any(stated.critical and stated.oid.dotted_string not in HANDLED for stated in certificate.extensions)


def _serves(certificate: x509.Certificate, purpose: x509.ObjectIdentifier) -> bool:
    usages = extension(certificate, x509.ExtendedKeyUsage)
    return usages is None or purpose == _ANY_PURPOSE or _ANY_PURPOSE in usages or purpose in usages


def _issued(issuer: x509.Certificate, child: x509.Certificate, below: int) -> bool:
    constraints, usage = extension(issuer, x509.BasicConstraints), extension(issuer, x509.KeyUsage)
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        return False
    if constraints.path_length is not None and below > constraints.path_length:
        return False
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


# --- name constraints (RFC 5280, section 4.2.1.10)

def _permits(issuer: x509.Certificate, below: x509.Certificate) -> bool:
    limits = extension(issuer, x509.NameConstraints)
    return limits is None or all(_allowed(name, limits) for name in _names(below))


def _names(certificate: x509.Certificate) -> Iterator[x509.GeneralName]:
    yield from extension(certificate, x509.SubjectAlternativeName) or ()


def _allowed(name: x509.GeneralName, limits: x509.NameConstraints) -> bool:
    permitted = [tree for tree in limits.permitted_subtrees or () if type(tree) is type(name)]
    excluded = [tree for tree in limits.excluded_subtrees or () if type(tree) is type(name)]
    return (not permitted or any(_matches(name, tree) for tree in permitted)) and not any(
        _matches(name, tree, unsure=True) for tree in excluded)


def _matches(name: x509.GeneralName, tree: x509.GeneralName, *, unsure: bool = False) -> bool:
    """`unsure`: what is said of a name that cannot be compared."""
    if isinstance(name, x509.IPAddress):
        network = tree.value
        return isinstance(network, (ipaddress.IPv4Network, ipaddress.IPv6Network)) and name.value in network
    if isinstance(name, x509.DNSName):
        return _domain(name.value, tree.value)
    if isinstance(name, x509.RFC822Name):
        mailbox, at, domain = name.value.rpartition("@")
        if "@" in tree.value:
            account, _, host = tree.value.rpartition("@")
            return bool(mailbox == account and domain.lower() == host.lower())
        return _domain(domain, tree.value) if at else unsure
    if isinstance(name, x509.UniformResourceIdentifier):
        host = name.value.partition("//")[2].partition("/")[0].rpartition("@")[2].partition(":")[0]
        return _domain(host, tree.value) if host and not host.startswith("[") else unsure
    return unsure  # of the other kinds Go checks none; a constraint on them is not met


def _domain(name: str, constraint: str) -> bool:
    """Of `.example.com` what is below it, of `example.com` itself too."""
    name, constraint = name.lower().rstrip("."), constraint.lower()
    if not constraint:
        return True
    if constraint.startswith("."):
        return name.endswith(constraint)
    return name == constraint or name.endswith("." + constraint)
