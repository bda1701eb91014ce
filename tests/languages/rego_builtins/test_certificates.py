"""Certificates and requests, of all kinds of keys and with all extensions that Go knows, as the real OPA shows them."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from policylang import rego
from tests.conftest import peer

POLICY = """package p

import rego.v1

shown[name] := crypto.x509.parse_certificates(input[name]) if startswith(input[name], "-----BEGIN CERTIFICATE--")

shown[name] := crypto.x509.parse_certificate_request(input[name]) if contains(input[name], "REQUEST")
"""
URI = x509.UniformResourceIdentifier
NAME = x509.Name([x509.NameAttribute(oid, text) for oid, text in (
    (NameOID.COMMON_NAME, "a b"), (NameOID.COUNTRY_NAME, "DE"), (NameOID.ORGANIZATION_NAME, "Örg"),
    (NameOID.ORGANIZATION_NAME, "two"), (NameOID.SERIAL_NUMBER, "77"), (NameOID.EMAIL_ADDRESS, "a@b.c"))])
EXTENSIONS = {
    "authority": x509.BasicConstraints(ca=True, path_length=0),
    "leaf": x509.BasicConstraints(ca=False, path_length=None),
    "usage": x509.KeyUsage(True, False, True, False, True, False, True, False, True),
    "purposes": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, x509.ObjectIdentifier("1.2.3.4.5")]),
    "names": x509.SubjectAlternativeName([
        x509.DNSName("*.b.org"), x509.RFC822Name("x@y.z"), x509.IPAddress(ip_address("10.0.0.1")),
        x509.IPAddress(ip_address("2001:db8::1")), URI("https://u@h.example.com:8/p%2fq?q#f"), URI("spiffe://td/x")]),
    "other names": x509.SubjectAlternativeName([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))]),
    "own": x509.SubjectKeyIdentifier(b"abc"), "issuer": x509.AuthorityKeyIdentifier(b"def", None, None),
    "access": x509.AuthorityInformationAccess([
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, URI("http://o")),
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, URI("http://c"))]),
    "lists": x509.CRLDistributionPoints([x509.DistributionPoint([URI("http://crl")], None, None, None)]),
    "policies": x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), None)]),
    "constraints": x509.PolicyConstraints(0, 2), "any policy": x509.InhibitAnyPolicy(2),
    "limits": x509.NameConstraints([x509.DNSName("example.com"), x509.IPAddress(ip_network("10.0.0.0/8"))],
                                   [x509.RFC822Name("y.z"), URI("example.com")]),
    "other limits": x509.NameConstraints([x509.DirectoryName(NAME)], None),
    "mappings": x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"),
                                           bytes.fromhex("300c300a06032a0304060355040a")),
    "unknown": x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.9"), b"\x04\x01a"),
}


def certificate(key: Any, *extensions: str, critical: bool = False, **signing: Any) -> str:
    made = (x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key.public_key())
            .serial_number(2**90 + 1).not_valid_before(datetime(1990, 1, 2, tzinfo=UTC))
            .not_valid_after(datetime(2060, 1, 1, tzinfo=UTC)))
    for name in extensions:
        made = made.add_extension(EXTENSIONS[name], critical)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return made.sign(key, digest, **signing).public_bytes(Encoding.PEM).decode()


def request(key: Any, *extensions: str) -> str:
    made = x509.CertificateSigningRequestBuilder().subject_name(NAME)
    for name in extensions:
        made = made.add_extension(EXTENSIONS[name], critical=name == "names")
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return made.sign(key, digest).public_bytes(Encoding.PEM).decode()


@pytest.mark.peer
def test_shown_as_the_real_opa_shows_them(tmp_path: Path) -> None:
    opa, small = peer("opa"), ec.generate_private_key(ec.SECP256R1())
    keys = {"rsa": rsa.generate_private_key(65537, 2048), "dsa": dsa.generate_private_key(2048), "p256": small,
            "p521": ec.generate_private_key(ec.SECP521R1()), "ed25519": ed25519.Ed25519PrivateKey.generate()}
    given = {f"{name} certificate": certificate(key) for name, key in keys.items()}
    given |= {f"{name} request": request(key, "names", "usage") for name, key in keys.items()}
    given |= {name: certificate(small, name) for name in EXTENSIONS}
    given |= {f"critical {name}": certificate(small, name, critical=True) for name in EXTENSIONS}
    given["pss"] = certificate(keys["rsa"], rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32))
    given["all"] = certificate(small, "leaf", "usage", "purposes", "names", "own", "issuer", "access", "lists",
                               "policies")
    (tmp_path / "p.rego").write_text(POLICY)
    (tmp_path / "input.json").write_text(json.dumps(given))
    done = subprocess.run([opa, "eval", "-d", tmp_path / "p.rego", "-i", tmp_path / "input.json", "data.p.shown"],
                          capture_output=True, check=True)
    [[theirs]] = [[part["value"] for part in row["expressions"]] for row in json.loads(done.stdout)["result"]]
    mine = rego.to_json(rego.Policy({"p.rego": POLICY}).entry("data.p.shown")(given))
    assert {name for name in given if name not in theirs} == {"critical own", "critical issuer", "critical access"}
    assert mine == theirs
