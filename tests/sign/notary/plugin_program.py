"""A plugin of the Notary Project, whole: both custody and notation run it. Its keys are PEM files with their chain
behind the key; a key's id is the file's path. What it lies about is said in the plugin's configuration, or beside the
program in a file `lie`.
"""

import base64
import json
import pathlib
import sys
import time

NAME = pathlib.Path(sys.argv[0]).name.removeprefix("notation-")
SPECS = {"RSA-2048": ("SHA-256", "RSASSA-PSS-SHA-256"), "RSA-3072": ("SHA-384", "RSASSA-PSS-SHA-384"),
         "RSA-4096": ("SHA-512", "RSASSA-PSS-SHA-512"), "EC-256": ("SHA-256", "ECDSA-SHA-256"),
         "EC-384": ("SHA-384", "ECDSA-SHA-384"), "EC-521": ("SHA-512", "ECDSA-SHA-512")}


def fail(code, message):
    json.dump({"errorCode": code, "errorMessage": message}, sys.stderr)
    sys.exit(1)


def load(identifier):
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        data = pathlib.Path(identifier).read_bytes()
    except OSError:
        fail("VALIDATION_ERROR", f"no key {identifier}")
    return serialization.load_pem_private_key(data, None), x509.load_pem_x509_certificates(data)


def spec_of(key):
    curve = getattr(key, "curve", None)
    return f"EC-{curve.key_size}" if curve else f"RSA-{key.key_size}"


def sign(key, hash_name, data):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    used = {"SHA-256": hashes.SHA256(), "SHA-384": hashes.SHA384(), "SHA-512": hashes.SHA512()}[hash_name]
    if not hasattr(key, "curve"):
        return key.sign(data, padding.PSS(padding.MGF1(used), used.digest_size), used)
    size = (key.curve.key_size + 7) // 8
    return b"".join(part.to_bytes(size, "big") for part in decode_dss_signature(key.sign(data, ec.ECDSA(used))))


def encoded(data):
    return base64.b64encode(data).decode()


def url_encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def envelope(request, lie):
    """A JWS envelope, made here and by nobody's library."""
    from cryptography.hazmat.primitives.serialization import Encoding

    if request["signatureEnvelopeType"] != "application/jose+json":
        fail("VALIDATION_ERROR", "JWS alone is made")
    key, chain = load(request["keyId"])
    spec = spec_of(key)
    now = int(time.time())
    header = {"alg": ("ES" if spec.startswith("EC") else "PS") + SPECS[spec][0][-3:], "cty": request["payloadType"],
              "io.cncf.notary.signingScheme": "notary.x509", "crit": ["io.cncf.notary.signingScheme"],
              "io.cncf.notary.signingTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))}
    if request.get("expiryDurationInSeconds") and lie != "no-expiry":
        header["crit"].append("io.cncf.notary.expiry")
        header["io.cncf.notary.expiry"] = time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + request["expiryDurationInSeconds"]))
    payload = json.loads(base64.b64decode(request["payload"]))
    if lie == "other-digest":
        payload["targetArtifact"]["digest"] = "sha256:" + "0" * 64
    if lie == "more":
        payload["targetArtifact"]["allowed"] = True
    if lie == "annotation":
        payload["targetArtifact"]["annotations"] = {}
    protected = url_encoded(json.dumps(header).encode())
    body = url_encoded(json.dumps(payload).encode())
    signature = sign(key, SPECS[spec][0], f"{protected}.{body}".encode())
    return json.dumps({"payload": body, "protected": protected, "signature": url_encoded(signature), "header": {
        "x5c": [encoded(entry.public_bytes(Encoding.DER)) for entry in chain],
        "io.cncf.notary.signingAgent": "plugin-of-tests"}}).encode()


def main():
    command = sys.argv[1]
    request = json.load(sys.stdin)
    config = request.get("pluginConfig") or {}
    beside = pathlib.Path(sys.argv[0]).with_name("lie")
    lie = config.get("lie") or (beside.read_text().strip() if beside.exists() else "")
    if command == "get-plugin-metadata":
        version = pathlib.Path(sys.argv[0]).with_name("version")
        answer = {"name": "stranger" if lie == "name" else NAME, "description": "keys in files",
                  "version": version.read_text().strip() if version.exists() else "1.2.3",
                  "url": "https://plugins.example",
                  "supportedContractVersions": ["2.0" if lie == "contract" else "1.0"],
                  "capabilities": config.get("capabilities", "SIGNATURE_GENERATOR.RAW").split(",")}
    elif command == "describe-key":
        key, _ = load(request["keyId"])
        answer = {"keyId": "another" if lie == "described-key" else request["keyId"],
                  "keySpec": "RSA-1024" if lie == "spec" else spec_of(key)}
    elif command == "generate-signature":
        from cryptography.hazmat.primitives.serialization import Encoding

        key, chain = load(request["keyId"])
        data = base64.b64decode(request["payload"])
        assert request["keySpec"] == spec_of(key)
        signature = sign(key, request["hashAlgorithm"], data + (b"!" if lie == "signature" else b""))
        answer = {"keyId": "another" if lie == "key" else request["keyId"], "signature": encoded(signature),
                  "signingAlgorithm": "ECDSA-SHA-1" if lie == "algorithm" else SPECS[spec_of(key)][1],
                  "certificateChain": [encoded(entry.public_bytes(Encoding.DER)) for entry in
                                       (chain[::-1] if lie == "order" else chain)]}
    elif command == "generate-envelope":
        answer = {"signatureEnvelope": encoded(envelope(request, lie)),
                  "signatureEnvelopeType": "application/cose" if lie == "type" else request["signatureEnvelopeType"],
                  "annotations": {"made.by": NAME}}
    else:
        fail("VALIDATION_ERROR", f"no command {command}")
    if lie.startswith("refuses "):
        fail(lie.removeprefix("refuses "), "the answer is no")
    if lie == "garbage":
        print("{{{{")
    elif lie == "list":
        print("[]")
    elif lie == "twice":
        print('{"keyId":"a","keyId":"b"}')
    elif lie == "flood":
        for _ in range(100):
            sys.stdout.write("x" * (1 << 20))
    elif lie == "flood of errors":
        for _ in range(100):
            sys.stderr.write("x" * (1 << 20))
        sys.exit(1)
    elif lie == "hangs":
        time.sleep(600)
    elif lie == "leaves a child":
        import subprocess

        print(subprocess.Popen(["sleep", "600"]).pid, file=beside.with_name("child").open("w"))
        time.sleep(600)
    elif lie == "silent":
        sys.exit(3)
    else:
        json.dump(answer, sys.stdout)


main()
