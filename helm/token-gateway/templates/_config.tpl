{{/* The gateway's configuration, and what the chart must know of it. */}}

{{/* The whole configuration as YAML: what `config` says, and for the rest the chart's own. */}}
{{- define "token-gateway.config" -}}
{{- $given := tpl (toYaml .Values.config) . | fromYaml -}}
{{- with get $given "Error" }}{{ fail (printf "config: expected YAML after its templates are rendered, found: %s" .) }}{{ end -}}
{{- $files := .Values.secrets.mountPath -}}
{{- $own := dict
  "version" 1
  "listen" (dict "proxy" "0.0.0.0:8080" "status" "0.0.0.0:9090" "admin" "127.0.0.1:9091") -}}
{{- if hasKey .Values.secrets.keys "secret" -}}
{{- $_ := set $own "secret" (printf "${file:%s/secret}" $files) -}}
{{- end -}}
{{- if hasKey .Values.secrets.keys "admin-token" -}}
{{- $_ := set $own "admin" (dict "token" (printf "${file:%s/admin-token}" $files)) -}}
{{- end -}}
{{- if ne .Values.redis.mode "none" -}}
{{- if hasKey $given "store" }}{{ fail (printf "config.store: expected nothing, since redis.mode is %s" .Values.redis.mode) }}{{ end -}}
{{- $_ := set $own "store" (include "token-gateway.store" . | fromYaml) -}}
{{- end -}}
{{- mergeOverwrite $own $given | toYaml -}}
{{- end -}}

