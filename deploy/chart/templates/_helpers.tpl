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

{{- define "netpol.caVolume" -}}
- name: aggregator-ca
{{- if .Values.certManager.enabled }}
  secret:
    secretName: netpol-aggregator-tls
    # The pod starts before the certificate is there, and finds it when it comes.
    optional: true
    items:
      - key: ca.crt
        path: ca.crt
{{- else }}
  configMap:
    name: netpol-ca
    # The pod starts before the aggregator has made it, and finds it when it comes.
    optional: true
{{- end }}
{{- end }}
