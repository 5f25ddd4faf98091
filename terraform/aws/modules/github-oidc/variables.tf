variable "name" {
  description = "Name of the role."
  type        = string
}

variable "repository" {
  description = "The repository on GitHub, as owner/name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "repository is owner/name, without * and without https://github.com/."
  }
}

variable "subjects" {
  description = "Which of its runs may take the role, as GitHub's subjects end: `ref:refs/tags/v*`, `environment:release` …"
  type        = list(string)
  default     = ["ref:refs/tags/v*"]

  validation {
    condition     = length(var.subjects) > 0 && alltrue([for subject in var.subjects : can(regex("^(ref:refs/(heads|tags)/[^*]|environment:[^*])", subject))])
    error_message = "subjects begin with ref:refs/tags/, ref:refs/heads/ or environment: and a name; a * may only end it. Runs for pull requests get nothing."
  }
}

variable "ecr_repository_arn" {
  description = "Where the role may push images."
  type        = string
}
