{{/* The container and its volumes, the same in both shapes. */}}

{{/* Takes root, and native: whether it is an init container that stays. */}}
{{- define "token-gateway.container" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $_ := include "token-gateway.validate" $root -}}
name: {{ $values.containerName }}
image: {{ include "token-gateway.image" $root | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
{{- if .native }}
restartPolicy: Always
{{- end }}
args:
  - run
  - -c
  - /etc/gateway/gateway.yaml
  {{- range $values.extraArgs }}
  - {{ tpl . $root | quote }}
  {{- end }}
{{- with $values.extraEnv }}
env:
  {{- tpl (toYaml .) $root | nindent 2 }}
{{- end }}
{{- with $values.extraEnvFrom }}
envFrom:
  {{- tpl (toYaml .) $root | nindent 2 }}
{{- end }}
ports:
  {{- include "token-gateway.ports" $root | trim | nindent 2 }}
startupProbe:
  httpGet: {path: /startupz, port: gw-status}
  {{- toYaml $values.startupProbe | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: gw-status}
  {{- toYaml $values.readinessProbe | nindent 2 }}
livenessProbe:
  httpGet: {path: /livez, port: gw-status}
  {{- toYaml $values.livenessProbe | nindent 2 }}
{{- if not .native }}
lifecycle:
  {{- include "token-gateway.preStop" (dict "root" $root "seconds" $values.preStopSeconds) | nindent 2 }}
{{- end }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  {{- toYaml $values.securityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  {{- include "token-gateway.volumeMounts" $root | nindent 2 }}
{{- end -}}

{{/* Named so that they are not the application's, in one pod. */}}
{{- define "token-gateway.ports" -}}
{{- with include "token-gateway.adminPort" . }}
- {name: gw-admin, containerPort: {{ . }}, protocol: TCP}
{{- end -}}
{{- range $listener := list "proxy" "status" "authz" "authz_grpc" -}}
{{- $address := dig "listen" $listener "" (include "token-gateway.config" $ | fromYaml) -}}
{{- $port := include "token-gateway.port" (dict "root" $ "listener" $listener) -}}
{{- if and $port (not (regexMatch "^(127\\.|\\[::1\\]|localhost:)" $address)) }}
- {name: gw-{{ $listener | replace "_" "-" }}, containerPort: {{ $port }}, protocol: TCP}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Sleep before SIGTERM. The image has no need of a shell, and clusters before 1.30 may
     not know the action `sleep`: there Python sleeps. Takes root and seconds. */}}
{{- define "token-gateway.preStop" -}}
{{- if semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version -}}
preStop:
  sleep: {seconds: {{ int .seconds }}}
{{- else -}}
preStop:
  exec:
    command: [python3, -c, "import time; time.sleep({{ int .seconds }})"]
{{- end -}}
{{- end -}}

{{- define "token-gateway.volumeMounts" -}}
- {name: {{ include "token-gateway.fullname" . }}-config, mountPath: /etc/gateway, readOnly: true}
- {name: {{ include "token-gateway.fullname" . }}-secrets, mountPath: {{ .Values.secrets.mountPath }}, readOnly: true}
{{- with .Values.extraVolumeMounts }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{- define "token-gateway.volumes" -}}
- name: {{ include "token-gateway.fullname" . }}-config
  configMap:
    name: {{ default (include "token-gateway.fullname" .) (tpl .Values.existingConfig .) }}
- name: {{ include "token-gateway.fullname" . }}-secrets
  projected:
    defaultMode: {{ include "token-gateway.secretMode" . }}
    sources:
      - secret:
          name: {{ include "token-gateway.secretName" . }}
          items:
            {{- range $file, $key := .Values.secrets.keys }}
            - {key: {{ $key | quote }}, path: {{ $file | quote }}}
            {{- end }}
      {{- range .Values.secrets.more }}
      - secret:
          name: {{ tpl .existingSecret $ }}
          items:
            {{- range $file, $key := .keys }}
            - {key: {{ $key | quote }}, path: {{ $file | quote }}}
            {{- end }}
      {{- end }}
{{- with .Values.extraVolumes }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{- define "token-gateway.secretName" -}}
{{- if .Values.secrets.values -}}
{{ include "token-gateway.fullname" . }}
{{- else -}}
{{ tpl .Values.secrets.existingSecret . }}
{{- end -}}
{{- end -}}

{{/* In decimal, as the API wants it. A pod without fsGroup leaves the files to root's group:
     beside an application they must be readable by all, and only our container has them. */}}
{{- define "token-gateway.secretMode" -}}
{{- if not (kindIs "invalid" .Values.secrets.defaultMode) -}}
{{- int .Values.secrets.defaultMode -}}
{{- else if and (eq .Values.mode "gateway") (get .Values.podSecurityContext "fsGroup") -}}
288
{{- else -}}
292
{{- end -}}
{{- end -}}

{{/* New pods for what the pods there are do not take up by themselves. */}}
{{- define "token-gateway.checksums" -}}
{{- $config := include "token-gateway.config" . | fromYaml -}}
{{- $watch := toString (dig "reload" "watch" "5s" $config) -}}
{{- $live := and (eq .Values.rolloutOnChange "needed") (not (regexMatch "^0+([.]0*)?(ms|s|m|h)?$" $watch)) -}}
{{- if ne .Values.rolloutOnChange "never" -}}
{{- $fixed := list $config.listen $config.workers $config.tracing -}}
{{- with dig "admin" "tls" "" $config }}{{ $fixed = append $fixed . }}{{ end }}
checksum/token-gateway-config: {{ $live | ternary $fixed (list $config .Values.configFiles .Values.secrets.values) | toJson | sha256sum }}
{{- end -}}
{{- end -}}

{{/* All of it: the wait, the drain, and time to stop. */}}
{{- define "token-gateway.graceSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- $drain := include "token-gateway.drainSeconds" . | int -}}
{{- if eq .Values.mode "sidecar" -}}
{{- add (include "token-gateway.sidecar.appPreStopSeconds" . | int) .Values.sidecar.appShutdownSeconds $drain 5 -}}
{{- else -}}
{{- add .Values.preStopSeconds $drain 5 -}}
{{- end -}}
{{- else -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}
