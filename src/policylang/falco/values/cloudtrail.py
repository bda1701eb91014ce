"""Fields of AWS CloudTrail events (plugins/cloudtrail/pkg/cloudtrail/extract.go).

Where the plugin gives an empty text for an object, which none of its descriptions says, the object's JSON is given.
"""

from __future__ import annotations

from typing import Any, ClassVar

from policylang.falco.values.jsonevent import ABSENT, Extract, JsonEvent, Object, at, common, nanoseconds, one, text_of

_UNKNOWN = ("AWSAccount", "FederatedUser")  # users of whom an event has no name
_INVALID = "<invalid cloudtrail event: {} field missing>"
_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
_ADDRESS = ".amazonaws.com"


def _named(value: Any) -> str:
    """A name that must be a text: anything else is an empty one."""
    return value if isinstance(value, str) else ""


def _user(event: Object, _: str | None) -> str | None:
    kind = at(event, ("userIdentity", "type"))
    if kind in _UNKNOWN:
        return str(kind)
    if kind in ("Root", "IAMUser"):
        name = at(event, ("userIdentity", "userName"))
    elif kind == "AWSService":
        name = at(event, ("userIdentity", "invokedBy"))
    elif kind == "AssumedRole":
        name = at(event, ("userIdentity", "sessionContext", "sessionIssuer", "userName"))
        if name is ABSENT:
            return "AssumedRole"
    else:
        return None
    return None if name is ABSENT else _named(name)


def _account(event: Object, _: str | None) -> str | None:
    own = at(event, ("userIdentity", "accountId"))
    own = at(event, ("recipientAccountId",)) if own is ABSENT else own
    return None if own is ABSENT else _named(own)


def _short_source(event: Object, _: str | None) -> str | None:
    source = _text_at(event, "eventSource")
    if source is not None and len(source) > len(_ADDRESS):
        return source.removesuffix(_ADDRESS)
    return source


def _text_at(event: Object, *keys: str) -> str | None:
    value = at(event, keys)
    return None if value is ABSENT else text_of(value)


def _flag(*keys: str) -> Extract:
    """`true` or `false`, where it is there at all."""

    def extract(event: Object, _: str | None) -> str | None:
        value = at(event, keys)
        return None if value is ABSENT else "true" if value is True else "false"

    return extract


def _resources(event: Object, _: str | None) -> str | None:
    listed = at(event, ("resources",))
    return ",".join(map(text_of, listed)) if isinstance(listed, list) and listed else None


def _uri(event: Object, _: str | None) -> str | None:
    bucket, key = (at(event, ("requestParameters", name)) for name in ("bucketName", "key"))
    return f"s3://{bucket}/{key}" if isinstance(bucket, str) and isinstance(key, str) else None


def _instance(event: Object, _: str | None) -> str | None:
    """The tag Name of the last instance that has one."""
    listed = at(event, ("requestParameters", "tagSpecificationSet", "items"))
    name = ""
    for specification in listed if isinstance(listed, list) else ():
        tags = at(specification, ("tags",))
        if at(specification, ("resourceType",)) == "instance" and isinstance(tags, list):
            name = next((_named(at(tag, ("value",))) for tag in tags if at(tag, ("key",)) == "Name"), name)
    return name or None


def _image(event: Object, _: str | None) -> str | None:
    return _named(at(event, ("responseElements", "tagSpecificationSet", "items", "0", "imageId"))) or None


