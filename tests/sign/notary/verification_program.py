"""A verification plugin, whole. What it can do, and what it says, is in the plugin's configuration."""

import json
import pathlib
import sys

NAME = pathlib.Path(sys.argv[0]).name.removeprefix("notation-")


def main():
    request = json.load(sys.stdin)
    config = request.get("pluginConfig", {})
    can = config.get("can", "TRUSTED_IDENTITY,REVOCATION_CHECK").split(",")
    if sys.argv[1] == "get-plugin-metadata":
        answer = {"name": NAME, "description": "for tests", "version": config.get("version", "1.2.0"), "url": "x",
                  "supportedContractVersions": ["1.0"], "capabilities": [f"SIGNATURE_VERIFIER.{name}" for name in can]}
    elif sys.argv[1] == "verify-signature":
        asked = request["trustPolicy"]["signatureVerification"]
        said = {name: {"success": config.get("no", "") not in name or not config.get("no"), "reason": "it is not ours"}
                for name in asked}
        for name in config.get("silent", "").split(","):
            said.pop(f"SIGNATURE_VERIFIER.{name}", None)
        known = config.get("knows", "com.example.x").split(",")
        answer = {"verificationResults": said,
                  "processedAttributes": [name for name in request["signature"]["unprocessedAttributes"]
                                          if name in known]}
        if expected := config.get("identity"):
            assert request["trustPolicy"]["trustedIdentities"] == [expected]
    else:
        json.dump({"errorCode": "VALIDATION_ERROR", "errorMessage": sys.argv[1]}, sys.stderr)
        sys.exit(1)
    json.dump(answer, sys.stdout)


main()
