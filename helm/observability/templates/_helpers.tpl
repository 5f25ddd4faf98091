{{- define "observability.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $release | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* (list context component): what tells a component's pods from all others, for ever. */}}
{{- define "observability.selector" -}}
{{- $context := first . -}}
app.kubernetes.io/name: {{ $context.Values.nameOverride | default $context.Chart.Name }}
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* (list context component image): of pods. Without the chart's version, which must not restart them. */}}
{{- define "observability.podLabels" -}}
{{ include "observability.selector" . }}
app.kubernetes.io/version: {{ (index . 2).tag | replace "@" "_" | replace ":" "_" | trunc 63 | trimAll "-_." | quote }}
{{- end }}

{{/* (list context component image [suffix]): name and labels of an object of the component's. */}}
{{- define "observability.metadata" -}}
{{- $context := first . -}}
name: {{ concat (list (include "observability.fullname" $context) (index . 1)) (slice . 3) | join "-" }}
labels:
  {{- include "observability.podLabels" . | nindent 2 }}
  app.kubernetes.io/managed-by: {{ $context.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* (list context uid): what every pod is given, by the restricted Pod Security Standard. */}}
{{- define "observability.pod" -}}
{{- $context := first . -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ last . }}
  runAsGroup: {{ last . }}
  fsGroup: {{ last . }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with $context.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $context.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $context.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A component's values: what its container is given. */}}
{{- define "observability.container" -}}
{{- with .image }}
image: {{ printf "%s:%s" .repository .tag | quote }}
imagePullPolicy: {{ .pullPolicy }}
{{- end }}
resources:
  {{- toYaml .resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* (list context component): where people find it. */}}
{{- define "observability.url" -}}
{{- $context := first . -}}
{{- $ports := dict "prometheus" 9090 "alertmanager" 9093 "grafana" 3000 "runbooks" 8080 -}}
{{- $component := last . -}}
{{- $service := printf "http://%s-%s.%s:%v" (include "observability.fullname" $context) $component $context.Release.Namespace (get $ports $component) -}}
{{- (get $context.Values $component).url | default $service | trimSuffix "/" -}}
{{- end }}

{{/* (list context text): what was generated for any deployment, with the addresses of this one. Not by `tpl`:
     rules have braces of their own. */}}
{{- define "observability.placed" -}}
{{- $runbooks := include "observability.url" (list (first .) "runbooks") -}}
{{- $grafana := include "observability.url" (list (first .) "grafana") -}}
{{- last . | replace "https://runbooks.invalid" $runbooks | replace "https://grafana.invalid" $grafana -}}
{{- end }}

{{/* What kube-score asks for and does not get, and why.
     container-image-pull-policy: a tag is not overwritten, and a pod must start while the registry is away.
     container-security-context-user-group-id: the public images' own users.
     pod-networkpolicy: it misses egress where only the deployer knows what has to be reached.
     pod-probes-identical: each has one question to answer.
     deployment-has-host-podantiaffinity, deployment-replicas: there is one of each.
     deployment-strategy: two Prometheuses would fight for the volume. */}}
{{- define "observability.kubeScore" -}}
kube-score/ignore: container-image-pull-policy,container-security-context-user-group-id,pod-networkpolicy,pod-probes-identical,deployment-has-host-podantiaffinity,deployment-replicas,deployment-strategy
{{- end }}
