{{/* How the status port is scraped. Takes root and monitor, a section of values. */}}
{{- define "token-gateway.scrape" -}}
port: gw-status
path: /metrics
{{- range $key := list "interval" "scrapeTimeout" }}
{{- with get $.monitor $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- range $key := list "relabelings" "metricRelabelings" }}
{{- with get $.monitor $key }}
{{ $key }}:
  {{- tpl (toYaml .) $.root | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
