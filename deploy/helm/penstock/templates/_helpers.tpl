{{- define "penstock.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "penstock.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "penstock.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "penstock.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* As ingress-nginx's chart names its objects: penstock-controller. */}}
{{- define "penstock.controller" -}}
{{- printf "%s-%s" (include "penstock.fullname" .) .Values.controller.name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "penstock.defaultBackend" -}}
{{- printf "%s-%s" (include "penstock.fullname" .) .Values.defaultBackend.name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What never changes in the life of a release, for selectors. */}}
{{- define "penstock.selector" -}}
app.kubernetes.io/name: {{ include "penstock.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "penstock.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "penstock.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ include "penstock.name" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "penstock.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "penstock.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* An image's name; takes a list of the image's values, its default tag and where it stands. */}}
{{- define "penstock.image" -}}
{{- $image := index . 0 }}
{{- $name := $image.repository }}
{{- if not $name }}
{{- $name = required (printf "%s.image is needed" (index . 2)) $image.image }}
{{- with $image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end }}
{{- end }}
{{- $name }}{{ with (default (index . 1) $image.tag) }}:{{ . }}{{ end }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The namespace that is watched; empty: all of them. */}}
{{- define "penstock.watched" -}}
{{- $scope := .Values.controller.scope }}
{{- if and $scope.enabled (not $scope.namespaceSelector) }}
{{- default .Release.Namespace $scope.namespace }}
{{- end }}
{{- end }}

{{- define "penstock.webhookSecret" -}}
{{- default (printf "%s-admission" (include "penstock.fullname" .)) .Values.controller.admissionWebhooks.existingSecret }}
{{- end }}

{{/* `tcp` or `udp` is there. */}}
{{- define "penstock.publishService" -}}
{{- $controller := .Values.controller }}
{{- if $controller.publishService.enabled }}
{{- if $controller.publishService.pathOverride }}
{{- $controller.publishService.pathOverride }}
{{- else if $controller.service.enabled }}
{{- printf "$(POD_NAMESPACE)/%s" (include "penstock.controller" .) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What cannot be said by the schema. */}}
{{- define "penstock.check" -}}
{{- $controller := .Values.controller }}
{{- $needed := add $controller.shutdownGracePeriod $controller.drainTimeout }}
{{- if lt (int64 $controller.terminationGracePeriodSeconds) (int64 $needed) }}
{{- fail (printf "controller.terminationGracePeriodSeconds must be at least %d: shutdownGracePeriod and drainTimeout together" $needed) }}
{{- end }}
{{- if .Values.l4.enabled }}
{{- if not $controller.hostNetwork }}
{{- fail "l4.enabled needs controller.hostNetwork: the program asks the node's own socket table" }}
{{- end }}
{{- if ne $controller.kind "DaemonSet" }}
{{- fail "l4.enabled needs controller.kind DaemonSet: one agent on each node" }}
{{- end }}
{{- if not .Values.l4.interfaces }}
{{- fail "l4.enabled needs l4.interfaces, where packets for the virtual addresses come in" }}
{{- end }}
{{- if not (or .Values.l4.vips (and .Values.l4.vipPool $controller.updateStatus (include "penstock.publishService" .))) }}
{{- fail "l4.enabled needs l4.vips, the virtual addresses, or l4.vipPool to give the Service of controller.publishService its own" }}
{{- end }}
{{- end }}
{{- if and (eq $controller.kind "DaemonSet") (or (kindIs "string" $controller.minAvailable) (and (kindIs "invalid" $controller.minAvailable) (not (kindIs "invalid" $controller.maxUnavailable)))) }}
{{- fail "controller.minAvailable must be a number, and controller.maxUnavailable has no effect, where controller.kind is DaemonSet: Kubernetes cannot tell how many pods there should be" }}
{{- end }}
{{- if and $controller.scope.namespace $controller.scope.namespaceSelector }}
{{- fail "controller.scope.namespace and controller.scope.namespaceSelector exclude each other" }}
{{- end }}
{{- if and .Values.defaultBackend.enabled .Values.defaultBackend.service }}
{{- fail "defaultBackend.enabled and defaultBackend.service exclude each other" }}
{{- end }}
{{- end }}

{{/* A probe: its values, its path, the root. */}}
{{- define "penstock.probe" -}}
{{- $controller := (index . 2).Values.controller -}}
httpGet:
  path: {{ index . 1 }}
  port: {{ $controller.healthzPort }}
  scheme: HTTP
  {{- with $controller.healthCheckHost }}
  host: {{ . }}
  {{- end }}
{{- with index . 0 }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A value as text. Helm has numbers as floating point, which would make 1000000 to 1e+06. */}}
{{- define "penstock.text" -}}
{{- if and (kindIs "float64" .) (eq (float64 (int64 .)) .) }}{{ int64 . }}{{ else }}{{ toString . }}{{ end }}
{{- end }}

{{/*
CEL: an Ingress is written otherwise than before in what is judged. What was there before stays
changeable: labels, finalizers, owners.
*/}}
{{- define "penstock.changed" -}}
request.operation == 'CREATE' || object.spec != oldObject.spec
|| has(object.metadata.annotations) != has(oldObject.metadata.annotations)
|| (has(object.metadata.annotations) && object.metadata.annotations != oldObject.metadata.annotations)
{{- end }}
