{{/*
What your chart puts into its pod, where this chart is a dependency with `mode: sidecar`.
Each takes the dependency's scope: `$gateway := index .Subcharts "token-gateway"`.

    metadata:
      labels:
        {{- include "token-gateway.sidecar.labels" $gateway | nindent 8 }}
      annotations:
        {{- include "token-gateway.sidecar.annotations" $gateway | nindent 8 }}
    spec:
      terminationGracePeriodSeconds: {{ include "token-gateway.sidecar.graceSeconds" $gateway }}
      initContainers:
        {{- include "token-gateway.sidecar.initContainers" $gateway | nindent 8 }}
      containers:
        {{- include "token-gateway.sidecar.containers" $gateway | nindent 8 }}
        - name: app
          lifecycle:
            {{- include "token-gateway.sidecar.appPreStop" $gateway | nindent 12 }}
      volumes:
        {{- include "token-gateway.sidecar.volumes" $gateway | nindent 8 }}
*/}}

{{- define "token-gateway.sidecar.isNative" -}}
{{- $native := .Values.sidecar.native -}}
{{- if or (eq $native "always") (and (eq $native "auto") (semverCompare ">=1.29-0" .Capabilities.KubeVersion.Version)) -}}
true
{{- end -}}
{{- end -}}

{{/* The label by which the network policy and the PodMonitor know the pod. */}}
{{- define "token-gateway.sidecar.labels" -}}
token-gateway/sidecar: {{ include "token-gateway.fullname" . }}
{{- end -}}

{{- define "token-gateway.sidecar.annotations" -}}
{{ include "token-gateway.checksums" . }}
{{- end -}}

{{- define "token-gateway.sidecar.initContainers" -}}
{{- if include "token-gateway.sidecar.isNative" . -}}
- {{ include "token-gateway.container" (dict "root" . "native" true) | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{- define "token-gateway.sidecar.containers" -}}
{{- if not (include "token-gateway.sidecar.isNative" .) -}}
- {{ include "token-gateway.container" (dict "root" .) | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{- define "token-gateway.sidecar.volumes" -}}
{{ include "token-gateway.volumes" . }}
{{- end -}}

{{/* How long the application goes on after the pod's end was decided. A native sidecar ends
     after it, so it waits for the balancers alone; a plain one ends beside it, so it also
     waits until the gateway has drained. */}}
{{- define "token-gateway.sidecar.appPreStopSeconds" -}}
{{- if include "token-gateway.sidecar.isNative" . -}}
{{- int .Values.preStopSeconds -}}
{{- else -}}
{{- add .Values.preStopSeconds (include "token-gateway.drainSeconds" . | int) -}}
{{- end -}}
{{- end -}}

{{/* `preStop` for the application's `lifecycle`. Before Kubernetes 1.30 its image needs a
     `sleep` command. */}}
{{- define "token-gateway.sidecar.appPreStop" -}}
{{- $seconds := include "token-gateway.sidecar.appPreStopSeconds" . -}}
preStop:
{{- if semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version }}
  sleep: {seconds: {{ $seconds }}}
{{- else }}
  exec:
    command: [sleep, {{ $seconds | quote }}]
{{- end }}
{{- end -}}

{{/* For the pod's terminationGracePeriodSeconds. */}}
{{- define "token-gateway.sidecar.graceSeconds" -}}
{{ include "token-gateway.graceSeconds" . }}
{{- end -}}
