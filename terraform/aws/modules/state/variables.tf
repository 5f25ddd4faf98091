variable "bucket" {
  description = "Name of the bucket; nobody else in the world may have it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket is 3 to 63 small letters, digits and hyphens, with a letter or digit at both ends."
  }
}

variable "kms_key_arn" {
  description = "Key that states are encrypted by."
  type        = string
}

variable "former_days" {
  description = "Days that former states are kept, to go back to."
  type        = number
  default     = 90

  validation {
    condition     = var.former_days >= 7
    error_message = "former_days is 7 or more: a broken state is not always seen at once."
  }
}
