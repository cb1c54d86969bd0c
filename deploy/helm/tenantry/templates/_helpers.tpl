{{/* Beginning of the names of all objects: the release's name, with the chart's unless it holds it. */}}
{{- define "tenantry.fullname" -}}
{{- $name := contains "tenantry" .Release.Name | ternary .Release.Name (printf "%s-tenantry" .Release.Name) -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects a component's pods; takes (list . "component"). The operator's network policies for
     predictors let in by name and component, so the name is fixed. */}}
{{- define "tenantry.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: tenantry
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{/* Labels of every object; takes (list . "component"). */}}
{{- define "tenantry.labels" -}}
{{- $root := first . -}}
{{ include "tenantry.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Image of a part; takes (list . "part"). */}}
{{- define "tenantry.image" -}}
{{- $root := first . -}}
{{- $image := $root.Values.image -}}
{{- $path := printf "%s/%s:%s" $image.repository (last .) ($image.tag | default $root.Chart.AppVersion) -}}
{{- $image.registry | empty | ternary $path (printf "%s/%s" $image.registry $path) -}}
{{- end -}}

{{/* Name of the Secret with the token. */}}
{{- define "tenantry.tokenSecret" -}}
{{- .Values.token.existingSecret | default (printf "%s-token" (include "tenantry.fullname" .)) -}}
{{- end -}}

{{/* Where applications reach the routers, for the URLs in statuses. */}}
{{- define "tenantry.routerUrl" -}}
{{- $host := printf "http://%s-router.%s.svc" (include "tenantry.fullname" .) .Release.Namespace -}}
{{- $port := int .Values.router.service.port -}}
{{- .Values.router.url | default (eq $port 80 | ternary $host (printf "%s:%d" $host $port)) -}}
{{- end -}}

{{/* Name of the predictors' service account. */}}
{{- define "tenantry.predictorServiceAccount" -}}
{{- $account := .Values.predictor.serviceAccount -}}
{{- $default := $account.create | ternary (printf "%s-predictor" (include "tenantry.fullname" .)) "default" -}}
{{- $account.name | default $default -}}
{{- end -}}

{{/* Labels of a component's pods; takes (list . "component"). Without versions: a chart of the same images
     restarts nothing. */}}
{{- define "tenantry.podLabels" -}}
{{- $root := first . -}}
{{- $options := index $root.Values (last .) -}}
{{ include "tenantry.selector" . }}
{{- with $options.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What every pod's spec has: pull secrets, security, where it runs; takes (list . "component"). */}}
{{- define "tenantry.pod" -}}
{{- $root := first . -}}
{{- $options := index $root.Values (last .) -}}
{{- with $root.Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{ end -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with $options.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $options.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $options.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $options.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A component's pods on different nodes where there are some; takes (list . "component"). */}}
{{- define "tenantry.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "tenantry.selector" . | nindent 8 }}
{{- end -}}

{{/* Security of every container. */}}
{{- define "tenantry.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Nothing, where environment variables differ in their names; takes (list "the value's path" variables).
     JSON schema cannot say it. Of two, Kubernetes would take either, or refuse both. */}}
{{- define "tenantry.distinct" -}}
{{- $path := first . -}}
{{- $seen := dict -}}
{{- range last . -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "%s has the variable %s twice: take one of them out" $path .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- end -}}
