{{- /* What several templates say alike. */ -}}

{{- define "netpol.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}
{{- else if .Values.image.tag }}:{{ .Values.image.tag }}
{{- else }}:{{ .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "netpol.labels" -}}
app.kubernetes.io/part-of: netpol
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