{{/* The `store` section that `redis` stands for. */}}
{{- define "token-gateway.store" -}}
{{- $redis := .Values.redis -}}
{{- $files := .Values.secrets.mountPath -}}
{{- if not $redis.hosts }}{{ fail "redis.hosts: expected host:port of at least one" }}{{ end -}}
{{- $scheme := $redis.tls.enabled | ternary "rediss" "redis" -}}
{{- $hosts := tpl (join "," $redis.hosts) . -}}
{{- if eq $redis.mode "standalone" -}}
{{- if gt (len $redis.hosts) 1 }}{{ fail "redis.hosts: expected one host:port for redis.mode standalone" }}{{ end }}
url: {{ printf "%s://%s/%d" $scheme $hosts (int $redis.database) | quote }}
{{- else if eq $redis.mode "sentinel" -}}
{{- if not $redis.service }}{{ fail "redis.service: expected what the sentinels call it" }}{{ end }}
url: {{ printf "%s+sentinel://%s/%s/%d" $scheme $hosts $redis.service (int $redis.database) | quote }}
{{- else }}
url: {{ printf "%s+cluster://%s" $scheme $hosts | quote }}
{{- end }}
{{- with $redis.username }}
username: {{ . | quote }}
{{- end }}
{{- with $redis.passwordFile }}
password: {{ printf "${file:%s/%s}" $files . | quote }}
{{- end }}
{{- with $redis.sentinel.username }}
sentinel_username: {{ . | quote }}
{{- end }}
{{- with $redis.sentinel.passwordFile }}
sentinel_password: {{ printf "${file:%s/%s}" $files . | quote }}
{{- end }}
{{- if $redis.tls.enabled }}
{{- with $redis.tls.caFile }}
ca_file: {{ printf "%s/%s" $files . | quote }}
{{- end }}
{{- with $redis.tls.certFile }}
client_cert: {{ printf "%s/%s" $files . | quote }}
{{- end }}
{{- with $redis.tls.keyFile }}
client_key: {{ printf "%s/%s" $files . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Every file of the mounted Secrets, as a map. */}}
{{- define "token-gateway.secretFiles" -}}
{{- $files := dict -}}
{{- range $file, $key := .Values.secrets.keys }}{{ $_ := set $files $file $key }}{{ end -}}
{{- range .Values.secrets.more -}}
{{- range $file, $key := .keys }}{{ $_ := set $files $file $key }}{{ end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{/* Refuse what would keep the pod from starting, and what is known now already. */}}
{{- define "token-gateway.validate" -}}
{{- $config := include "token-gateway.config" . -}}
{{- $files := include "token-gateway.secretFiles" . | fromYaml -}}
{{- $mount := trimSuffix "/" .Values.secrets.mountPath -}}
{{- range regexFindAll (printf "%s/[A-Za-z0-9._-]+" (regexQuoteMeta $mount)) $config -1 | uniq -}}
{{- $name := trimPrefix (printf "%s/" $mount) . -}}
{{- if not (hasKey $files $name) -}}
{{- fail (printf "secrets.keys: expected %s among them, since config names %s" $name .) -}}
{{- end -}}
{{- end -}}
{{- $known := fromYaml $config -}}
{{- if not (or .Values.existingConfig (hasKey $known "secret")) -}}
{{- fail "secrets.keys: expected `secret` among them, or config.secret" -}}
{{- end -}}
{{- if and .Values.secrets.values (not .Values.existingConfig) -}}
{{- range $file, $key := .Values.secrets.keys -}}
{{- if not (hasKey $.Values.secrets.values $key) }}{{ fail (printf "secrets.values: expected %s, since secrets.keys names it" $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $listener := list "proxy" "status" -}}
{{- $_ := include "token-gateway.port" (dict "root" $ "listener" $listener) -}}
{{- end -}}
{{- if eq .Values.mode "gateway" -}}
{{- if hasPrefix "unix:" $known.listen.proxy }}{{ fail "config.listen.proxy: expected host:port, since mode is gateway" }}{{ end -}}
{{- if regexMatch "^(127\\.|\\[::1\\]|localhost:)" $known.listen.proxy }}{{ fail "config.listen.proxy: expected an address of the pod such as 0.0.0.0:8080, since clients come to it" }}{{ end -}}
{{- end -}}
{{- if regexMatch "^(127\\.|\\[::1\\]|localhost:)" $known.listen.status }}{{ fail "config.listen.status: expected an address of the pod such as 0.0.0.0:9090, since kubelet comes to it" }}{{ end -}}
{{- if and (eq .Values.mode "gateway") (include "token-gateway.isMany" .) (eq (include "token-gateway.isShared" .) "") -}}
{{- range $name, $provider := $known.providers -}}
{{- if has "learned" $provider.verify }}{{ fail (printf "redis.mode: expected a store that pods share, since config.providers.%s learns and there is more than one pod" $name) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether processes share what they know. */}}
{{- define "token-gateway.isShared" -}}
{{- $config := include "token-gateway.config" . | fromYaml -}}
{{- $url := dig "store" "url" "memory://" $config -}}
{{- if or .Values.existingConfig (not (hasPrefix "memory:" $url)) -}}true{{- end -}}
{{- end -}}

{{/* The port of a listener; nothing for a socket or a listener that is not there. */}}
{{- define "token-gateway.port" -}}
{{- $config := include "token-gateway.config" .root | fromYaml -}}
{{- $address := dig "listen" .listener "" $config -}}
{{- if or (not $address) (hasPrefix "unix:" $address) -}}
{{- else if regexMatch ":[1-9][0-9]*$" $address -}}
{{- regexFind "[0-9]+$" $address -}}
{{- else -}}
{{- fail (printf "config.listen.%s: expected host:port, since the chart must know the port; found %s" .listener $address) -}}
{{- end -}}
{{- end -}}

{{/* The port of the admin listener where others than the pod can reach it; else nothing. */}}
{{- define "token-gateway.adminPort" -}}
{{- $address := dig "listen" "admin" "" (include "token-gateway.config" . | fromYaml) -}}
{{- if not (regexMatch "^(127\\.|\\[::1\\]|localhost:)" $address) -}}
{{- regexFind "[1-9][0-9]*$" $address -}}
{{- end -}}
{{- end -}}

{{/* A duration of the configuration in whole seconds, rounded up. Takes value and key. */}}
{{- define "token-gateway.seconds" -}}
{{- $text := toString .value -}}
{{- if not (regexMatch "^[0-9]{1,9}([.][0-9]{1,6})?(ms|s|m|h)?$" $text) -}}
{{- fail (printf "%s: expected a duration such as 25s, since the chart computes with it; found %s" .key $text) -}}
{{- end -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $unit := regexFind "[a-z]*$" $text -}}
{{- $scale := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "" 1.0) $unit -}}
{{- mulf $number $scale | ceil | int -}}
{{- end -}}

{{/* How long a drain may take: config.drain.deadline. */}}
{{- define "token-gateway.drainSeconds" -}}
{{- $config := include "token-gateway.config" . | fromYaml -}}
{{- include "token-gateway.seconds" (dict "value" (dig "drain" "deadline" "25s" $config) "key" "config.drain.deadline") -}}
{{- end -}}
