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
    ('"size": 7}', '"size": 7.0}'), ('"size": 7}', '"size": 9223372036854775808}'),
    ('"size": 7}', '"size": 7, "Digest": "x"}'), ('"config": {', '"Layers": [], "config": {'),
    ('"size": 7}', '"size": -7}'), ('"size": 7}', '"size": true}'),
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


@pytest.mark.parametrize(("old", "new", "field"), [
    ('"layers"', '"Layers": [], "layers"', "Layers"), ('"layers"', '"LAYERS": [], "layers"', "LAYERS"),
    ('"config"', '"Config": {}, "config"', "Config"),
    ('"config"', '"\N{LATIN SMALL LETTER LONG S}ubject": {}, "config"', "\N{LATIN SMALL LETTER LONG S}ubject"),
    ('"size": 2}', '"size": 2, "Digest": "sha256:x"}', "Digest"), ('"size": 2}', '"size": 2, "SIZE": 3}', "SIZE"),
    ('"schemaVersion"', '"mediatype": "x", "schemaVersion"', "mediatype"),
])
def test_layers_of_another_spelling_are_refused(old: str, new: str, field: str) -> None:
    """Go's readers take them for the fields; containerd would run what nobody judged."""
    text = json.dumps({"schemaVersion": 2, "mediaType": oci.MANIFEST, "layers": [],
                       "config": {"mediaType": oci.CONFIG, "digest": sha(b"{}"), "size": 2}})
    assert isinstance(oci.parse_manifest(text.encode()), oci.Manifest)
    with pytest.raises(CustodyError, match=f"{field}: got 'another spelling of a field'"):
        oci.parse_manifest(text.replace(old, new, 1).encode())


def test_indexes_and_configurations_are_read_alike() -> None:
    with pytest.raises(CustodyError, match="Manifests: got 'another spelling"):
        oci.parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [],
                                       "Manifests": []}).encode())
    with pytest.raises(CustodyError, match="Diff_IDs: got 'another spelling"):
        oci.parse_config(json.dumps({"os": "linux", "rootfs": {"diff_ids": [], "Diff_IDs": []}}).encode())
    assert oci.parse_config(b'{"os": "linux", "Size": 1, "container_config": {"Env": []}}').os == "linux"


@pytest.mark.parametrize("size", [1 << 63, 10**40, 2.0, True, -1])
def test_sizes_that_no_client_reads_are_refused(size: object) -> None:
    with pytest.raises(CustodyError, match=r"config\.size: got .*expected a number of bytes, below 2\^63"):
        oci.parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": oci.MANIFEST, "layers": [], "config": {
            "mediaType": oci.CONFIG, "digest": sha(b"{}"), "size": size}}).encode())