def _count(value: Any) -> int:
    """A number; CloudTrail writes some as 33.0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    return int(value) if 0 <= value < 1 << 64 else 0


def _bytes(*directions: str) -> Extract:
    def extract(event: Object, _: str | None) -> int | None:
        sizes = [at(event, ("additionalEventData", f"bytesTransferred{direction}")) for direction in directions]
        present = [size for size in sizes if size is not ABSENT]
        return sum(map(_count, present)) if present else None

    return extract


def _operation(*names: str, among: bool = True) -> Extract:
    def extract(event: Object, _: str | None) -> int | None:
        return 1 if (event.get("eventName") in names) is among else None

    return extract


def _info(event: Object, _: str | None) -> str:
    user, address, name = _user(event, None), _text_at(event, "sourceIPAddress"), _text_at(event, "eventName")
    if user is None:
        return _INVALID.format("userIdentity")
    if address is None:
        return _INVALID.format("eventSource")
    if name is None:
        return _INVALID.format("eventName")
    failed = "!" if "errorCode" in event else ""
    arrow = "→" if at(event, ("readOnly",)) not in (ABSENT, True) else "←"
    info = f"{user} {failed}{arrow} {name}" if user == address else f"{user} via {address} {failed}{arrow} {name}"
    if name == "PutBucketPublicAccessBlock":
        if isinstance(at(event, ("requestParameters", "PublicAccessBlockConfiguration")), dict):
            blocks = " ".join(f"{block}={'true' if event.get(block) is True else 'false'}" for block in _BLOCKS)
            info += f" {blocks} "  # the plugin too looks for them at the top, where none is
        return info
    size = _bytes("In", "Out")(event, None)
    if size is not None:
        info += f" Size={size}"
    for label, value in (("URI", _uri(event, None)), ("Bucket", _text_at(event, "requestParameters", "bucketName")),
                         ("Key", _text_at(event, "requestParameters", "key")),
                         ("Host", _text_at(event, "requestParameters", "Host"))):
        if value is not None:
            return f"{info} {label}={value}"
    return info


def _requests() -> dict[str, Extract]:
    names = ("availabilityZone", "cluster", "functionName", "groupName", "name", "policy", "serialNumber",
             "serviceName", "subnetId", "taskDefinition", "userName")
    return {f"ct.request.{name.lower()}": one("requestParameters", name) for name in names}


def _time(event: Object) -> int | None:
    return nanoseconds(event.get("eventTime"))


class CloudTrailEvent(JsonEvent):
    """Answers `get(field)` from one record of CloudTrail."""

    __slots__ = ()
    fields: ClassVar[dict[str, Extract]] = {
        **common("aws_cloudtrail", "cloudtrail", _time), **_requests(),
        "ct.id": one("eventID"), "ct.error": one("errorCode"), "ct.errormessage": one("errorMessage"),
        "ct.time": one("eventTime"), "ct.src": one("eventSource"), "ct.shortsrc": _short_source,
        "ct.name": one("eventName"), "ct.user": _user, "ct.user.accountid": _account,
        "ct.user.identitytype": one("userIdentity", "type"), "ct.user.principalid": one("userIdentity", "principalId"),
        "ct.user.arn": one("userIdentity", "arn"), "ct.region": one("awsRegion"),
        "ct.response.subnetid": one("responseElements", "subnetId"),
        "ct.response.reservationid": one("responseElements", "reservationId"), "ct.response": one("responseElements"),
        "ct.request.host": one("requestParameters", "Host"), "ct.request": one("requestParameters"),
        "ct.srcip": one("sourceIPAddress"), "ct.useragent": one("userAgent"), "ct.info": _info,
        "ct.managementevent": _flag("managementEvent"), "ct.readonly": _flag("readOnly"),
        "ct.requestid": one("requestID"), "ct.eventtype": one("eventType"), "ct.apiversion": one("apiVersion"),
        "ct.resources": _resources, "ct.recipientaccountid": one("recipientAccountId"),
        "ct.serviceeventdetails": one("serviceEventDetails"), "ct.sharedeventid": one("sharedEventID"),
        "ct.vpcendpointid": one("vpcEndpointId"), "ct.eventcategory": one("eventCategory"),
        "ct.addendum.reason": one("addendum", "reason"), "ct.addendum.updatedfields": one("addendum", "updatedFields"),
        "ct.addendum.originalrequestid": one("addendum", "originalRequestID"),
        "ct.addendum.originaleventid": one("addendum", "originalEventID"),
        "ct.sessioncredentialfromconsole": _flag("sessionCredentialFromConsole"),
        "ct.edgedevicedetails": one("edgeDeviceDetails"), "ct.tlsdetails.tlsversion": one("tlsDetails", "tlsVersion"),
        "ct.tlsdetails.ciphersuite": one("tlsDetails", "cipherSuite"),
        "ct.tlsdetails.clientprovidedhostheader": one("tlsDetails", "clientProvidedHostHeader"),
        "ct.additionaleventdata": one("additionalEventData"), "s3.uri": _uri,
        "s3.bucket": one("requestParameters", "bucketName"), "s3.key": one("requestParameters", "key"),
        "s3.bytes": _bytes("In", "Out"), "s3.bytes.in": _bytes("In"), "s3.bytes.out": _bytes("Out"),
        "s3.cnt.get": _operation("GetObject"), "s3.cnt.put": _operation("PutObject"),
        "s3.cnt.other": _operation("GetObject", "PutObject", among=False), "ec2.name": _instance,
        "ec2.imageid": _image, "ecr.repository": one("requestParameters", "repositoryName"),
        "ecr.imagetag": one("requestParameters", "imageTag"), "iam.role": one("requestParameters", "roleName"),
        "iam.policy": one("requestParameters", "policyName"),
    }
