"""What secrets look like: a table. Patterns are RE2's, so that no text takes more than linear time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from custody.exposure import proofs

_Proof = Callable[[str], bool]
_END = r"(?:[^A-Za-z0-9_]|\z)"
_BARE = r"(?:[^A-Za-z0-9_]|\A)"
_SET = r"""["']?\s{0,8}(?:=>|:=|=|:)\s{0,8}["']?"""


class Rule(NamedTuple):
    id: str
    title: str
    severity: str
    signs: tuple[str, ...]
    """RE2 patterns, short ones: where none of them is, nothing of the rule is."""
    pattern: str
    """Its first group is the secret."""
    proof: _Proof
    exact: bool = False
    """Whether pattern and proof leave no doubt even in a file that is no text."""
    names: tuple[str, ...] = ()
    """Only in files whose path ends so."""
    shown: int = 0
    """Characters of it that say whose it is, and open nothing."""


def _token(name: str, title: str, severity: str, prefix: str, rest: str, proof: _Proof = proofs.varied, *,
           exact: bool = False) -> Rule:
    """A token that begins with a prefix of its issuer; `a|b` are several."""
    prefixes = tuple(prefix.split("|"))
    choice = "|".join(text.replace(".", r"\.") for text in prefixes)
    signs = tuple(text.replace(".", r"\.") + "[A-Za-z0-9_.=+/:-]{12}" for text in prefixes)
    return Rule(name, title, severity, signs, f"{_BARE}((?:{choice}){rest}){_END}", proof, exact,
                shown=min(4, *map(len, prefixes)))


def _near(name: str, title: str, severity: str, word: str, rest: str) -> Rule:
    """A value without a form of its own, in an assignment that names who issued it, and that looks generated."""
    return Rule(name, title, severity, (f"(?i){word}",),
                rf"(?i){word}[a-z0-9_.\- ]{{0,25}}(?:key|token|secret|password|pwd|auth){_SET}({rest}){_END}",
                proofs.random)


_HEX = "[a-f0-9]"
_WORD = "[A-Za-z0-9_-]"
_ALNUM = "[A-Za-z0-9]"

RULES: tuple[Rule, ...] = (
    # Code hosts and registries of packages.
    _token("github-token", "GitHub token", "critical", "ghp_|gho_|ghu_|ghs_", _ALNUM + "{36}", proofs.checksummed,
           exact=True),
    _token("github-refresh-token", "GitHub refresh token", "critical", "ghr_", _ALNUM + "{36,76}"),
    _token("github-fine-grained-token", "GitHub fine-grained token", "critical", "github_pat_",
           _ALNUM + "{22}_" + _ALNUM + "{59}", exact=True),
    _token("gitlab-token", "GitLab token", "critical",
           "glpat-|gldt-|glrt-|glcbt-|glptt-|glft-|glsoat-|glagent-|gloas-|glimt-", "[A-Za-z0-9_.-]{20,64}"),
    _token("bitbucket-token", "Bitbucket app password", "high", "ATBB", _ALNUM + "{32}"),
    _token("atlassian-token", "Atlassian API token", "critical", "ATATT3", "[A-Za-z0-9_=-]{100,300}"),
    _token("npm-token", "npm token", "critical", "npm_", _ALNUM + "{36}", proofs.checksummed, exact=True),
    Rule("npmrc-auth", "npm registry credential", "critical", ("_authToken", "_auth", "_password"),
         r"(?m)^\s*(?://[^\s=]+:)?_(?:authToken|auth|password)\s*=\s*[\"']?([A-Za-z0-9+/=_.-]{16,})", proofs.varied,
         names=(".npmrc",)),
    _token("pypi-token", "PyPI upload token", "critical", "pypi-AgEIcHlwaS5vcmc|pypi-AgENdGVzdC5weXBpLm9yZw",
           _WORD + "{50,}", exact=True),
    _token("rubygems-token", "RubyGems API key", "critical", "rubygems_", _HEX + "{48}", exact=True),
    _token("crates-token", "crates.io token", "critical", "cio", _ALNUM + "{32}", proofs.random),
    _token("clojars-token", "Clojars deploy token", "high", "CLOJARS_", "[a-f0-9]{60}"),
    _token("nuget-key", "NuGet API key", "high", "oy2", "[a-z0-9]{43}", proofs.random),
    _token("docker-token", "Docker Hub token", "critical", "dckr_pat_|dckr_oat_", _WORD + "{27,32}", exact=True),
    _token("packagist-token", "Private Packagist token", "high", "packagist_uut_|packagist_ort_|packagist_out_",
           "[a-f0-9]{68}"),
    _token("jfrog-key", "JFrog Artifactory key", "high", "AKCp", _ALNUM + "{69}"),
    _token("jfrog-reference-token", "JFrog reference token", "high", "cmVmdGtu", _ALNUM + "{56}"),
    # Clouds.
    _token("aws-access-key", "AWS access key", "critical", "AKIA|ASIA", "[A-Z2-7]{16}", proofs.varied),
    Rule("aws-secret-key", "AWS secret access key", "critical", ("(?i)secret_?(?:access_?)?key",),
         rf"(?i)(?:aws_?)?secret_?(?:access_?)?key(?:_id)?{_SET}([A-Za-z0-9/+]{{40}})(?:[^A-Za-z0-9/+=]|\z)",
         proofs.random),
    _token("aws-bedrock-key", "AWS Bedrock key", "critical", "ABSKQmVkcm9ja0FQSUtleS", "[A-Za-z0-9+/=]{60,250}"),
    _token("google-api-key", "Google API key", "high", "AIza", _WORD + "{35}"),
    _token("google-oauth-secret", "Google OAuth client secret", "high", "GOCSPX-", _WORD + "{28}"),
    _token("google-oauth-token", "Google OAuth access token", "high", "ya29.", _WORD + "{40,}"),
    Rule("google-service-account", "Google service account key", "critical", ("private_key_id",),
         r'"private_key_id"\s*:\s*"([a-f0-9]{40})"', proofs.varied),
    Rule("azure-storage-key", "Azure storage account key", "critical", ("AccountKey=", "SharedAccessKey="),
         r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)", proofs.varied),
    Rule("azure-client-secret", "Microsoft Entra client secret", "critical", ("[78]Q~",),
         r"(?:[^A-Za-z0-9_~.-]|\A)([A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34})(?:[^A-Za-z0-9_~.-]|\z)",
         proofs.random),
    Rule("azure-sas", "Azure shared access signature", "high", ("[&?]sig=",),
         r"s[vr]=[^\s\"']{1,400}?[&?]sig=([A-Za-z0-9%+/=]{43,70})", proofs.varied),
    _token("digitalocean-token", "DigitalOcean token", "critical", "dop_v1_|doo_v1_|dor_v1_", _HEX + "{64}",
        exact=True),
    _token("alibaba-access-key", "Alibaba Cloud access key", "high", "LTAI", _ALNUM + "{16,20}", proofs.random),
    _token("tencent-secret-id", "Tencent Cloud secret id", "high", "AKID", _ALNUM + "{32}", proofs.random),
    _token("yandex-token", "Yandex Cloud token", "high", "AQVN", _WORD + "{35,38}", proofs.random),
    _token("cloudflare-origin-key", "Cloudflare origin CA key", "high", "v1.0-", _HEX + "{24}-" + _HEX + "{146}"),
    _near("cloudflare-key", "Cloudflare API key", "high", "cloudflare", "[a-z0-9_-]{37,40}"),
    _near("heroku-key", "Heroku API key", "high", "heroku",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    _token("heroku-token", "Heroku token", "high", "HRKU-AA", _WORD + "{58}"),
    _token("fly-token", "Fly.io token", "high", "FlyV1 fm1_|fo1_", "[A-Za-z0-9_+/=,-]{40,}", proofs.random),
    _near("fastly-token", "Fastly API token", "high", "fastly", "[A-Za-z0-9_-]{32}"),
    _token("linode-token", "Linode token", "high", "linode_pat_", _HEX + "{64}"),
    _token("scaleway-key", "Scaleway key", "medium", "SCW", "[A-Z0-9]{17}", proofs.random),
    # Secrets' own keepers, infrastructure.
    _token("vault-token", "HashiCorp Vault token", "critical", "hvs.|hvb.|hvr.", _WORD + "{90,300}"),
    _token("age-key", "age secret key", "high", "AGE-SECRET-KEY-1", "[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
        exact=True),
    Rule("terraform-token", "HCP Terraform token", "high", (r"\.atlasv1\.",),
         rf"{_BARE}([A-Za-z0-9]{{14}}\.atlasv1\.[A-Za-z0-9_-]{{60,70}}){_END}", proofs.varied),
    _token("pulumi-token", "Pulumi access token", "high", "pul-", _HEX + "{40}"),
    _token("doppler-token", "Doppler token", "high", "dp.pt.|dp.st.|dp.ct.|dp.sa.", "[A-Za-z0-9_.-]{40,60}"),
    _token("1password-key", "1Password secret key", "critical", "A3-",
           "[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}"),
    _token("1password-token", "1Password service account token", "critical", "ops_eyJ", "[A-Za-z0-9+/=_-]{250,}"),
    _token("infracost-key", "Infracost API key", "medium", "ico-", _ALNUM + "{32}", proofs.random),
    _token("tailscale-key", "Tailscale key", "high", "tskey-", "[a-z]{2,10}-" + _WORD + "{20,60}"),
    _token("rancher-token", "Rancher token", "high", "token-", "[a-z0-9]{5}:[a-z0-9]{54}", proofs.random),
    _token("openshift-token", "OpenShift token", "high", "sha256~", _WORD + "{43}", proofs.random),
    _token("buildkite-token", "Buildkite token", "high", "bkua_|bkat_", "[a-f0-9]{40}"),
    _token("circleci-token", "CircleCI token", "high", "CCIPAT_|CCIPRJ_", "[A-Za-z0-9]{22}_[a-f0-9]{40}"),
    _token("octopus-deploy-key", "Octopus Deploy key", "medium", "API-", "[A-Z0-9]{26}", proofs.random),
    _token("sonar-token", "SonarQube token", "high", "sqp_|squ_|sqa_", _HEX + "{40}"),
    _token("sourcegraph-token", "Sourcegraph token", "high", "sgp_", "(?:[a-f0-9]{16}_|local_)?[a-f0-9]{40}"),
    # Language models.
    Rule("openai-key", "OpenAI API key", "critical", ("T3BlbkFJ",),
         rf"{_BARE}(sk-(?:[a-z]+-)?{_WORD}{{20,120}}?T3BlbkFJ{_WORD}{{20,120}}){_END}", proofs.varied, True),
    _token("anthropic-key", "Anthropic API key", "critical", "sk-ant-", "(?:api|admin)[0-9]{2}-" + _WORD + "{80,120}",
           exact=True),
    _token("hugging-face-token", "Hugging Face token", "critical", "hf_|api_org_", "[A-Za-z]{34}", proofs.varied),
    _token("groq-key", "Groq API key", "high", "gsk_", _ALNUM + "{52}"),
    _token("replicate-token", "Replicate token", "high", "r8_", _ALNUM + "{37}", proofs.random),
    _token("perplexity-key", "Perplexity API key", "high", "pplx-", _ALNUM + "{48}"),
    _token("xai-key", "xAI API key", "high", "xai-", _ALNUM + "{80}"),
    # Messages and mail.
    _token("slack-token", "Slack token", "critical", "xoxb-|xoxp-|xoxa-|xoxr-|xoxs-|xoxe.|xapp-",
           "[A-Za-z0-9-]{24,200}", proofs.random),
    Rule("slack-webhook", "Slack webhook", "high", (r"hooks\.slack\.com/",),
         r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/]{40,80})", proofs.varied),
    Rule("discord-webhook", "Discord webhook", "high", ("/api/webhooks/",),
         r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/([A-Za-z0-9_-]{60,80})", proofs.varied),
    Rule("teams-webhook", "Microsoft Teams webhook", "high", (r"\.webhook\.office\.com",),
         r"\.webhook\.office\.com/webhookb2/([a-z0-9-]{36}@[a-z0-9-]{36}/IncomingWebhook/[a-z0-9]{32})", proofs.varied),
    Rule("telegram-token", "Telegram bot token", "high", ("[0-9]{8}:AA[A-Za-z0-9_-]{20}",),
         rf"(?:[^0-9A-Za-z]|\A|bot)([0-9]{{8,10}}:AA{_WORD}{{33}}){_END}", proofs.random),
    _token("sendgrid-key", "SendGrid API key", "critical", "SG.", _WORD + r"{22}\." + _WORD + "{43}", exact=True),
    _token("mailgun-key", "Mailgun key", "high", "key-", "[a-f0-9]{32}"),
    Rule("mailchimp-key", "Mailchimp key", "high", ("[a-f0-9]{16}-us[0-9]",),
        rf"{_BARE}([a-f0-9]{{32}}-us[0-9]{{1,2}}){_END}", proofs.random),
    _token("brevo-key", "Brevo key", "high", "xkeysib-|xsmtpsib-", "[a-f0-9]{64}-[A-Za-z0-9]{16}"),
    _token("postman-key", "Postman API key", "high", "PMAK-", "[a-f0-9]{24}-[a-f0-9]{34}"),
    Rule("twilio-key", "Twilio API key", "high", ("SK[0-9a-f]{16}",), rf"{_BARE}(SK[0-9a-f]{{32}}){_END}",
        proofs.random,
         names=(".env", ".yaml", ".yml", ".json", ".toml", ".ini", ".conf", ".properties", "config: Env")),
    # Money and shops.
    _token("stripe-key", "Stripe secret key", "critical", "sk_live_|rk_live_", _ALNUM + "{20,200}"),
    _token("stripe-test-key", "Stripe test key", "low", "sk_test_|rk_test_", _ALNUM + "{20,200}"),
    _token("stripe-webhook-secret", "Stripe webhook secret", "medium", "whsec_", _ALNUM + "{32,64}", proofs.random),
    _token("square-token", "Square token", "high", "sq0atp-|sq0csp-|EAAAE", _WORD + "{22,60}", proofs.random),
    _token("shopify-token", "Shopify token", "high", "shpss_|shpat_|shpca_|shppa_", "[a-fA-F0-9]{32}"),
    Rule("braintree-token", "PayPal Braintree token", "high", (r"access_token\$production\$",),
         r"(access_token\$production\$[a-z0-9]{16}\$[a-f0-9]{32})", proofs.varied),
    _token("shippo-token", "Shippo token", "medium", "shippo_live_", "[a-f0-9]{40}"),
    _token("easypost-key", "EasyPost key", "medium", "EZAK", _ALNUM + "{54}"),
    _token("duffel-token", "Duffel token", "medium", "duffel_live_", "[A-Za-z0-9_=-]{43}"),
    # Watching.
    _token("grafana-token", "Grafana service account token", "high", "glsa_", _ALNUM + "{32}_[a-f0-9]{8}", exact=True),
    _token("grafana-cloud-token", "Grafana Cloud token", "high", "glc_eyJ", "[A-Za-z0-9+/=]{32,400}"),
    _token("new-relic-key", "New Relic key", "high", "NRAK-|NRII-|NRSP-", "[A-Z0-9a-z_-]{27,32}", proofs.random),
    _token("dynatrace-token", "Dynatrace token", "high", "dt0c01.|dt0s01.|dt0s16.", r"[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    _token("sentry-token", "Sentry token", "high", "sntrys_|sntryu_", "[A-Za-z0-9+/=_]{40,400}"),
    _near("datadog-key", "Datadog key", "high", "datadog", "[a-f0-9]{32}(?:[a-f0-9]{8})?"),
    _near("dd-api-key", "Datadog key", "high", "dd_api", "[a-f0-9]{32}"),
    _token("databricks-token", "Databricks token", "high", "dapi", "[a-f0-9]{32}(?:-[0-9])?", proofs.random),
    _token("planetscale-token", "PlanetScale credential", "high", "pscale_pw_|pscale_tkn_|pscale_oauth_",
        "[A-Za-z0-9_.-]{32,64}"),
    _token("supabase-key", "Supabase key", "high", "sbp_|sb_secret_", "[A-Za-z0-9_]{31,60}", proofs.random),
    _token("linear-token", "Linear API key", "medium", "lin_api_", _ALNUM + "{40}"),
    _token("notion-token", "Notion token", "high", "secret_|ntn_", _ALNUM + "{43,46}", proofs.random),
    _token("airtable-token", "Airtable token", "high", "pat", r"[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    _token("figma-token", "Figma token", "medium", "figd_", _WORD + "{40}"),
    _token("launchdarkly-key", "LaunchDarkly key", "medium", "sdk-|api-",
           "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", proofs.random),
    # Keys, headers, files of credentials.
    Rule("private-key", "Private key", "critical", ("PRIVATE KEY-----",),
         r"(-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----[A-Za-z0-9+/=\s\\:,\"-]{64,}?"
         r"-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----)",
         proofs.private_key, True),
    Rule("pgp-private-key", "PGP private key", "critical", ("PGP PRIVATE KEY BLOCK",),
         r"-----BEGIN PGP PRIVATE KEY BLOCK-----\s([\s\S]{64,}?)-----END PGP", lambda text: len(text) > 200),
    Rule("putty-private-key", "PuTTY private key", "critical", ("PuTTY-User-Key-File-",),
         r"PuTTY-User-Key-File-[23]: [\s\S]{1,}?Private-Lines: [0-9]+\s+([A-Za-z0-9+/=\s]{40,}?)Private-(?:MAC|Hash)",
         lambda text: proofs.entropy(text) > 4),
    Rule("jwt", "JSON web token", "medium", (r"eyJ[A-Za-z0-9_-]{10,}\.eyJ",),
         rf"(?:[^A-Za-z0-9_-]|\A)(eyJ{_WORD}{{10,}}\.eyJ{_WORD}{{10,}}\.{_WORD}{{20,}})", proofs.jwt),
    Rule("netrc", "Password of .netrc", "high", ("password",),
         r"(?:login|machine|default)\s[^#]{0,200}?password\s+([^\s\"']+)", proofs.password, names=(".netrc", "_netrc")),
    Rule("docker-auth", "Registry credential of Docker", "critical", ('"auth"', "identitytoken", "registrytoken"),
         r'"(?:auth|identitytoken|registrytoken)"\s*:\s*"([A-Za-z0-9+/=_.-]{8,})"',
         lambda text: proofs.basic_auth(text) or (len(text) > 40 and proofs.random(text)),
         names=(".docker/config.json", ".dockercfg", ".dockerconfigjson", "containers/auth.json",
             "kaniko/.docker/config.json")),
    Rule("git-credentials", "Password in a URL", "high", (r"://[A-Za-z0-9._%+-]{1,64}:[^/\s]{6}",),
         r"(?:https?|ftps?|ssh|git|postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?)://"
         r"[A-Za-z0-9._%+-]{1,64}:([^\s\"'@/<>{}$()\[\]`|*,;\\^]{6,128}@[A-Za-z0-9.-]{1,200})", proofs.url_password),
    Rule("pypirc-password", "Password of .pypirc", "critical", ("password",), r"(?m)^\s*password\s*[=:]\s*(\S+)",
         proofs.password, names=(".pypirc", "pip.conf")),
    Rule("pgpass", "Password of .pgpass", "high", (":",), r"(?m)^[^#:\s]+:[0-9*]+:[^:\s]*:[^:\s]*:(\S{4,})$",
        proofs.password,
         names=(".pgpass",)),
    Rule("my-cnf-password", "Password of a MySQL client", "high", ("password",),
        r"(?m)^\s*password\s*=\s*[\"']?([^\s\"']+)",
         proofs.password, names=(".my.cnf",)),
    Rule("maven-password", "Password of Maven's settings", "high", ("password", "passphrase"),
         r"<(?:password|passphrase)>\s*([^<\s{$]+)\s*</", proofs.password, names=("settings.xml",)),
    Rule("gem-credentials", "RubyGems credential", "critical", ("_api_key",), r":[a-z_]*api_key:\s*(\S{16,})",
        proofs.random,
         names=(".gem/credentials",)),
    Rule("cargo-credentials", "Cargo credential", "critical", ("token",), r"(?m)^\s*token\s*=\s*[\"']([^\"'\s]{16,})",
        proofs.random,
         names=(".cargo/credentials", ".cargo/credentials.toml")),
    Rule("kubeconfig-key", "Key of a kubeconfig", "critical", ("client-key-data",),
        r"client-key-data:\s*[\"']?(LS0tLS1CRUdJ[A-Za-z0-9+/=]{100,})",
         proofs.varied),
    Rule("htpasswd", "Password hash", "medium", (r":\$",), r"(?m)^[A-Za-z0-9._-]{1,64}:(\$(?:2[aby]|apr1)\$\S{20,64})$",
         proofs.varied, names=("htpasswd",)),
    Rule("shadow-password", "Password hash of a user", "medium", (r":\$",),
        r"(?m)^[a-z_][a-z0-9_-]*:(\$[a-z0-9]{1,6}\$[^:\s]{10,200}):",
         proofs.varied, names=("etc/shadow", "etc/shadow-")),
    Rule("authorization-header", "Authorization header", "high", ("(?i)authorization",),
         r"(?i)authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:bearer|token)\s+([A-Za-z0-9_\-.=+/]{24,})", proofs.random),
    Rule("assigned-secret", "Generated value assigned to a secret's name", "high",
         ("(?i)secret|token|passw|_?key",),
         rf"(?i)(?:^|[^a-z0-9])[a-z0-9_.-]{{0,40}}(?:secret|token|passwd|password|api_?key|access_?key|private_?key)"
         rf"(?:_?(?:key|value|id))?{_SET}([A-Za-z0-9+/=_\-!@#%^&*]{{16,200}})(?:[\"'\s,;]|\z)",
         proofs.random, names=(".env", ".env.local", ".env.production", ".properties", ".tfvars", "secrets.yaml",
             "secrets.yml",
                               "credentials", "config: Env", "config: history", "config: labels", ".git/config")),
)
"""Of two rules that see the same bytes, the first speaks."""
