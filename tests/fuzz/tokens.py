"""Keys, tokens and certificates for `tests.fuzz.builtins`: right ones, and each with something wrong.

The keys are new in each run.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import ipaddress
import json
import random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER
_PLAIN = serialization.NoEncryption()
_FORMATS = serialization.PrivateFormat
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo

RSA, RSA_OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
CURVES = {"ES256": ec.generate_private_key(ec.SECP256R1()), "ES384": ec.generate_private_key(ec.SECP384R1()),
          "ES512": ec.generate_private_key(ec.SECP521R1())}
ED = ed25519.Ed25519PrivateKey.generate()
SECRET = "a secret"
KEYS: dict[str, Any] = {**{kind + size: RSA for kind in ("RS", "PS") for size in ("256", "384", "512")}, **CURVES, "EdDSA": ED}


def _b64(data: bytes | str) -> str:
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).decode().rstrip("=")


def _number(value: int, size: int = 0) -> str:
    return _b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def web_key(key: Any, private: bool = False, **more: Any) -> dict[str, Any]:
    if isinstance(key, str):
        return {"kty": "oct", "k": _b64(key), **more}
    if isinstance(key, rsa.RSAPrivateKey):
        parts, public = key.private_numbers(), key.public_key().public_numbers()
        made = {"kty": "RSA", "n": _number(public.n), "e": _number(public.e)}
        return {**made, **({"d": _number(parts.d), "p": _number(parts.p), "q": _number(parts.q), "dp": _number(parts.dmp1),
                            "dq": _number(parts.dmq1), "qi": _number(parts.iqmp)} if private else {}), **more}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
        made = {"kty": "EC", "crv": f"P-{key.key_size}", "x": _number(point.x, size), "y": _number(point.y, size)}
        return {**made, **({"d": _number(key.private_numbers().private_value, size)} if private else {}), **more}
    made = {"kty": "OKP", "crv": "Ed25519", "x": _b64(key.public_key().public_bytes_raw())}
    return {**made, **({"d": _b64(key.private_bytes_raw())} if private else {}), **more}


def sign(algorithm: str, data: bytes, key: Any) -> bytes:
    digest: Any = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}.get(algorithm[2:], hashes.SHA256)()
    if isinstance(key, str):
        return hmac.digest(key.encode(), data, getattr(hashlib, f"sha{algorithm[2:]}"))
    if isinstance(key, rsa.RSAPrivateKey):
        scheme = padding.PKCS1v15() if algorithm[0] == "R" else padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
        return key.sign(data, scheme, digest)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.key_size + 7) // 8
        return b"".join(part.to_bytes(size, "big") for part in decode_dss_signature(key.sign(data, ec.ECDSA(digest))))
    return bytes(key.sign(data))


def token(header: Any, payload: Any, key: Any, algorithm: str) -> str:
    shown = [each if isinstance(each, str) else json.dumps(each) for each in (header, payload)]
    data = f"{_b64(shown[0])}.{_b64(shown[1])}"
    return f"{data}.{_b64(sign(algorithm, data.encode(), key))}"


def _signed() -> dict[str, list[str]]:
    payloads: list[Any] = [
        {"iss": "me", "aud": "you"}, {"iss": "me", "aud": ["you", "they"]}, {"aud": [1, "you"]}, {"aud": []}, {"aud": 1}, {}, [1], "no JSON", "", "null",
        {"exp": 1000}, {"exp": 1000.5}, {"exp": "1000"}, {"nbf": 1000}, {"nbf": 2000.25}, {"nbf": None}, {"exp": 3000, "nbf": 500, "iat": 1, "iss": "me"}, {"iss": "x"},
        '{"a": 1, "a": 2}', '{"iss": "me", "iss": "x"}', {"é": "<&>"}, '{"n": 1.0, "m": 1e3, "big": 12345678901234567890}']
    made: dict[str, list[str]] = {}
    for algorithm, key in {**KEYS, "HS256": SECRET, "HS384": SECRET, "HS512": SECRET}.items():
        headers: list[Any] = [
            {"alg": algorithm}, {"alg": algorithm, "typ": "JWT"}, {"alg": algorithm, "kid": "k1"}, {"alg": algorithm, "kid": "k2"}, {"alg": algorithm, "kid": "none"},
            {"typ": "JWT"}, {"alg": "none"}, {"alg": "HS256"}, {"alg": "RS256"}, {"alg": 1}, {"alg": algorithm, "kid": 1}, {"alg": algorithm, "crit": ["x"], "x": 1},
            {"alg": algorithm, "crit": ["x"]}, {"alg": algorithm, "crit": []}, {"alg": algorithm, "crit": [1, "x"], "x": 1}, {"alg": algorithm, "crit": ["b64"], "b64": False},
            {"alg": algorithm, "crit": "x"}, {"alg": algorithm, "crit": ["y", 1, "x"], "x": 1}, {"alg": algorithm, "enc": "x"}, "[]", "{", {"alg": algorithm, "cty": 1}]
        tokens = [token(headers[0], payload, key, algorithm) for payload in payloads]
        tokens += [token(header, payloads[0], key, algorithm) for header in headers]
        inner = token(headers[0], payloads[0], key, algorithm)
        for kind in ("JWT", "jwt", "Jwt", "x"):
            tokens += [token({"alg": algorithm, "cty": kind}, wrapped, key, algorithm) for wrapped in (inner, json.dumps(inner), "{}")]
        whole, _, signature = tokens[0].rpartition(".")
        tokens += [whole + ".", f"{whole}.{signature[:-4]}", f"{whole}.{signature}=", f"{whole}.AAAA{signature[4:]}", f"{whole}.{signature}AA", f"{whole}.!", f"{whole}.{_b64(b'0' * 64)}"]
        if isinstance(key, ec.EllipticCurvePrivateKey):
            tokens.append(f"{whole}.{_b64(key.sign(whole.encode(), ec.ECDSA(hashes.SHA256())))}")  # in DER
        tokens.append(token(headers[0], payloads[0], RSA_OTHER if isinstance(key, rsa.RSAPrivateKey) else "other", algorithm)
                      if not isinstance(key, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)) else f"{whole}.{_b64(b'1' * 64)}")
        made[algorithm] = tokens
    return made


_NOW = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def _name(common: str, **more: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []
    return x509.Name([*parts, *(x509.NameAttribute(getattr(NameOID, kind), shown) for kind, shown in more.items())])


def _certificate(subject: x509.Name, key: Any, issuer: x509.Name, by: Any, *extensions: tuple[Any, bool], days: int = 3650, serial: int = 12345) -> x509.Certificate:
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key()).serial_number(serial)
               .not_valid_before(_NOW).not_valid_after(_NOW + datetime.timedelta(days=days)))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def _usage(**given: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


def _certificates() -> dict[str, str]:
    """PEM by name."""
    root_name, mid_name = _name("root", COUNTRY_NAME="DE", ORGANIZATION_NAME="Ö"), _name("mid")
    authority = (x509.BasicConstraints(True, None), True)
    root = _certificate(root_name, RSA, root_name, RSA, authority, (_usage(key_cert_sign=True, crl_sign=True), True))
    mid_key = CURVES["ES256"]
    mid = _certificate(mid_name, mid_key, root_name, RSA, (x509.BasicConstraints(True, 0), True), (_usage(key_cert_sign=True), True))
    short = _certificate(mid_name, mid_key, root_name, RSA, (x509.BasicConstraints(True, 0), True), days=1)
    names = x509.SubjectAlternativeName([x509.DNSName("example.com"), x509.DNSName("*.example.org"), x509.RFC822Name("a@b.c"), x509.UniformResourceIdentifier("https://u:p@h:8/p%20q?x=1#f"),
                                         x509.IPAddress(ipaddress.ip_address("10.0.0.1")), x509.IPAddress(ipaddress.ip_address("::1"))])
    server = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, x509.ObjectIdentifier("1.2.3.4")]), False)
    leaf = _certificate(_name("leaf", SERIAL_NUMBER="7", STREET_ADDRESS="s"), CURVES["ES384"], mid_name, mid_key, (names, False), server, (_usage(digital_signature=True), True))
    plain = _certificate(_name("plain"), ED, root_name, RSA)
    signer = _certificate(_name("signer"), CURVES["ES512"], root_name, RSA, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), True), (names, False))
    empty = _certificate(x509.Name([]), CURVES["ES256"], root_name, RSA, (names, True))
    rich = _certificate(_name("rich"), RSA_OTHER, root_name, RSA, (x509.SubjectKeyIdentifier(b"1" * 20), False), (x509.AuthorityKeyIdentifier(b"2" * 20, None, None), False),
                        (x509.CRLDistributionPoints([x509.DistributionPoint([x509.UniformResourceIdentifier("http://c/")], None, None, None)]), False),
                        (x509.AuthorityInformationAccess([x509.AccessDescription(x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1"), x509.UniformResourceIdentifier("http://o/"))]), False),
                        (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)]), False),
                        (x509.NameConstraints([x509.DNSName("example.com"), x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))], [x509.RFC822Name("x.y")]), True),
                        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00"), True), (x509.InhibitAnyPolicy(2), True),
                        (x509.PolicyConstraints(1, 0), True), (x509.BasicConstraints(True, None), True), serial=1 << 150)
    limited = _certificate(_name("limited"), ED, _name("rich"), RSA_OTHER, (names, False))
    self_signed = _certificate(_name("self"), ED, _name("self"), ED, authority)
    return {name: each.public_bytes(_PEM).decode() for name, each in
            {"root": root, "mid": mid, "short": short, "leaf": leaf, "plain": plain, "signer": signer, "empty": empty, "rich": rich, "limited": limited, "self": self_signed}.items()}


PEMS = _certificates()


def _requests() -> list[str]:
    made = []
    for key in (RSA, CURVES["ES256"], ED):
        builder = x509.CertificateSigningRequestBuilder().subject_name(_name("r", ORGANIZATION_NAME="o"))
        named = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.b")]), False).add_extension(x509.BasicConstraints(False, None), True)
        for each in (builder, named):
            request = each.sign(key, None if key is ED else hashes.SHA256())
            made += [request.public_bytes(_PEM).decode(), base64.b64encode(request.public_bytes(_DER)).decode()]
    return [*made, PEMS["root"], made[0].replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"), made[0] + made[0], made[0][:-40], "", base64.b64encode(b"x").decode()]


def _private() -> list[str]:
    made = []
    for key in (RSA, *CURVES.values(), ED):
        made += [key.private_bytes(_PEM, form, _PLAIN).decode() for form in
                 (_FORMATS.PKCS8, *(() if key is ED else (_FORMATS.TraditionalOpenSSL,)))]
        made.append(key.private_bytes(_PEM, _FORMATS.PKCS8, serialization.BestAvailableEncryption(b"p")).decode())
    made.append(RSA.private_bytes(_PEM, _FORMATS.TraditionalOpenSSL, serialization.BestAvailableEncryption(b"p")).decode())
    made.append(RSA.private_bytes(_PEM, _FORMATS.OpenSSH, _PLAIN).decode())
    made += [made[0] + made[3], made[0] + PEMS["root"], PEMS["root"], "x\n" + made[3], base64.b64encode(made[0].encode()).decode(),
             base64.b64encode(RSA.private_bytes(_DER, _FORMATS.PKCS8, _PLAIN)).decode(), "", "x", made[0][:-60], made[0].replace("M", "N", 1)]
    return made


_SIGNED = _signed()
_PUBLIC: dict[str, list[str]] = {
    algorithm: [key.public_key().public_bytes(_PEM, _SPKI).decode(), json.dumps(web_key(key)), json.dumps(web_key(key, alg=algorithm)),
                json.dumps({"keys": [web_key(key, kid="k1", alg=algorithm), web_key(RSA_OTHER, kid="k2")]}),
                json.dumps({"keys": [web_key(RSA_OTHER, kid="k1"), web_key(key, kid="k2", use="sig")]}), json.dumps(web_key(key, private=True)),
                json.dumps({"keys": [web_key(key, alg="RS1"), web_key(SECRET)]})] for algorithm, key in KEYS.items()}
_CONSTRAINTS: dict[str, tuple[Any, ...]] = {
    "alg": ("HS256", "ES256", "", "x"), "iss": ("me", "x", ""), "aud": ("you", "they", "", "x"), "time": (0, 10**12, 1000 * 10**9 - 1, 2 * 10**12, 3 * 10**12, 2000250000000)}


def suiting(choose: random.Random) -> list[Any]:
    """Operands of io.jwt.decode_verify that are for the same algorithm."""
    algorithm = choose.choice(list(_SIGNED))
    key = choose.choice(_PUBLIC[algorithm]) if algorithm in _PUBLIC else None
    more: dict[str, Any] = {name: choose.choice(pool) for name, pool in _CONSTRAINTS.items() if choose.random() < 0.25}
    return [choose.choice(_SIGNED[algorithm]), {**({"secret": SECRET} if key is None else {"cert": key}), **more}]


def pools() -> dict[str, dict[int, tuple[Any, ...]]]:
    signed, private = _SIGNED, _private()
    everything = tuple(each for tokens in signed.values() for each in tokens)
    public = _PUBLIC
    odd = [PEMS["root"], PEMS["root"] + PEMS["mid"], PEMS["root"] + "\n", private[0], "{}", '{"keys": []}', '{"keys": [{}]}', '{"kty": "x"}', "[]", "", "x", '{"kty":"RSA","n":"AQ"}',
           json.dumps(web_key(SECRET)), PEMS["leaf"], PEMS["plain"]]
    keys = {algorithm: tuple(shown + odd) for algorithm, shown in public.items()}
    made: dict[str, dict[int, tuple[Any, ...]]] = {"io.jwt.decode": {0: everything}}
    for algorithm, tokens in signed.items():
        made[f"io.jwt.verify_{algorithm.lower()}"] = {0: tuple(tokens) + everything[::40],
                                                      1: keys.get(algorithm, (SECRET, SECRET, "x", "", json.dumps(web_key(SECRET))))}
    constraints = [{**({"secret": SECRET} if algorithm[0] == "H" else {"cert": key}), **more}
                   for algorithm in signed for key in keys.get(algorithm, ("",))[:5 if algorithm[0] != "H" else 1]
                   for more in ({}, {"alg": algorithm}, {"alg": "HS256"}, {"iss": "me"}, {"aud": "you"}, {"iss": "me", "aud": "they", "time": 10**12}, {"time": 1000 * 10**9}, {"time": 999999999999},
                                {"time": 2 * 10**12}, {"time": -1}, {"time": "x"}, {"secret": SECRET}, {"aud": ["you"]}, {"x": 1}, {"iss": ""}, {"aud": ""}, {"alg": ""}, {"time": 0})]
    made["io.jwt.decode_verify"] = {0: everything, 1: (*constraints, {}, {"secret": ""}, {"cert": "x"}, {"cert": 1}, {"secret": 1}, {"cert": '{"keys": []}'})}
    headers = [{"alg": algorithm, **more} for algorithm in ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "EdDSA")
               for more in ({}, {"typ": "JWT"}, {"typ": "text/plain"}, {"kid": "é<"}, {"typ": 1})] + [{}, {"alg": "none"}, {"alg": 1}, {"typ": "JWT"}]
    payloads = [{}, {"a": [1, None, True, "<é>"]}, {"aud": ["x"], "iat": 1.5}]
    web = [web_key(SECRET), web_key(RSA, private=True), web_key(ED, private=True), {"keys": [web_key(SECRET)]}, {"keys": []}, {}, {"kty": "oct"}, {"kty": "x"}, web_key(SECRET, alg="HS512"), web_key(RSA)]
    made["io.jwt.encode_sign"] = {0: tuple(headers), 1: tuple(payloads), 2: tuple(web)}
    made["io.jwt.encode_sign_raw"] = {0: (*map(json.dumps, headers), "", "{", "[]", ' {"alg":"HS256"}'), 1: (*map(json.dumps, payloads), "x", "", " {}"), 2: (*map(json.dumps, web), "", "x", "[]")}
    bundles = [*PEMS.values(), PEMS["root"] + PEMS["mid"] + PEMS["leaf"], PEMS["root"] + PEMS["leaf"], PEMS["root"] + PEMS["short"] + PEMS["leaf"], PEMS["root"] + PEMS["plain"], PEMS["root"] + PEMS["signer"],
               PEMS["root"] + PEMS["mid"] + PEMS["self"], PEMS["self"] + PEMS["self"], PEMS["mid"] + PEMS["leaf"], PEMS["root"] + PEMS["rich"] + PEMS["limited"], PEMS["leaf"] + PEMS["root"], PEMS["root"] + PEMS["root"],
               PEMS["root"] + PEMS["mid"] + PEMS["empty"], PEMS["root"] + "junk\n" + PEMS["mid"] + PEMS["leaf"], PEMS["root"] + private[0]]
    ders = [base64.b64encode(x509.load_pem_x509_certificate(shown.encode()).public_bytes(_DER)).decode() for shown in PEMS.values()]
    ders += [base64.b64encode(base64.b64decode(ders[0]) + base64.b64decode(ders[1])).decode(), base64.b64encode(bundles[10].encode()).decode(), "", "x", "QUFB", bundles[0][:-60]]
    options = [{}, {"CurrentTime": 1706745600 * 10**9}, {"CurrentTime": 0}, {"DNSName": "example.com"}, {"DNSName": "a.example.org"}, {"DNSName": "x"}, {"DNSName": "10.0.0.1"}, {"KeyUsages": ["KeyUsageAny"]},
               {"KeyUsages": ["KeyUsageCodeSigning"]}, {"KeyUsages": ["x"]}, {"KeyUsages": []}, {"MaxConstraintComparisons": 5}, {"CurrentTime": "x"}, {"x": 1}, {"DNSName": 1}, {"CurrentTime": 1.5}]
    for name in ("parse_certificates", "parse_and_verify_certificates", "parse_and_verify_certificates_with_options"):
        made[f"crypto.x509.{name}"] = {0: tuple(bundles + ders)}
    made["crypto.x509.parse_and_verify_certificates_with_options"][1] = tuple(options)
    made["crypto.x509.parse_certificate_request"] = {0: tuple(_requests())}
    made["crypto.x509.parse_rsa_private_key"] = made["crypto.parse_private_keys"] = {0: tuple(private)}
    made["crypto.x509.parse_keypair"] = {0: tuple(bundles), 1: tuple(private)}
    return made
