variable "kube_context" {
  description = "Context of a cluster that is there already, as `kubectl config get-contexts` lists it. Without one, a kind cluster is made, and taken away again."
  type        = string
  default     = null

  validation {
    condition     = var.kube_context == null || try(length(trimspace(var.kube_context)) > 0, false)
    error_message = "kube_context is empty: name a context (kubectl config get-contexts), or leave it out for a kind cluster."
  }
}

variable "cluster_name" {
  description = "Name of the kind cluster, where one is made."
  type        = string
  default     = "slipway"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9.-]{0,48}[a-z0-9])?$", var.cluster_name))
    error_message = "cluster_name has to be of lower-case letters, digits, dots and dashes, 50 at most, and to begin and end with a letter or a digit."
  }
}

variable "release" {
  description = "Name of the Helm release."
  type        = string
  default     = "slipway"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$", var.release))
    error_message = "release has to be of lower-case letters, digits and dashes, 53 at most, and to begin and end with a letter or a digit."
  }
}

variable "namespace" {
  description = "Namespace of the release; made where there is none, and then taken away with it."
  type        = string
  default     = "slipway"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace has to be of lower-case letters, digits and dashes, 63 at most, and to begin and end with a letter or a digit."
  }
}

variable "values" {
  description = "Values files of the chart helm/slipway, the later before the earlier. Without any, helm/evaluation.yaml."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for file in var.values : fileexists(file)])
    error_message = "values names what is not a file: ${join(", ", [for file in var.values : file if !fileexists(file)])}."
  }
  validation {
    condition     = alltrue([for file in var.values : !strcontains(file, "'")])
    error_message = "values names a file with a quote in its name: rename it."
  }
}

variable "image" {
  description = "Image to release instead of building one: of the Docker engine, or registry/name:tag@sha256:… for the cluster to pull."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[^\\s]+$", var.image))
    error_message = "image is empty or has a space in it: name one as `docker images` does, or leave it out to build it."
  }
}

variable "observability" {
  description = "Whether Prometheus, Grafana and the like (helm/observability) come and go with it. Without an answer: with helm/evaluation.yaml, in a cluster that has no Prometheus Operator."
  type        = bool
  default     = null
}
