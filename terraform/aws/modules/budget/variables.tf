variable "name" {
  description = "Name of the budget."
  type        = string
}

variable "monthly_usd" {
  description = "What the account may cost a month, USD."
  type        = number

  validation {
    condition     = var.monthly_usd > 0
    error_message = "monthly_usd is above 0."
  }
}

variable "emails" {
  description = "Who is told at 80 % spent, and when the month is heading beyond all of it; 10 at most."
  type        = list(string)

  validation {
    condition     = length(var.emails) >= 1 && length(var.emails) <= 10 && alltrue([for email in var.emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "emails are 1 to 10 addresses: a budget that tells nobody is none."
  }
}
