output "role_arn" {
  description = "For aws-actions/configure-aws-credentials as `role-to-assume`."
  value       = aws_iam_role.this.arn
}
