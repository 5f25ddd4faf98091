variable "name" {
  description = "Name of the replication group."
  type        = string

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.name)) && length(var.name) <= 40
    error_message = "name is in small letters, digits and single hyphens, begins with a letter, and has 40 at most."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets for it."
  type        = list(string)
}

variable "client_cidrs" {
  description = "Networks that may connect: those of nodes and pods."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "Key that data, snapshots and the token are encrypted by."
  type        = string
}

variable "valkey_version" {
  description = "Version of Valkey, as major.minor."
  type        = string
  default     = "8.0"

  validation {
    condition     = can(regex("^([89]|[1-9][0-9])\\.[0-9]+$", var.valkey_version))
    error_message = "valkey_version is major.minor from 8.0 on."
  }
}

variable "node_type" {
  description = "Size of a node, such as cache.m7g.large."
  type        = string

  validation {
    condition     = can(regex("^cache\\.[a-z0-9]+\\.[a-z0-9]+$", var.node_type))
    error_message = "node_type reads cache.FAMILY.SIZE, such as cache.m7g.large."
  }
}

variable "nodes" {
  description = "The primary and its replicas, 1 to 6. From 2 on, one of another zone takes over."
  type        = number
  default     = 2

  validation {
    condition     = var.nodes >= 1 && var.nodes <= 6
    error_message = "nodes is from 1 to 6: a primary and five replicas at most."
  }
}

variable "snapshot_retention_days" {
  description = "Days that daily snapshots are kept; 0 makes none. Queued tasks are in them."
  type        = number
  default     = 7

  validation {
    condition     = var.snapshot_retention_days >= 0 && var.snapshot_retention_days <= 35
    error_message = "snapshot_retention_days is from 0 to 35."
  }
}

variable "token_version" {
  description = "Raise it for another token. The former one is accepted until the next change."
  type        = number
  default     = 1
}
