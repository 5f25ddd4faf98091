variable "region" {
  description = "AWS region, such as eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-\\d$", var.region))
    error_message = "region reads eu-central-1 or the like."
  }
}

variable "name" {
  description = "Name of the image's repository, and prefix of the rest."
  type        = string
  default     = "slipway"

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.name)) && length(var.name) <= 20
    error_message = "name has 1 to 20 small letters, digits and single hyphens, and begins with a letter."
  }
}

variable "environment" {
  description = "Which one of several this is, such as dev or prod: part of every name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,9}$", var.environment))
    error_message = "environment has 2 to 10 small letters and digits, and begins with a letter."
  }
}

variable "network" {
  description = "Addresses, zones (2 to 4), and whether each zone has a NAT gateway of its own."
  type = object({
    cidr         = optional(string, "10.0.0.0/16")
    zones        = optional(number, 3)
    nat_per_zone = optional(bool, true)
  })
  default = {}
}

variable "public_access_cidrs" {
  description = "Networks that may ask the Kubernetes API over the internet, such as [\"203.0.113.7/32\"]. With [], it answers within the VPC alone."
  type        = list(string)
}

variable "admin_role_arns" {
  description = "IAM roles that administer the cluster, beside whoever makes it."
  type        = list(string)
  default     = []
}

variable "cluster" {
  description = "Version of Kubernetes, and its nodes."
  type = object({
    version        = optional(string, "1.34")
    architecture   = optional(string, "amd64")
    instance_types = list(string)
    nodes          = object({ min = number, max = number })
  })
}

variable "addons" {
  description = "Add-ons of EKS; null for those that the module eks brings, {} to manage them otherwise."
  type        = map(object({ version = optional(string), configuration = optional(string) }))
  default     = null
}

variable "database" {
  description = "PostgreSQL on RDS; the module rds tells more."
  type = object({
    instance_class        = string
    max_connections       = number
    storage_gib           = object({ initial = number, max = number })
    multi_az              = optional(bool, true)
    backup_retention_days = optional(number, 14)
    deletion_protection   = optional(bool, true)
  })
}

variable "database_ca" {
  description = "Certificates (PEM) that the database's is checked by, https://truststore.pki.rds.amazonaws.com/REGION/REGION-bundle.pem. Without them, the way to it is encrypted and not checked."
  type        = string
  default     = null

  validation {
    condition     = var.database_ca == null || can(regex("^\\s*-----BEGIN CERTIFICATE-----", var.database_ca))
    error_message = "database_ca begins with -----BEGIN CERTIFICATE-----: it is the text of the file, not its name."
  }
}

variable "valkey" {
  description = "Valkey on ElastiCache; the module elasticache tells more. null for none: each process then keeps cache and limits for itself, and no workers run."
  type = object({
    node_type               = string
    nodes                   = optional(number, 2)
    snapshot_retention_days = optional(number, 7)
    token_version           = optional(number, 1)
  })
}

variable "alarm_emails" {
  description = "Who is told when a managed database runs out of something."
  type        = list(string)
  default     = []
}

variable "log_retention_days" {
  description = "Days that logs of network, control plane and database are kept, of those that CloudWatch offers."
  type        = number
  default     = 365

  validation {
    condition     = contains([7, 14, 30, 60, 90, 180, 365, 731, 1827, 3653], var.log_retention_days)
    error_message = "log_retention_days is one of 7, 14, 30, 60, 90, 180, 365, 731, 1827, 3653."
  }
}

variable "namespace" {
  description = "Namespace of the release: NAMESPACE of `make deploy`."
  type        = string
  default     = "slipway"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace has 1 to 63 small letters, digits and hyphens, with no hyphen at either end."
  }
}

variable "pods" {
  description = "Web pods at least and at most (the HPA moves between, if these differ), and worker pods."
  type        = object({ min = number, max = number, workers = number })

  validation {
    condition     = var.pods.min >= 1 && var.pods.max >= var.pods.min && var.pods.workers >= 1
    error_message = "pods.min and pods.workers are 1 or more, and pods.max not below pods.min."
  }
  # A pod of the chart takes 18 connections at most (each of 2 gunicorn.processes has 8 gunicorn.threads, and a probe),
  # a worker 3. A rollout brings a quarter more, and some stay for RDS and for people.
  validation {
    condition     = ceil(1.25 * (18 * var.pods.max + 3 * var.pods.workers)) + 15 <= var.database.max_connections
    error_message = "database.max_connections is too small for pods.max: each pod takes up to 18 connections, each worker 3, a rollout a quarter more, and 15 are kept."
  }
}
