{{/* Names and labels. Each takes the chart's own scope: $ here, .Subcharts in another chart. */}}

{{- define "token-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Shorter than 63, so that suffixes fit. */}}
{{- define "token-gateway.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $given := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $given .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "token-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "token-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "token-gateway.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "token-gateway.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/version" .Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own .Values.commonLabels) -}}
{{- end -}}

{{/* The pods that are ours: the Deployment's, or those that carry the sidecar's label. */}}
{{- define "token-gateway.podSelector" -}}
{{- if eq .Values.mode "sidecar" -}}
token-gateway/sidecar: {{ include "token-gateway.fullname" . }}
{{- else -}}
{{ include "token-gateway.selectorLabels" . }}
{{- end -}}
{{- end -}}

{{/* metadata of an object. Takes root, and maybe suffix, labels and annotations. */}}
{{- define "token-gateway.metadata" -}}
{{- $root := .root -}}
name: {{ include "token-gateway.fullname" $root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- merge (dict) (default dict .labels) (include "token-gateway.labels" $root | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (default dict .annotations) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "token-gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "token-gateway.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "token-gateway.image" -}}
{{- $image := .Values.image -}}
{{- $global := default dict .Values.global -}}
{{- $registry := default (default "" (get $global "imageRegistry")) $image.registry -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "token-gateway.pullSecrets" -}}
{{- $global := default dict .Values.global -}}
{{- range concat (default list (get $global "imagePullSecrets")) .Values.image.pullSecrets | uniq }}
- name: {{ kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") . }}
{{- end -}}
{{- end -}}

{{/* Pods, and not one alone. */}}
{{- define "token-gateway.isMany" -}}
{{- if gt (int (.Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicas)) 1 -}}true{{- end -}}
{{- end -}}
