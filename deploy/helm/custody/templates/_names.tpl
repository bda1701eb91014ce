{{- /* Names are fixed, since custody knows its own account by name: one release a namespace. */ -}}

{{- define "custody.labels" -}}
app.kubernetes.io/name: custody
app.kubernetes.io/component: admission
{{- end }}

{{- define "custody.metadata" -}}
name: custody
namespace: {{ .Release.Namespace }}
labels:
  {{- include "custody.labels" . | nindent 2 }}
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "custody.guardLabels" -}}
app.kubernetes.io/name: custody
app.kubernetes.io/component: guard
{{- end }}

{{- define "custody.guardMetadata" -}}
name: custody-guard
namespace: {{ .Release.Namespace }}
labels:
  {{- include "custody.guardLabels" . | nindent 2 }}
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "custody.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "custody.tlsSecret" -}}
{{- if .Values.certificates.certManager.enabled -}}
{{ .Values.certificates.secret | default "custody-tls" }}
{{- else -}}
{{ .Values.certificates.secret }}
{{- end -}}
{{- end }}

{{- define "custody.policies" -}}
{{- if and .Values.policies.inline .Values.policies.configMap -}}
{{- fail "policies: got inline and configMap, expected one of them" -}}
{{- end -}}
{{- if .Values.policies.inline -}}custody-policies{{- else -}}{{ .Values.policies.configMap }}{{- end -}}
{{- end }}

{{- /* JSON is TOML for texts, numbers, true, false and lists; a map becomes a table behind all else. */ -}}
{{- define "custody.settings" -}}
data_dir = "/data"
drain = {{ .Values.drain }}
log_format = {{ .Values.log.format | toJson }}
log_level = {{ .Values.log.level | toJson }}
{{- if .Values.exceptions.namespaces }}
exceptions = {{ .Values.exceptions.namespaces | toJson }}
{{- end }}
{{- if .Values.trustedRoot.configMap }}
trusted_root = {{ printf "/etc/custody/trust/%s" .Values.trustedRoot.key | toJson }}
{{- end }}
{{- range $key, $value := .Values.settings }}
{{- if not (kindIs "map" $value) }}
{{ $key }} = {{ $value | toJson }}
{{- end }}
{{- end }}
{{- range $key, $value := .Values.settings }}
{{- if kindIs "map" $value }}

[{{ $key }}]
{{- range $name, $entry := $value }}
{{ $name | toJson }} = {{ $entry | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "custody.runtimeLabels" -}}
app.kubernetes.io/name: custody
app.kubernetes.io/component: runtime
{{- end }}

{{- define "custody.runtimeMetadata" -}}
name: custody-runtime
namespace: {{ .Release.Namespace }}
labels:
  {{- include "custody.runtimeLabels" . | nindent 2 }}
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "custody.runtimeSettings" -}}
data_dir = "/data"
drain = {{ .Values.drain }}
log_format = {{ .Values.log.format | toJson }}
log_level = {{ .Values.log.level | toJson }}
tls_certificate = "/etc/custody/tls/tls.crt"
tls_key = "/etc/custody/tls/tls.key"
{{- if .Values.trustedRoot.configMap }}
trusted_root = {{ printf "/etc/custody/trust/%s" .Values.trustedRoot.key | toJson }}
{{- end }}

[runtime]
rules = ["/etc/custody/rules"]
token = "/etc/custody/token/token"
drift = {{ .Values.runtime.drift }}
{{- if .Values.runtime.responses }}
responses = [
{{- range $name, $text := .Values.runtime.responses }}
{{ printf "/etc/custody/responses/%s" $name | toJson }},
{{- end }}
]
respond = {{ .Values.runtime.respond }}
respond_lease = {{ printf "%s/custody-runtime" .Release.Namespace | toJson }}
{{- end }}
{{- range $name, $value := .Values.runtime.settings }}
{{ $name }} = {{ $value | toJson }}
{{- end }}
{{- end }}
