"""Certificates read by several threads at once: what one lets pass, or warns of, is nobody else's."""

from __future__ import annotations

import threading
import warnings
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from custody.errors import MalformedError
from custody.sign import certificate as certificates
from custody.sign.certificate import load_certificate

NOW = datetime.now(UTC)


def made(title: str) -> bytes:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
               .serial_number(0x1234567890).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1)))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_threads_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters of warnings are the process's: a thread that sets them between another's leaves its own behind."""
    before, read, inside = list(warnings.filters), x509.load_der_x509_certificate, []
    second = threading.Thread(target=load_certificate, args=(made("second"), "second"))

    def reading(der: bytes) -> x509.Certificate:
        inside.append(threading.current_thread())
        if len(inside) == 1:
            second.start()
            second.join(0.3)  # it would be done by now
            assert inside == [threading.current_thread()]
        return read(der)

    monkeypatch.setattr(x509, "load_der_x509_certificate", reading)
    load_certificate(made("first"), "first")
    second.join()
    assert inside == [threading.current_thread(), second]
    assert list(warnings.filters) == before


def test_a_serial_number_that_is_not_positive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever somebody else does to warnings."""
    good = made("Ann")
    serial = b"\x02\x05\x12\x34\x56\x78\x90"
    assert good.count(serial) == 1
    negative = good.replace(serial, b"\x02\x05\x92\x34\x56\x78\x90")
    assert load_certificate(good, "leaf").serial_number > 0
    with pytest.raises(MalformedError, match=r"leaf: .*expected a DER X\.509 certificate"):
        load_certificate(negative, "leaf")
    monkeypatch.setattr(certificates, "CryptographyDeprecationWarning", ResourceWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(MalformedError, match=r"expected a DER X\.509 certificate"):
            load_certificate(negative[:-1] + bytes([negative[-1] ^ 1]), "leaf")  # none that is remembered
