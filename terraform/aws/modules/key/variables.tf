variable "name" {
  description = "What the key's alias is called."
  type        = string
}

variable "publishers" {
  description = "AWS services that send to topics under the key, such as cloudwatch."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for service in var.publishers : can(regex("^[a-z][a-z-]*$", service))])
    error_message = "publishers are names of services such as cloudwatch, without .amazonaws.com."
  }
}
