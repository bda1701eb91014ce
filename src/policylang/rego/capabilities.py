"""The builtins of OPA 1.22 by name, and which module of `builtins` declares each."""

from __future__ import annotations

_NAMES = {
    "arithmetic": "abs ceil floor round plus minus mul div rem bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor "
                  "numbers.range numbers.range_step rand.intn format_int",
    "aggregates": "count sum product max min sort all any",
    "comparison": "assign eq equal neq lt lte gt gte internal.member_2 internal.member_3 and or set_diff intersection "
                  "union",
    "arrays": "array.concat array.flatten array.reverse array.slice walk",
    "objects": "object.filter object.get object.keys object.remove object.subset object.union object.union_n "
               "json.filter json.remove json.patch",
    "strings": "concat contains endswith startswith indexof indexof_n lower upper replace split sprintf substring "
               "strings.any_prefix_match strings.any_suffix_match strings.count strings.replace_n strings.reverse "
               "strings.split_n trim trim_left trim_prefix trim_right trim_space trim_suffix internal.template_string",
    "templates": "strings.render_template",
    "casts": "cast_array cast_boolean cast_null cast_object cast_set cast_string is_array is_boolean is_null is_number "
             "is_object is_set is_string to_number type_name",
    "patterns": "re_match regex.find_all_string_submatch_n regex.find_n regex.globs_match regex.is_valid regex.match "
                "regex.replace regex.split regex.template_match glob.match glob.quote_meta",
    "encoding": "base64.decode base64.encode base64.is_valid base64url.decode base64url.encode base64url.encode_no_pad "
                "hex.decode hex.encode urlquery.decode urlquery.decode_object urlquery.encode urlquery.encode_object "
                "uri.is_valid uri.parse crypto.hmac.equal crypto.hmac.md5 crypto.hmac.sha1 crypto.hmac.sha256 "
                "crypto.hmac.sha512 crypto.md5 crypto.sha1 crypto.sha256",
    "documents": "json.is_valid json.marshal json.marshal_with_options json.unmarshal yaml.is_valid yaml.marshal "
                 "yaml.unmarshal rego.parse_module",
    "schemas": "json.match_schema json.verify_schema",
    "times": "time.add_date time.clock time.date time.diff time.format time.now_ns time.parse_duration_ns "
             "time.parse_ns time.parse_rfc3339_ns time.weekday",
    "units": "units.parse units.parse_bytes semver.compare semver.is_valid uuid.parse uuid.rfc4122",
    "net": "net.cidr_contains net.cidr_contains_matches net.cidr_expand net.cidr_intersects net.cidr_is_valid "
           "net.cidr_merge net.cidr_overlap",
    "graph": "graph.reachable graph.reachable_paths",
    "graphql": "graphql.is_valid graphql.parse graphql.parse_and_verify graphql.parse_query graphql.parse_schema "
               "graphql.schema_is_valid",
    "jwt": "io.jwt.decode io.jwt.decode_verify io.jwt.encode_sign io.jwt.encode_sign_raw io.jwt.verify_eddsa "
           "io.jwt.verify_es256 io.jwt.verify_es384 io.jwt.verify_es512 io.jwt.verify_hs256 io.jwt.verify_hs384 "
           "io.jwt.verify_hs512 io.jwt.verify_ps256 io.jwt.verify_ps384 io.jwt.verify_ps512 io.jwt.verify_rs256 "
           "io.jwt.verify_rs384 io.jwt.verify_rs512",
    "certificates": "crypto.x509.parse_and_verify_certificates "
                    "crypto.x509.parse_and_verify_certificates_with_options crypto.x509.parse_certificate_request "
                    "crypto.x509.parse_certificates",
    "privatekeys": "crypto.parse_private_keys crypto.x509.parse_keypair crypto.x509.parse_rsa_private_key",
    "aws": "providers.aws.sign_req",
    "world": "http.send net.lookup_ip_addr opa.runtime trace print internal.print internal.test_case "
             "rego.metadata.chain rego.metadata.rule",
}
MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
