{{/* Where the configuration says that the gateway connects to, as rules of a NetworkPolicy. */}}

{{/* Every address of the configuration that is connected to, as `endpoints: [{key, url}]`. */}}
{{- define "token-gateway.endpoints" -}}
{{- $config := include "token-gateway.config" . | fromYaml -}}
{{- $found := list -}}
{{- range $name, $provider := $config.providers -}}
{{- range $place := list (list "introspection" "url") (list "userinfo" "url") (list "jwt" "jwks_url") (list "jwt" "discovery") -}}
{{- $section := default dict (get $provider (first $place)) -}}
{{- with get $section (last $place) -}}
{{- $found = append $found (dict "key" (printf "config.providers.%s.%s" $name (join "." $place)) "url" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $upstream := $config.upstreams -}}
{{- range $target := $upstream.targets -}}
{{- $found = append $found (dict "key" (printf "config.upstreams.%s.targets" $name) "url" $target) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if and (regexMatch "^OTEL_EXPORTER_OTLP_(TRACES_)?ENDPOINT$" .name) .value -}}
{{- $found = append $found (dict "key" (printf "extraEnv %s" .name) "url" (tpl .value $)) -}}
{{- end -}}
{{- end -}}
{{- $store := dig "store" "url" "memory://" $config -}}
{{- if regexMatch "^rediss?[+:]" $store -}}
{{- $sentinel := regexMatch "^rediss?\\+sentinel:" $store -}}
{{- $default := $sentinel | ternary "26379" "6379" -}}
{{- $rest := regexReplaceAll "^[a-z+]+://([^@/]*@)?" $store "" | regexFind "^[^/?]+" -}}
{{- range $host := splitList "," $rest -}}
{{- $ported := regexMatch ":[0-9]+$" $host | ternary $host (printf "%s:%s" $host $default) -}}
{{- $found = append $found (dict "key" "config.store.url" "url" (printf "redis://%s" $ported)) -}}
{{- if $sentinel -}}
{{- $found = append $found (dict "key" "config.store.url" "url" (printf "redis://%s:6379" (regexReplaceAll ":[0-9]+$" $ported ""))) -}}
{{- end -}}
{{- end -}}
{{- else if contains "${" $store -}}
{{- $found = append $found (dict "key" "config.store.url" "url" $store) -}}
{{- end -}}
{{- toYaml (dict "endpoints" $found) -}}
{{- end -}}

{{/*
Rules for these. A policy knows addresses, not names, and sees a Service's connection with
the port of its pods. So a name in the cluster opens its namespace (with the port where the
name gives pods: `dns:`), an address itself, any other name its port to everywhere but
networkPolicy.egress.except.
*/}}
{{- define "token-gateway.egress" -}}
{{- $rules := list -}}
{{- $outside := list -}}
{{- range (include "token-gateway.endpoints" . | fromYaml).endpoints -}}
{{- if hasPrefix "unix:" .url -}}
{{- else if contains "${" .url -}}
{{- if not $.Values.networkPolicy.egress.extra -}}
{{- fail (printf "networkPolicy.egress.extra: expected a rule for %s, which is not known before it runs (%s)" .key .url) -}}
{{- end -}}
{{- else -}}
{{- $pods := hasPrefix "dns:" .url -}}
{{- $scheme := regexFind "[a-z]+://" .url | trimSuffix "://" -}}
{{- $authority := regexReplaceAll "^(dns:)?[a-z]+://([^@/]*@)?" .url "" | regexFind "^[^/?]+" -}}
{{- $host := regexReplaceAll ":[0-9]+$" $authority "" | trimPrefix "[" | trimSuffix "]" | trimSuffix "." -}}
{{- $port := regexMatch ":[0-9]+$" $authority | ternary (regexFind "[0-9]+$" $authority) (get (dict "http" "80" "https" "443" "redis" "6379") $scheme) | int -}}
{{- $ports := list (dict "protocol" "TCP" "port" $port) -}}
{{- $labels := splitList "." $host -}}
{{- if regexMatch "^(127\\..*|::1|localhost)$" $host -}}
{{- else if regexMatch "^[0-9.]+$" $host -}}
{{- $rules = append $rules (dict "to" (list (dict "ipBlock" (dict "cidr" (printf "%s/32" $host)))) "ports" $ports) -}}
{{- else if contains ":" $host -}}
{{- $rules = append $rules (dict "to" (list (dict "ipBlock" (dict "cidr" (printf "%s/128" $host)))) "ports" $ports) -}}
{{- else if eq (len $labels) 1 -}}
{{- $rule := dict "to" (list (dict "podSelector" dict)) -}}
{{- if $pods }}{{ $_ := set $rule "ports" $ports }}{{ end -}}
{{- $rules = append $rules $rule -}}
{{- else -}}
{{- $inside := regexMatch "^[^.]+(\\.[^.]+)*\\.[^.]+\\.svc(\\..+)?$" $host -}}
{{- if or $inside (eq (len $labels) 2) -}}
{{- $namespace := $inside | ternary (regexReplaceAll "^.*?([^.]+)\\.svc(\\..+)?$" $host "${1}") (last $labels) -}}
{{- $rule := dict "to" (list (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" $namespace)))) -}}
{{- if $pods }}{{ $_ := set $rule "ports" $ports }}{{ end -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- if not $inside -}}
{{- $outside = append $outside $port -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $outside -}}
{{- $ports := list -}}
{{- range $outside | uniq | sortAlpha }}{{ $ports = append $ports (dict "protocol" "TCP" "port" (int .)) }}{{ end -}}
{{- $everywhere := dict "cidr" "0.0.0.0/0" -}}
{{- with $.Values.networkPolicy.egress.except }}{{ $_ := set $everywhere "except" . }}{{ end -}}
{{- $rules = append $rules (dict "to" (list (dict "ipBlock" $everywhere) (dict "ipBlock" (dict "cidr" "::/0"))) "ports" $ports) -}}
{{- end -}}
{{- range $rules | uniq }}
- {{ toYaml . | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{- define "token-gateway.boundsEgress" -}}
{{- $enabled := .Values.networkPolicy.egress.enabled -}}
{{- if kindIs "invalid" $enabled }}{{ eq .Values.mode "gateway" | ternary "true" "" }}{{ else }}{{ $enabled | ternary "true" "" }}{{ end -}}
{{- end -}}
