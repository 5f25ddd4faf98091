variable "name" {
  description = "Name of the instance."
  type        = string

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.name)) && length(var.name) <= 63
    error_message = "name is in small letters, digits and single hyphens, begins with a letter, and has 63 at most."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets for it, in two zones or more."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids are two or more, in different zones: RDS needs them even for a single instance."
  }
}

variable "client_cidrs" {
  description = "Networks that may connect: those of nodes and pods."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "Key that storage, backups, logs and the password are encrypted by."
  type        = string
}

variable "postgresql_version" {
  description = "Major version of PostgreSQL; minor ones come by themselves in the maintenance window."
  type        = string
  default     = "18"

  validation {
    condition     = can(regex("^1[6-9]$", var.postgresql_version))
    error_message = "postgresql_version is a major version from 16 on, such as 18."
  }
}

variable "instance_class" {
  description = "Size of the instance, such as db.m7g.large."
  type        = string

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "instance_class reads db.FAMILY.SIZE, such as db.m7g.large."
  }
}

variable "max_connections" {
  description = "Connections at once, 50 to 5000. Each takes some 10 MB of the instance's memory."
  type        = number

  validation {
    condition     = var.max_connections >= 50 && var.max_connections <= 5000
    error_message = "max_connections is from 50 to 5000."
  }
}

variable "storage_gib" {
  description = "Storage at first and at most, GiB; RDS adds to it when it runs out."
  type        = object({ initial = number, max = number })

  validation {
    condition     = var.storage_gib.initial >= 20 && var.storage_gib.max >= ceil(var.storage_gib.initial * 1.1)
    error_message = "storage_gib.initial is 20 or more, and storage_gib.max above it by a tenth: RDS grows by that at least."
  }
}

variable "multi_az" {
  description = "A standby in another zone that takes over within a minute or two."
  type        = bool
  default     = true
}

variable "backup_retention_days" {
  description = "Days that one can go back to any second of, 1 to 35."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "backup_retention_days is from 1 to 35; 0 would switch backups off."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the instance, and make a last snapshot if it is deleted after all."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that the database's logs are kept."
  type        = number
  default     = 365
}
