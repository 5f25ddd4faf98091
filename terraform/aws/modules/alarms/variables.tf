variable "name" {
  description = "Prefix of the alarms, and name of their topic."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the topic; it has to let cloudwatch publish."
  type        = string
}

variable "emails" {
  description = "Who is told. AWS asks each once whether that is welcome."
  type        = list(string)

  validation {
    condition     = alltrue([for email in var.emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "emails are addresses such as oncall@example.org."
  }
}

variable "database" {
  description = "The RDS instance: its name, and the figures of it that limits are a share of."
  type        = object({ id = string, max_connections = number, storage_gib = number })
}

variable "valkey_ids" {
  description = "The nodes of ElastiCache, by name."
  type        = list(string)
}
