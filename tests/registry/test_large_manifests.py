"""Large manifests are read by a faster way, which must say the same as the other about every document."""

from __future__ import annotations

import json

import pytest

from custody.errors import CustodyError
from custody.formats import oci
from tests.registry.api import sha

LAYERS = [{"mediaType": oci.LAYER_GZIP, "digest": sha(b"%d" % number), "size": number} for number in range(600)]
PLAIN = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": LAYERS[0], "layers": LAYERS}
TEXT = json.dumps(PLAIN)


def slowly(data: bytes, monkeypatch: pytest.MonkeyPatch) -> oci.Manifest | oci.Index | str:
    monkeypatch.setattr(oci, "_LARGE", 1 << 40)
    try:
        return oci.parse_manifest(data)
    except CustodyError as error:
        return error.message


@pytest.mark.parametrize("text", [
    TEXT, json.dumps(PLAIN, indent=2), json.dumps({**PLAIN, "annotations": {"a": "b", "annotations": "layers"}}),
    json.dumps({**PLAIN, "annotations": {}}), json.dumps({**PLAIN, "mediaType": oci.DOCKER_MANIFEST}),
], ids=["compact", "indented", "annotations", "empty annotations", "docker"])
def test_both_ways_say_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = text.encode()
    assert oci._plain_manifest(data) == slowly(data, monkeypatch)


@pytest.mark.parametrize(("old", "new"), [
    ('"size": 7}', '"size": 8, "size": 7}'),
    ('"size": 7}', '"size": 7, "mediaType": "annotations"}'),
    ('"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "' + str(LAYERS[7]["digest"]) +
     '", "size": 7}', f'"mediaType": "annotations", "digest": "{LAYERS[7]["digest"]}", "size": 8, "size": 7}}'),
    ('"schemaVersion": 2', '"schemaVersion": 1, "schemaVersion": 2'),
    ('"config": {', '"annotations": {"a": "b", "a": "c"}, "config": {'),
    ('"config": {', '"annotations": {}, "annotations": {"a": "b"}, "config": {'),
    ('"config": {', '"annotations": null, "config": {'),
    ('"config": {', '"subject": null, "config": {'),
    ('"config": {', '"x": ' + "[" * 40 + "]" * 40 + ', "config": {'),
    ('"size": 7}', '"size": 7.0}'), ('"size": 7}', '"size": -7}'), ('"size": 7}', '"size": true}'),
    ('"size": 7}', '"size": 7, "urls": ["http://x/"]}'), ('"size": 7}', '"size": NaN}'),
    (sha(b"7"), sha(b"7").upper()), (sha(b"7"), "sha256:x"), (sha(b"7"), sha(b"7") + "\\n"),
    (sha(b"7"), "sha512:" + "0" * 128), ('"mediaType": "application/vnd.oci.image.layer', '"mediaType": "", "x": "'),
    (oci.MANIFEST, "application/x"), ('"schemaVersion": 2', '"schemaVersion": 2.0'),
    ('"layers": [', '"layers": ["\\u0041", '), ('"config": {', '"config": [{'),
    ('"size": 599}]}', '"size": 599}]} x'), (oci.LAYER_GZIP, "appli\u00e9cation"),
])
def test_what_is_unusual_goes_the_other_way(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert old in TEXT
    data = TEXT.replace(old, new, 1).encode()
    assert oci._plain_manifest(data) is None
    expected = slowly(data, monkeypatch)
    monkeypatch.setattr(oci, "_LARGE", 1)
    if isinstance(expected, str):
        with pytest.raises(CustodyError) as caught:
            oci.parse_manifest(data)
        assert caught.value.message == expected
    else:
        assert oci.parse_manifest(data) == expected
