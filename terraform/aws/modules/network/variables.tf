variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC, /16 to /20. Each zone gets a sixteenth for nodes and pods."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "cidr is an IPv4 network from /16 to /20, such as 10.0.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones to spread over, 2 to 4."
  type        = number
  default     = 3

  validation {
    condition     = contains([2, 3, 4], var.zones)
    error_message = "zones is 2, 3 or 4: EKS and a standby database need two."
  }
}

variable "nat_per_zone" {
  description = "A NAT gateway for each zone. With a single one, its zone's failure cuts all nodes off from the internet."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that flow logs are kept."
  type        = number
  default     = 365
}

variable "kms_key_arn" {
  description = "Key that flow logs are encrypted by."
  type        = string
}
