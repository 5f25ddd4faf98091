# How the chart meets what was made here. The External Secrets Operator copies what Secrets Manager holds into two
# Kubernetes Secrets, and copies it again when it has changed.
#
# RDS changes the database's password every week. An environment variable would keep the former one until the pods are
# new; so DATABASE_URL names a service of libpq's connection service file, which is read at each connection, and which
# Kubernetes brings up to date where it is mounted.
locals {
  reader   = "slipway-secrets"
  database = "slipway-database"
  valkey   = "slipway-valkey"
  mounted  = "/etc/slipway/database"

  service_file = join("\n", concat(
    [
      "[slipway]",
      "host=${module.rds.host}",
      "port=${module.rds.port}",
      "dbname=${module.rds.database}",
      "user={{ .username }}",
      "password={{ .password }}",
    ],
    var.database_ca == null ? ["sslmode=require"] : ["sslmode=verify-full", "sslrootcert=${local.mounted}/ca.pem"],
    [""],
  ))

  values = {
    image        = { repository = data.aws_ecr_repository.this.repository_url }
    telemetry    = { environment = var.environment }
    replicaCount = var.pods.min
    hpa          = { enabled = var.pods.max > var.pods.min, minReplicas = var.pods.min, maxReplicas = var.pods.max }
    worker       = { replicaCount = var.pods.workers }
    database     = { existingSecret = local.database }
    redis        = { existingSecret = var.valkey == null ? "" : local.valkey }
    extraEnvs    = [{ name = "PGSERVICEFILE", value = "${local.mounted}/pg_service.conf" }]
    extraVolumes = [{
      name   = "database"
      secret = { secretName = local.database, items = [for file in local.files : { key = file, path = file }] }
    }]
    extraVolumeMounts = [{ name = "database", mountPath = local.mounted, readOnly = true }]
    # A Network Load Balancer in the public subnets that hands connections on as they are: the chart's nginx ends TLS.
    service = {
      type                  = "LoadBalancer"
      externalTrafficPolicy = "Local"
      annotations = {
        "service.beta.kubernetes.io/aws-load-balancer-type"                              = "nlb"
        "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled" = "true"
      }
    }
  }
  files = concat(["pg_service.conf"], var.database_ca == null ? [] : ["ca.pem"])

  store = { name = local.reader, kind = "SecretStore" }
  manifests = [
    {
      apiVersion = "v1"
      kind       = "ServiceAccount"
      metadata = {
        name        = local.reader
        namespace   = var.namespace
        annotations = { "eks.amazonaws.com/role-arn" = module.secrets.role_arn }
      }
    },
    {
      apiVersion = "external-secrets.io/v1"
      kind       = "SecretStore"
      metadata   = { name = local.reader, namespace = var.namespace }
      spec = {
        provider = {
          aws = {
            service = "SecretsManager"
            region  = var.region
            auth    = { jwt = { serviceAccountRef = { name = local.reader } } }
          }
        }
      }
    },
    {
      apiVersion = "external-secrets.io/v1"
      kind       = "ExternalSecret"
      metadata   = { name = local.database, namespace = var.namespace }
      spec = {
        refreshInterval = "1m"
        secretStoreRef  = local.store
        target = {
          name = local.database
          template = {
            data = merge(
              { DATABASE_URL = "postgresql:///?service=slipway", "pg_service.conf" = local.service_file },
              var.database_ca == null ? {} : { "ca.pem" = var.database_ca },
            )
          }
        }
        data = [
          for property in ["username", "password"] :
          { secretKey = property, remoteRef = { key = module.rds.secret_arn, property = property } }
        ]
      }
    }
  ]

  # Empty without Valkey.
  valkey_manifests = [
    for valkey in module.elasticache :
    {
      apiVersion = "external-secrets.io/v1"
      kind       = "ExternalSecret"
      metadata   = { name = local.valkey, namespace = var.namespace }
      spec = {
        refreshInterval = "1m"
        secretStoreRef  = local.store
        target = {
          name     = local.valkey
          template = { data = { REDIS_URL = "rediss://:{{ .token }}@${valkey.host}:${valkey.port}/0" } }
        }
        data = [{ secretKey = "token", remoteRef = { key = valkey.secret_arn } }]
      }
    }
  ]
}
