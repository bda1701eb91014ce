"""A plugin of Sigstore's clients that keeps its keys in PEM files; `files:///PATH` names one.

`$KMS_LIE` makes it do what a plugin must not.
"""

import base64
import hashlib
import json
import os
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

NAMES = {5: ("sha256", hashes.SHA256()), 6: ("sha384", hashes.SHA384()), 7: ("sha512", hashes.SHA512())}
CURVES = {"ecdsa-p256": ec.SECP256R1()}


def load(path):
    if not path.exists():
        raise ValueError(f"{path} is not there")
    return serialization.load_pem_private_key(path.read_bytes(), None)


def public(key):
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"publicKeyPEM": base64.b64encode(pem).decode()}


def answer(version, arguments):
    initial, method = arguments["initOptions"], arguments["methodName"]
    if version != "v1" or initial["protocolVersion"] != "v1":
        raise ValueError(f"speaks v1, got {version}")
    path = Path(initial["keyResourceID"])
    given = arguments[method]
    if method == "defaultAlgorithm":
        return {"defaultAlgorithm": "ecdsa-p256"}
    if method == "createKey":
        if not path.exists():
            key = ec.generate_private_key(CURVES[given["algorithm"]])
            path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()))
        return public(load(path))
    if method == "publicKey":
        assert given["publicKeyOptions"]["rpcOptions"] is not None
        return public(load(path))
    if method == "signMessage":
        key, options = load(path), given["signOptions"]["messageOptions"]
        number = options.get("hashFunc") or initial["hashFunc"]
        digest = base64.b64decode(options.get("digest") or "")
        message = sys.stdin.buffer.read()
        if isinstance(key, ed25519.Ed25519PrivateKey):
            signature = key.sign(message)
        else:
            name, chosen = NAMES[number]
            signature = key.sign(digest or hashlib.new(name, message).digest(), ec.ECDSA(Prehashed(chosen)))
        if os.environ.get("KMS_LIE") == "signature":
            signature = b"no signature"
        return {"signature": base64.b64encode(signature).decode()}
    if method == "verifySignature":
        key, options = load(path), given["verifyOptions"]["messageOptions"]
        name, chosen = NAMES[options.get("hashFunc") or initial["hashFunc"]]
        digest = base64.b64decode(options.get("digest") or "") or hashlib.new(name, sys.stdin.buffer.read()).digest()
        key.public_key().verify(base64.b64decode(given["signature"]), digest, ec.ECDSA(Prehashed(chosen)))
        return {}
    raise ValueError(f"knows no {method}")


def main():
    lie = os.environ.get("KMS_LIE")
    if lie == "words":
        print("no JSON")
        sys.exit("what went wrong")
    if lie == "flood":
        sys.stdout.write("x" * (2 << 20))
        return
    if lie == "late":
        time.sleep(60)
    arguments = json.loads(sys.argv[2])
    try:
        said = {arguments["methodName"]: answer(sys.argv[1], arguments)}
    except Exception as error:
        said = {"errorMessage": str(error) or type(error).__name__}
    json.dump({} if lie == "nothing" else said, sys.stdout)
    sys.exit(3)  # which says nothing


main()
