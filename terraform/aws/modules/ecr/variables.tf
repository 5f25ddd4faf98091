variable "name" {
  description = "Name of the repository."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", var.name))
    error_message = "name is in small letters, digits and single . _ / - between them."
  }
}

variable "kms_key_arn" {
  description = "Key that images are encrypted by."
  type        = string
}

variable "keep" {
  description = "Images that are kept. What runs has to be among them, and what one may have to go back to."
  type        = number
  default     = 100

  validation {
    condition     = var.keep >= 10 && var.keep <= 1000
    error_message = "keep is from 10 to 1000: fewer would delete images that still run."
  }
}
