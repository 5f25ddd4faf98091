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
    condition     = can(regex("^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", var.name))
    error_message = "name has 1 to 32 small letters, digits and hyphens, begins with a letter and ends with none of the hyphens."
  }
}

variable "state_bucket" {
  description = "Name of the bucket for Terraform's states; nobody else in the world may have it."
  type        = string
}

variable "github_repository" {
  description = "The repository on GitHub whose releases push images, as owner/name."
  type        = string
}

variable "github_subjects" {
  description = "Which of its runs may, as GitHub's subjects end; the module github-oidc tells more."
  type        = list(string)
  default     = ["ref:refs/tags/v*"]
}

variable "monthly_budget_usd" {
  description = "What the account may cost a month, USD; null where the organisation watches that already."
  type        = number
}

variable "emails" {
  description = "Who is told when the budget is nearly spent."
  type        = list(string)
  default     = []
}
