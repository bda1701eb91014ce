"""Makes keys on a PKCS#11 token, in a process of its own: `MODULE LABEL PIN`, and on standard input a JSON list of
`{"kind": …, "label": …, "id": hex, "sign": bool, "public": bool, "certificate": bool}`."""

import datetime
import json
import sys

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

CURVES = {"p256": "secp256r1", "p384": "secp384r1", "p521": "secp521r1"}


def make(session, wanted):
    rights = {"mechanism_param": None}
    attributes = {Attribute.SIGN: wanted.get("sign", True), Attribute.LABEL: wanted["label"],
                  Attribute.ID: bytes.fromhex(wanted.get("id", "01"))}
    public_template = {Attribute.LABEL: wanted["label"], Attribute.ID: attributes[Attribute.ID]}
    kind = wanted["kind"]
    if kind in CURVES:
        domain = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters(CURVES[kind])}, local=True)
    elif kind == "ed25519":
        domain = session.create_domain_parameters(
            KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: encode_named_curve_parameters("1.3.101.112")}, local=True)
    if kind == "rsa":
        public, _ = session.generate_keypair(KeyType.RSA, 2048, store=True, public_template=public_template,
                                             private_template=attributes)
    elif kind == "ed25519":
        public, _ = domain.generate_keypair(mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True,
                                            public_template=public_template, private_template=attributes)
    else:
        public, _ = domain.generate_keypair(store=True, public_template=public_template, private_template=attributes)
    if wanted.get("certificate"):
        key = load_der_public_key(encode_ec_public_key(public))
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, wanted["label"])])
        moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key)
                       .serial_number(1).not_valid_before(moment).not_valid_after(moment + datetime.timedelta(9999))
                       .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()))
        session.create_object({
            Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
            Attribute.TOKEN: True, Attribute.LABEL: wanted["label"], Attribute.ID: attributes[Attribute.ID],
            Attribute.SUBJECT: name.public_bytes(), Attribute.VALUE: certificate.public_bytes(Encoding.DER)})
    if not wanted.get("public", True):
        public.destroy()
    return rights


def main():
    module, label, pin = sys.argv[1:]
    token = pkcs11.lib(module).get_token(token_label=label)
    with token.open(rw=True, user_pin=pin) as session:
        for wanted in json.load(sys.stdin):
            make(session, wanted)


main()
