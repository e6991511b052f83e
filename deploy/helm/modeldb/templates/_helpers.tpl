{{- define "modeldb.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "modeldb.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "modeldb.labels" -}}
{{ include "modeldb.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "modeldb.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* The user of the image; nothing is written but to volumes, nothing may be gained. */ -}}
{{- define "modeldb.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "modeldb.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
capabilities:
  drop: [ALL]
{{- end }}

{{- /* What the server and the migrations need to reach the database and the bucket. */ -}}
{{- define "modeldb.storeEnvironment" -}}
- name: MODELDB_URL
  value: {{ required "database.url: where runs are kept, such as postgresql://modeldb@db.example.org/modeldb" .Values.database.url | quote }}
- name: MODELDB_ARTIFACT_URL
  value: {{ required "bucket.url: where files are kept, such as s3://models/artifacts" .Values.bucket.url | quote }}
{{- if .Values.database.secret }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secret }}
      key: {{ .Values.database.passwordKey }}
{{- end }}
- name: AWS_DEFAULT_REGION
  value: {{ .Values.bucket.region | quote }}
{{- if .Values.bucket.endpoint }}
- name: AWS_ENDPOINT_URL_S3
  value: {{ .Values.bucket.endpoint | quote }}
{{- end }}
{{- if .Values.bucket.secret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .Values.bucket.secret }}
      key: {{ .Values.bucket.accessKeyKey }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.bucket.secret }}
      key: {{ .Values.bucket.secretKeyKey }}
{{- end }}
{{- end }}

{{- define "modeldb.tokenEnvironment" -}}
{{- $secret := required "tokens.secret: the Secret with the tokens; without one anybody could do everything" .Values.tokens.secret }}
{{- range $variable, $key := dict "MODELDB_SERVER_TOKENS" .Values.tokens.writeKey "MODELDB_SERVER_READ_TOKENS" .Values.tokens.readKey "MODELDB_SERVER_ERASE_TOKENS" .Values.tokens.eraseKey }}
{{- if $key }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $key }}
{{- end }}
{{- end }}
{{- end }}

{{- define "modeldb.serverEnvironment" -}}
- name: MODELDB_SERVER_LOG
  value: {{ .Values.server.log | quote }}
- name: MODELDB_SERVER_THREADS
  value: {{ .Values.server.threads | quote }}
- name: MODELDB_SERVER_RATE_LIMIT
  value: {{ .Values.server.rateLimit | quote }}
- name: MODELDB_SERVER_STOP_TIMEOUT_S
  value: {{ .Values.server.stopTimeoutSeconds | quote }}
{{- $hosts := concat (list (include "modeldb.name" .) (printf "%s.%s" (include "modeldb.name" .) .Release.Namespace) (printf "%s.%s.svc" (include "modeldb.name" .) .Release.Namespace)) .Values.server.allowedHosts }}
{{- if .Values.ingress.enabled }}
{{- $hosts = append $hosts (required "ingress.host: the name under which browsers and programs reach the server" .Values.ingress.host) }}
{{- end }}
- name: MODELDB_SERVER_ALLOWED_HOSTS
  value: {{ join "," $hosts | quote }}
{{- if .Values.server.allowedOrigins }}
- name: MODELDB_SERVER_ALLOWED_ORIGINS
  value: {{ join "," .Values.server.allowedOrigins | quote }}
{{- end }}
{{- if .Values.server.trustedProxy }}
- name: MODELDB_SERVER_TRUSTED_PROXY
  value: {{ .Values.server.trustedProxy | quote }}
{{- end }}
{{- if .Values.server.basePath }}
- name: MODELDB_SERVER_BASE_PATH
  value: {{ .Values.server.basePath | quote }}
{{- end }}
{{- if .Values.server.grpc }}
- name: MODELDB_SERVER_GRPC_PORT
  value: "5001"
{{- end }}
{{- range $name, $value := .Values.server.environment }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
