{{- define "loadtests.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $release | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* (list context component): what tells a component's pods from all others. */}}
{{- define "loadtests.selector" -}}
{{- $context := first . -}}
app.kubernetes.io/name: {{ $context.Values.nameOverride | default $context.Chart.Name }}
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* (list context component): of pods. */}}
{{- define "loadtests.podLabels" -}}
{{ include "loadtests.selector" . }}
app.kubernetes.io/version: {{ (first .).Values.image.tag | replace "@" "_" | replace ":" "_" | trunc 63 | trimAll "-_." | quote }}
{{- end }}

{{/* (list context component): of everything else. */}}
{{- define "loadtests.labels" -}}
{{- $context := first . -}}
{{ include "loadtests.podLabels" . }}
app.kubernetes.io/managed-by: {{ $context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What every pod is given, by the restricted Pod Security Standard. */}}
{{- define "loadtests.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container is given. */}}
{{- define "loadtests.container" -}}
image: {{ printf "%s:%s" .Values.image.repository .Values.image.tag | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Who may list users, and delete those that a run left. */}}
{{- define "loadtests.admin" -}}
{{- if .Values.admin.email }}
envFrom:
  - secretRef: {name: {{ include "loadtests.fullname" . }}}
{{- end }}
{{- end }}

{{/* (list exceptions…): what kube-score asks for and does not get, and why.
     container-image-pull-policy: a tag is not overwritten.
     pod-networkpolicy: it misses egress; the load goes wherever the service is.
     deployment-has-host-podantiaffinity: topology spread does it, and lets many workers share few nodes.
     deployment-has-poddisruptionbudget: a drain must not wait for a load test; a worker that goes is told. */}}
{{- define "loadtests.kubeScore" -}}
kube-score/ignore: {{ join "," . }}
{{- end }}
