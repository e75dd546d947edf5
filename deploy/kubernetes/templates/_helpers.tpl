{{- define "callboard.name" -}}
{{- if contains "callboard" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-callboard" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Of (dict "root" $ "component" "gateway"): which pods are meant. */}}
{{- define "callboard.selector" -}}
app.kubernetes.io/name: callboard
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "callboard.labels" -}}
{{ include "callboard.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Of (dict "root" $ "image" "callboard-gateway" "suffix" ""). */}}
{{- define "callboard.image" -}}
{{ with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}{{ .suffix }}
{{- end }}

{{- define "callboard.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "callboard.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "callboard.secretVariable" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .root.Values.secrets.existing | quote }}, key: {{ .name }}{{ if .optional }}, optional: true{{ end }}}}
{{- end }}

{{/* What every process is told: where the ledger is, where files lie, and settings. Of (dict "root" $ "settings" {…}). */}}
{{- define "callboard.environment" -}}
{{- $root := .root }}
{{- if $root.Values.redis.enabled }}
{{ include "callboard.secretVariable" (dict "root" $root "name" "CALLBOARD_REDIS_PASSWORD") }}
- name: CALLBOARD_REDIS_URL
  value: redis://callboard:$(CALLBOARD_REDIS_PASSWORD)@{{ include "callboard.name" $root }}-redis:6379/0
{{- else }}
{{ include "callboard.secretVariable" (dict "root" $root "name" "CALLBOARD_REDIS_URL") }}
{{- end }}
{{- range list "CALLBOARD_BROKER_URL" "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN" }}
{{ include "callboard.secretVariable" (dict "root" $root "name" . "optional" true) }}
{{- end }}
{{- with $root.Values.files.url }}
- {name: CALLBOARD_FILES_URL, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := .settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "callboard.filesMount" -}}
{{- if not .Values.files.url }}
- {name: files, mountPath: /var/lib/callboard/files}
{{- end }}
{{- end }}

{{- define "callboard.filesVolume" -}}
{{- if not .Values.files.url }}
- {name: files, persistentVolumeClaim: {claimName: {{ include "callboard.name" . }}-files}}
{{- end }}
{{- end }}

{{- define "callboard.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}
