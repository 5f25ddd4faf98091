variable "name" {
  description = "Name of the role."
  type        = string
}

variable "oidc_provider_arn" {
  description = "IAM's provider for the cluster's service accounts."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::\\d{12}:oidc-provider/.+$", var.oidc_provider_arn))
    error_message = "oidc_provider_arn is an ARN such as arn:aws:iam::123456789012:oidc-provider/oidc.eks.…"
  }
}

variable "namespace" {
  description = "Namespace of the service account."
  type        = string
}

variable "service_account" {
  description = "The service account that takes the role."
  type        = string

  validation {
    condition     = !strcontains("${var.namespace}${var.service_account}", "*")
    error_message = "namespace and service_account name one service account: no *."
  }
}

variable "policy" {
  description = "What the role may do, as JSON."
  type        = string
}
