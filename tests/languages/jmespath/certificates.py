"""Certificates and requests of many shapes, as x509_decode() of the real `kyverno jp query` shows them.

`python -m tests.languages.jmespath.certificates KYVERNO` makes new ones and writes tests/data/kyverno_x509.json.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from tests.languages.jmespath.cases import ask

ANSWERS = Path(__file__).parents[2] / "data" / "kyverno_x509.json"
QUERY = "x509_decode(pem)"


def made() -> dict[str, str]:
    """Name → PEM."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
                      x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ö"),
                      x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "one"),
                      x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "two"),
                      x509.NameAttribute(NameOID.STREET_ADDRESS, "Way 1"), x509.NameAttribute(NameOID.POSTAL_CODE, "1"),
                      x509.NameAttribute(NameOID.SERIAL_NUMBER, "S1"), x509.NameAttribute(NameOID.COMMON_NAME, "c"),
                      x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@example.com")])
    plain = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plain")])
    names: list[x509.GeneralName] = [
        x509.DNSName("a.example"), x509.DNSName("*.b.example"), x509.RFC822Name("m@example.com"),
        x509.UniformResourceIdentifier("https://u@h.example:8443/p%2Fq?x=1#f"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.1")), x509.IPAddress(ipaddress.ip_address("2001:db8::1"))]

    def base(subject: x509.Name, serial: int) -> x509.CertificateBuilder:
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(key.public_key())
                .serial_number(serial).not_valid_before(datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))
                .not_valid_after(datetime(2060, 1, 1, tzinfo=UTC)))

    usage = x509.KeyUsage(True, False, True, False, False, True, True, False, False)
    rich = (base(name, 2**100 + 7)
            .add_extension(usage, True).add_extension(x509.BasicConstraints(True, 0), True)
            .add_extension(x509.SubjectAlternativeName(names), False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING,
                                                  x509.ObjectIdentifier("1.2.3.4")]), False)
            .add_extension(x509.SubjectKeyIdentifier(b"\1\2\3"), False)
            .add_extension(x509.AuthorityKeyIdentifier(b"\4\5", None, None), False)
            .add_extension(x509.AuthorityInformationAccess([
                x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://o")),
                x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS,
                                       x509.UniformResourceIdentifier("http://i"))]), False)
            .add_extension(x509.CRLDistributionPoints([x509.DistributionPoint(
                [x509.UniformResourceIdentifier("http://crl")], None, None, None)]), False)
            .add_extension(x509.CertificatePolicies([x509.PolicyInformation(
                x509.ObjectIdentifier("2.23.140.1.2.1"), None)]), False)
            .add_extension(x509.NameConstraints([x509.DNSName("ok.example"), x509.IPAddress(
                ipaddress.ip_network("10.0.0.0/8"))], [x509.RFC822Name("bad.example")]), True)
            .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), b"\4\1\0"), True))
    found = {"plain": base(plain, 1).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode(),
             "rich": rich.sign(key, hashes.SHA384()).public_bytes(Encoding.PEM).decode(),
             "ca": base(plain, 3).add_extension(x509.BasicConstraints(True, None), True).sign(
                 key, hashes.SHA512()).public_bytes(Encoding.PEM).decode(),
             "pss": base(plain, 4).sign(key, hashes.SHA256(), rsa_padding=padding.PSS(
                 padding.MGF1(hashes.SHA256()), 32)).public_bytes(Encoding.PEM).decode()}
    request = x509.CertificateSigningRequestBuilder().subject_name(name).add_extension(
        x509.SubjectAlternativeName(names), False).add_extension(x509.BasicConstraints(False, None), True)
    found["request"] = request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    found["bare request"] = x509.CertificateSigningRequestBuilder().subject_name(plain).sign(
        key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    curve = ec.generate_private_key(ec.SECP256R1())
    found["elliptic"] = x509.CertificateSigningRequestBuilder().subject_name(plain).sign(
        curve, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    found["with text around"] = f"subject: x\n{found['plain']}more\n{found['ca']}"
    found["another type"] = found["plain"].replace("CERTIFICATE", "PUBLIC KEY")
    return found


if __name__ == "__main__":
    rows = [[name, pem, *ask(sys.argv[1], [QUERY], {"pem": pem})[0]] for name, pem in made().items()]
    ANSWERS.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
    print(f"{len(rows)} answers")
