variable "name" {
  description = "Name of the cluster."
  type        = string
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, such as 1.34. EKS goes up one at a time, and never down."
  type        = string
  default     = "1.34"

  validation {
    condition     = can(regex("^1\\.(3[0-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "kubernetes_version is 1.30 or later, as major.minor: the chart needs native sidecars and admission policies."
  }
}

variable "subnet_ids" {
  description = "Private subnets of nodes and pods, in two zones or more."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids are two or more, in different zones: EKS needs them."
  }
}

variable "public_access_cidrs" {
  description = "Networks that may ask the Kubernetes API over the internet. Without any, it answers within the VPC alone."
  type        = list(string)

  validation {
    condition     = alltrue([for cidr in var.public_access_cidrs : can(cidrnetmask(cidr))])
    error_message = "public_access_cidrs are IPv4 networks such as 203.0.113.7/32."
  }
  validation {
    condition     = alltrue([for cidr in var.public_access_cidrs : !endswith(cidr, "/0")])
    error_message = "public_access_cidrs must not be everybody (/0): name your networks."
  }
}

variable "admin_role_arns" {
  description = "IAM roles of people and pipelines that administer the cluster, beside whoever makes it."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.admin_role_arns : can(regex("^arn:aws[a-z-]*:iam::\\d{12}:role/.+$", arn))])
    error_message = "admin_role_arns are ARNs of IAM roles: arn:aws:iam::123456789012:role/name."
  }
}

variable "kms_key_arn" {
  description = "Key that Kubernetes Secrets and logs are encrypted by."
  type        = string
}

variable "architecture" {
  description = "Processors of the nodes: amd64 or arm64. The instance types and the image have to be for it."
  type        = string
  default     = "amd64"

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "architecture is amd64 or arm64."
  }
}

variable "instance_types" {
  description = "EC2 types of the nodes."
  type        = list(string)

  validation {
    condition     = length(var.instance_types) > 0
    error_message = "instance_types names at least one type, such as m7i.large."
  }
}

variable "nodes" {
  description = "Nodes at least and at most. Something has to ask for more: the cluster autoscaler, or a person."
  type        = object({ min = number, max = number })

  validation {
    condition     = var.nodes.min >= 2 && var.nodes.max >= var.nodes.min
    error_message = "nodes.min is 2 or more, so that one may fail, and nodes.max not below it."
  }
}

variable "disk_gib" {
  description = "Disk of each node, GiB."
  type        = number
  default     = 50

  validation {
    condition     = var.disk_gib >= 20
    error_message = "disk_gib is 20 or more: images and logs of pods live there."
  }
}

variable "addons" {
  description = "Add-ons of EKS by name, each with its version (EKS's default where null) and its configuration as JSON."
  type = map(object({
    version       = optional(string)
    configuration = optional(string)
  }))
  nullable = false
  default = {
    # Without it, the VPC's network enforces no NetworkPolicy.
    vpc-cni    = { configuration = "{\"enableNetworkPolicy\": \"true\"}" }
    coredns    = {}
    kube-proxy = {}
    # For the HPA and `kubectl top`.
    metrics-server = {}
  }

  validation {
    condition     = alltrue([for addon in values(var.addons) : addon.configuration == null || can(jsondecode(addon.configuration))])
    error_message = "The configuration of an add-on is JSON: jsonencode({...})."
  }
}

variable "log_retention_days" {
  description = "Days that the control plane's logs are kept."
  type        = number
  default     = 365
}
