"""Every field that Kyverno's definitions have about images has a test in which that field decides, or is refused."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
FIELDS = [line for line in (TESTS / "data" / "image_fields.txt").read_text().splitlines() if not line.startswith("#")]
AUTHORITIES, VALIDATING, KINDS, LOGINS, MANIFESTS, NOTARY, IMAGES, CONDITIONS = (
    "policy/test_image_authorities.py", "policy/test_image_validating.py", "policy/test_validating.py",
    "services/test_image_logins.py", "policy/test_manifests.py", "policy/test_image_notary.py",
    "policy/test_images.py", "policy/test_image_conditions.py")
ROWS: dict[str, tuple[str, str]] = {
    "entry.annotations": (AUTHORITIES, "test_annotations_of_the_entry_stand_for_attestors_that_have_none"),
    "entry.attestor": (IMAGES, "test_what_is_enough"),
    "entry.certificates.cert": (AUTHORITIES, "test_one_certificate"),
    "entry.certificates.certChain": (AUTHORITIES, "test_one_certificate_and_its_chain"),
    "entry.*.ctlog.ignoreSCT": (AUTHORITIES, "test_ctlog_ignore_sct"),
    "entry.*.ctlog.pubkey": (AUTHORITIES, "test_ctlog_pubkey_is_the_one_log_of_certificates_that_counts"),
    "entry.*.ctlog.tsaCertChain": (AUTHORITIES, "test_tsa_cert_chain_says_when_an_unlogged_signature_was_made"),
    "entry.*.rekor.ignoreTlog": (AUTHORITIES, "test_rekor_ignore_tlog_lets_a_certificate_count_while_it_is_valid"),
    "entry.*.rekor.pubkey": (AUTHORITIES, "test_rekor_pubkey_is_the_one_log_that_counts"),
    "entry.*.rekor.url": (AUTHORITIES, "test_rekor_url_is_compared_where_the_log_is_the_trust_roots"),
    "entry.keyless.additionalExtensions": (AUTHORITIES, "test_additional_extensions"),
    "entry.keyless.issuer*": (IMAGES, "test_exactly_this_is_wrong"),
    "entry.keyless.subject*": (IMAGES, "test_exactly_this_is_wrong"),
    "entry.keyless.roots": (AUTHORITIES, "test_roots_are_the_only_authorities_that_count"),
    "entry.keys.kms": (AUTHORITIES, "test_a_key_that_a_kms_keeps"),
    "entry.keys.publicKeys": (IMAGES, "test_what_is_enough"),
    "entry.keys.secret.*": (AUTHORITIES, "test_a_key_that_a_secret_keeps"),
    "entry.repository": (LOGINS, "test_repository_is_where_signatures_are"),
    "entry*.signatureAlgorithm": (AUTHORITIES, "test_signature_algorithm"),
    "imageExtractors": (AUTHORITIES, "test_images_of_other_kinds_and_where_extractors_say"),
    "manifests.annotationDomain": (MANIFESTS, "test_annotation_domain"),
    "manifests.attestors[].count": (MANIFESTS, "test_counts_and_nested_attestors"),
    "manifests.dryRun.*": (MANIFESTS, "test_dry_run_compares_with_what_the_api_server_makes_of_the_manifest"),
    "manifests.ignoreFields[].*": (MANIFESTS, "test_ignore_fields_is_for_the_objects_that_it_names"),
    "manifests.repository": (MANIFESTS, "test_manifests_in_an_image"),
    "verifyImages.annotations": (AUTHORITIES, "test_annotations_of_the_entry_stand_for_attestors_that_have_none"),
    "verifyImages.*attestors[].count": (IMAGES, "test_what_is_enough"),
    "verifyImages.attestations[].conditions[].*": (CONDITIONS, "test_conditions_speak_of_the_rules_context"),
    "verifyImages.attestations[].name": (CONDITIONS, "test_what_is_denied_speaks_of_the_rules_context_too"),
    "verifyImages.attestations[].*ype": (IMAGES, "test_attestations_that_do_not_hold"),
    "verifyImages.cosignOCI11": (LOGINS, "test_cosign_oci_1_1"),
    "verifyImages.failureAction": ("policy/test_pins.py",
                                   "test_check_asks_as_both_webhooks_do_where_a_rule_pins_nothing"),
    "verifyImages.imageReferences[]": (IMAGES, "test_images_that_a_rule_does_not_speak_of"),
    "verifyImages.skipImageReferences[]": (IMAGES, "test_images_that_a_rule_does_not_speak_of"),
    "verifyImages.imageRegistryCredentials.allowInsecureRegistry": (LOGINS, "test_allow_insecure_registry"),
    "verifyImages.imageRegistryCredentials.providers[]": (
        LOGINS, "test_providers_default_is_what_this_machine_knows"),
    "verifyImages.imageRegistryCredentials.secrets[]": (LOGINS, "test_secrets_of_image_registry_credentials"),
    **{f"verifyImages.{field}": (AUTHORITIES, "test_the_flat_fields_of_the_first_version")
       for field in ("additionalExtensions", "image", "issuer", "key", "roots", "subject")},
    "verifyImages.mutateDigest": (IMAGES, "test_digests_are_asked_for_only_after_mutation"),
    "verifyImages.verifyDigest": (IMAGES, "test_digests_are_asked_for_only_after_mutation"),
    "verifyImages.repository": (LOGINS, "test_repository_is_where_signatures_are"),
    "verifyImages.required": (AUTHORITIES, "test_required_leaves_it_to_who_mutates"),
    "verifyImages.type": (NOTARY, "test_type_notary"),
    "verifyImages.useCache": (AUTHORITIES, "test_where_evidence_is_and_how_it_is_asked_for_is_in_the_question"),
    "verifyImages.validate.*": (CONDITIONS, "test_what_is_denied_speaks_of_the_rules_context_too"),
    "ivpol.attestations[].*": (VALIDATING, "test_attestations_and_their_payload"),
    "ivpol.attestors[].name": (VALIDATING, "test_a_key_and_the_digest_that_is_written_into_the_name"),
    "ivpol.attestors[].cosign.annotations": (VALIDATING, "test_certificates_and_annotations"),
    "ivpol.attestors[].cosign.certificate.*": (VALIDATING, "test_certificates_and_annotations"),
    "ivpol.attestors[].cosign.ctlog.*": (VALIDATING, "test_keyless_roots_and_logs"),
    "ivpol.attestors[].cosign.key.*": (VALIDATING, "test_key_fields"),
    "ivpol.attestors[].cosign.keyless.identities[].*": (VALIDATING, "test_identities"),
    "ivpol.attestors[].cosign.keyless.identities[].subjectExpression": (
        VALIDATING, "test_fields_that_are_refused_by_their_path"),
    "ivpol.attestors[].cosign.keyless.additionalExtensions": (VALIDATING, "test_keyless_roots_and_logs"),
    "ivpol.attestors[].cosign.keyless.roots": (VALIDATING, "test_keyless_roots_and_logs"),
    "ivpol.attestors[].cosign.source.repository": (LOGINS, "test_repository_is_where_signatures_are"),
    "ivpol.attestors[].cosign.source.PullSecrets[].name": (
        VALIDATING, "test_source_and_credentials_are_in_the_question"),
    "ivpol.attestors[].cosign.source.tagPrefix": (VALIDATING, "test_fields_that_are_refused_by_their_path"),
    "ivpol.attestors[].cosign.trustedRoot.*": (VALIDATING, "test_keyless_roots_and_logs"),
    "ivpol.attestors[].cosign.tuf.*": (VALIDATING, "test_fields_that_are_refused_by_their_path"),
    "ivpol.attestors[].notary.*": (NOTARY, "test_image_validating_policies"),
    "ivpol.credentials.allowInsecureRegistry": (LOGINS, "test_allow_insecure_registry"),
    "ivpol.credentials.providers[]": (LOGINS, "test_providers_default_is_what_this_machine_knows"),
    "ivpol.credentials.secrets[]": (LOGINS, "test_credentials_of_image_validating_policies"),
    "ivpol.auditAnnotations[].*": (VALIDATING, "test_image_data_match_conditions_and_actions"),
    "ivpol.autogen.podControllers.controllers[]": (VALIDATING, "test_autogen_and_extracted_images"),
    "ivpol.evaluation.mode": (VALIDATING, "test_json_documents"),
    "ivpol.evaluation.*.enabled": (KINDS, "test_admission_may_be_left_to_background_scans"),
    "ivpol.failurePolicy": (KINDS, "test_what_cannot_be_evaluated_denies_under_either_failure_policy"),
    "ivpol.images[].*": (VALIDATING, "test_which_images_are_meant"),
    "ivpol.matchImageReferences[].*": (VALIDATING, "test_which_images_are_meant"),
    "ivpol.matchConditions[].*": (VALIDATING, "test_image_data_match_conditions_and_actions"),
    "ivpol.matchConstraints.*": (KINDS, "test_match_constraints"),
    "ivpol.validationActions[]": (VALIDATING, "test_image_data_match_conditions_and_actions"),
    "ivpol.validationConfigurations.*": (VALIDATING, "test_validation_configurations"),
    "ivpol.validations[].expression": (VALIDATING, "test_a_key_and_the_digest_that_is_written_into_the_name"),
    "ivpol.validations[].m*": (KINDS, "test_the_first_that_does_not_hold_denies_in_kyvernos_words"),
    "ivpol.validations[].reason": (KINDS, "test_the_first_that_does_not_hold_denies_in_kyvernos_words"),
    "ivpol.variables[].*": (KINDS, "test_variables_are_computed_where_they_are_used_and_errors_stay_errors"),
    "ivpol.webhookConfiguration.timeoutSeconds": (KINDS, "test_refused_by_its_path"),
}
"""By field; `*` is any text. Fields that validating kinds share are read by the same code, and tested with that."""


def fits(pattern: str, field: str) -> bool:
    return fnmatchcase(field, pattern.replace("[", "[[]"))


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_has_a_test(field: str) -> None:
    assert any(fits(pattern, field) for pattern in ROWS)


@pytest.mark.parametrize("pattern", ROWS)
def test_a_row_is_of_fields_and_names_a_test(pattern: str) -> None:
    file, name = ROWS[pattern]
    assert any(fits(pattern, field) for field in FIELDS)
    assert re.search(rf"^def {name}\(", (TESTS / file).read_text(), re.MULTILINE)
