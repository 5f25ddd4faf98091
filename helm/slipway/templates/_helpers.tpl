{{/* Names are cut so that what is appended to them still fits into a label. */}}
{{- define "slipway.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $release | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* (list context component): what tells a component's pods from all others, for ever. */}}
{{- define "slipway.selector" -}}
{{- $context := first . -}}
app.kubernetes.io/name: {{ $context.Values.nameOverride | default $context.Chart.Name }}
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* (list context component image): of pods. Without the chart's version, which must not restart them. */}}
{{- define "slipway.podLabels" -}}
{{- $context := first . -}}
{{ include "slipway.selector" (list $context (index . 1)) }}
app.kubernetes.io/version: {{ (last .).tag | default $context.Chart.AppVersion | replace "@" "_" | replace ":" "_" | trunc 63 | trimAll "-_." | quote }}
{{- end }}

{{/* (list context component image): of everything else. */}}
{{- define "slipway.labels" -}}
{{- $context := first . -}}
{{ include "slipway.podLabels" . }}
app.kubernetes.io/managed-by: {{ $context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* (list context image) */}}
{{- define "slipway.image" -}}
{{- $image := last . -}}
image: {{ printf "%s:%s" $image.repository ($image.tag | default (first .).Chart.AppVersion) | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end }}

{{/* (list context uid): what every pod of the release is given, by the restricted Pod Security Standard. */}}
{{- define "slipway.pod" -}}
{{- $context := first . -}}
automountServiceAccountToken: false
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

{{/* The same for a pod of the service's own image. */}}
{{- define "slipway.servicePod" -}}
serviceAccountName: {{ include "slipway.serviceAccount" . }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{ include "slipway.pod" (list . 10001) }}
{{- end }}

{{/* Not empty where there is a worker: without a broker, tasks run in the web processes. */}}
{{- define "slipway.hasWorker" -}}
{{- if and .Values.worker.enabled (or .Values.redis.existingSecret .Values.valkey.enabled) -}}yes{{- end -}}
{{- end }}

{{- define "slipway.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "slipway.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What each process of the service is told. */}}
{{- define "slipway.env" -}}
- name: LOG_LEVEL
  value: {{ .Values.logLevel }}
{{- $keys := .Values.secretKey.existingSecret | default (include "slipway.fullname" .) }}
{{- range $name, $key := dict "SECRET_KEY" .Values.secretKey.key "JWT_SECRET_KEY" .Values.secretKey.jwtKey }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $keys }}, key: {{ $key }}}
{{- /* There while keys rotate. */}}
- name: {{ $name }}_PREVIOUS
  valueFrom:
    secretKeyRef: {name: {{ $keys }}, key: {{ $key }}_PREVIOUS, optional: true}
{{- end }}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.existingSecret | default (printf "%s-postgresql" (include "slipway.fullname" .)) }}
      key: {{ .Values.database.key }}
{{- if or .Values.redis.existingSecret .Values.valkey.enabled }}
- name: REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.existingSecret | default (printf "%s-valkey" (include "slipway.fullname" .)) }}
      key: {{ .Values.redis.key }}
{{- end }}
{{- with .Values.smtp.existingSecret }}
- name: SMTP_URL
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.smtp.key }}
{{- end }}
- name: SENTRY_ENVIRONMENT
  value: {{ .Values.telemetry.environment }}
{{- with .Values.telemetry.sentry.existingSecret }}
- name: SENTRY_DSN
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.telemetry.sentry.key }}
{{- end }}
{{- with .Values.extraEnvs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list context name): what tells a process under which name, where and how many traces it sends; nothing without an endpoint. */}}
{{- define "slipway.traces" -}}
{{- with (first .).Values.telemetry }}
{{- if .otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .otlpEndpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .sampleRatio | quote }}
- name: OTEL_SERVICE_NAME
  value: {{ last $ }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: deployment.environment={{ .environment }},k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME)
{{- end }}
{{- end }}
{{- end }}

{{/* (list context component arguments): a command of the service's image that runs once. */}}
{{- define "slipway.job" -}}
{{- $context := first . -}}
backoffLimit: 3
activeDeadlineSeconds: {{ $context.Values.migration.deadlineSeconds }}
template:
  metadata:
    labels:
      {{- include "slipway.podLabels" (list $context (index . 1) $context.Values.image) | nindent 6 }}
    {{- with $context.Values.podAnnotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "slipway.servicePod" $context | nindent 4 }}
    restartPolicy: Never
    containers:
      - name: {{ index . 1 }}
        {{- include "slipway.image" (list $context $context.Values.image) | nindent 8 }}
        args: {{ toJson (last .) }}
        env:
          {{- include "slipway.env" $context | nindent 10 }}
        resources:
          {{- toYaml $context.Values.migration.resources | nindent 10 }}
        securityContext:
          {{- include "slipway.containerSecurity" $context | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
          {{- with $context.Values.extraVolumeMounts }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
    volumes:
      - name: tmp
        emptyDir: {sizeLimit: 64Mi}
      {{- with $context.Values.extraVolumes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
{{- end }}

{{/* The Secret with the certificate that nginx serves; empty without TLS. */}}
{{- define "slipway.tlsSecret" -}}
{{- if .Values.tls.secretName -}}
{{ .Values.tls.secretName }}
{{- else if or .Values.tls.certManager.enabled .Values.tls.selfSigned -}}
{{ include "slipway.fullname" . }}-tls
{{- end -}}
{{- end }}

{{/* (list context text): what was generated for any deployment, with the addresses of this one. Not by `tpl`:
     rules have braces of their own. */}}
{{- define "slipway.placed" -}}
{{- with (first .).Values -}}
{{- last $ | replace "https://runbooks.invalid" (trimSuffix "/" .runbooks.url) | replace "https://grafana.invalid" (trimSuffix "/" .grafana.url) -}}
{{- end -}}
{{- end }}

{{/* (list exceptions…): what kube-score asks for and does not get, and why.
     container-image-pull-policy: a tag is not overwritten, and a pod must start while the registry is away.
     pod-networkpolicy: it misses egress, of which only the deployer knows what it has to reach.
     container-security-context-user-group-id: below 10000 are the public images' own users.
     pod-probes-identical: nginx has one question to answer; readiness of the service is gunicorn's probe.
     deployment-has-host-podantiaffinity: topology spread does it without hindering a rollout on few nodes.
     deployment-replicas: nobody waits for a worker; the Service in front of it is for its metrics. */}}
{{- define "slipway.kubeScore" -}}
kube-score/ignore: {{ join "," . }}
{{- end }}
