"""What formats demand whose schema is not in this repository, said again from their specifications as JSON schema.

GitLab's security report 15 (documentation of the report's fields), GitHub's dependency submission API, OpenVEX 0.2.0
(spec, "Data Structures"), in-toto's vulns predicate 0.2, cosign's vulnerability predicate.
"""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_URL: dict[str, Any] = {"type": "string", "pattern": "^https?://.+"}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_IRI: dict[str, Any] = {"type": "string", "format": "uri"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None, *, closed: bool = True) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})},
            "additionalProperties": not closed}


def _list(of: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": least}


_SECOND = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$"}
_SCANNER = _object({"id": _TEXT, "name": _TEXT, "version": _TEXT, "vendor": _object({"name": _TEXT})}, {"url": _URL})
_PACKAGE = _object({"package": _object({"name": {"type": "string"}}), "version": {"type": "string"}}, closed=False)
_LOCATION = {"anyOf": [
    _object({"dependency": _PACKAGE, "operating_system": _TEXT, "image": _TEXT}, closed=False),
    _object({"dependency": _PACKAGE, "file": _TEXT}, closed=False)]}
GITLAB = _object({
    "version": {"type": "string", "pattern": r"^15\.\d+\.\d+$"},
    "scan": _object({"analyzer": _SCANNER, "scanner": _SCANNER, "start_time": _SECOND, "end_time": _SECOND,
                     "status": {"enum": ["success", "failure"]},
                     "type": {"enum": ["container_scanning", "dependency_scanning"]}}, closed=False),
    "vulnerabilities": _list(_object({
        "id": _TEXT, "location": _LOCATION,
        "identifiers": _list(_object({"type": _TEXT, "name": _TEXT, "value": _TEXT}, {"url": _URL}), 1)}, {
            "name": {"type": "string", "maxLength": 255}, "description": {"type": "string", "maxLength": 1 << 20},
            "severity": {"enum": ["Info", "Unknown", "Low", "Medium", "High", "Critical"]},
            "solution": {"type": "string", "maxLength": 7000},
            "links": _list(_object({"url": _URL}, {"name": _TEXT}))}, closed=False))},
    {"remediations": {"type": "array"}, "dependency_files": {"type": "array"}}, closed=False)

_METADATA = {"type": "object", "maxProperties": 8, "additionalProperties": {"type": ["string", "number", "boolean"]}}
GITHUB = _object({
    "version": {"type": "integer"}, "job": {"type": "object"},
    "detector": _object({"name": _TEXT, "version": _TEXT, "url": _URL}), "scanned": _TIME}, {
        "sha": {"type": "string"}, "ref": {"type": "string"}, "metadata": _METADATA,
        "manifests": {"type": "object", "additionalProperties": _object({"name": _TEXT}, {
            "file": _object({}, {"source_location": _TEXT}), "metadata": _METADATA,
            "resolved": {"type": "object", "additionalProperties": _object({}, {
                "package_url": {"type": "string", "pattern": "^pkg:"}, "metadata": _METADATA,
                "relationship": {"enum": ["direct", "indirect"]}, "scope": {"enum": ["runtime", "development"]},
                "dependencies": _list(_TEXT)})}})}})

_NAMED = {"@id": _IRI, "identifiers": _object({}, {"purl": {"type": "string"}, "cpe22": {}, "cpe23": {}}),
          "hashes": {"type": "object", "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]+$"},
                     "propertyNames": {"pattern": "^(md5|sha1|sha-(256|384|512)|sha3-[0-9]+|blake2[sb3]?-?[0-9]*)$"}}}
OPENVEX = _object({
    "@context": {"const": "https://openvex.dev/ns/v0.2.0"}, "@id": _IRI, "author": _TEXT, "timestamp": _TIME,
    "version": {"type": "integer", "minimum": 1},
    "statements": _list({**_object({
        "vulnerability": _object({"name": _TEXT}, {"@id": _IRI, "description": {}, "aliases": _list(_TEXT)}),
        "products": _list(_object({}, {**_NAMED, "subcomponents": _list(_object({}, _NAMED))}), 1),
        "status": {"enum": ["not_affected", "affected", "fixed", "under_investigation"]}}, {
            "@id": _IRI, "timestamp": _TIME, "last_updated": _TIME, "supplier": {}, "status_notes": {},
            "justification": {}, "impact_statement": {}, "action_statement": {}, "action_statement_timestamp": _TIME}),
        "allOf": [{"if": {"properties": {"status": {"const": status}}}, "then": {"anyOf": [
            {"required": [field]} for field in fields]}} for status, fields in (
                ("affected", ("action_statement",)), ("not_affected", ("justification", "impact_statement")))]}, 1)},
    {"role": {}, "last_updated": _TIME, "tooling": {}})

IN_TOTO_VULNS = _object({
    "scanner": _object({"uri": _IRI, "db": _object({}, {"uri": {}, "version": {}, "lastUpdate": _TIME}),
                        "result": _list(_object({"id": _TEXT, "severity": _list(
                            _object({"method": _TEXT, "score": _TEXT}), 1)}, {"annotations": {"type": "array"}}))},
                       {"version": {}}),
    "metadata": _object({"scanStartedOn": _TIME, "scanFinishedOn": _TIME})})
COSIGN_VULN = _object({
    "invocation": _object({"uri": {}, "event_id": {}, "builder.id": {}}, {"parameters": {}}),
    "scanner": _object({"uri": _TEXT, "version": _TEXT, "db": _object({"uri": {}, "version": {}}), "result": {}}),
    "metadata": _object({"scanStartedOn": _TIME, "scanFinishedOn": _TIME})})
