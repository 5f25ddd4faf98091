output "url" {
  description = "Registry and name, as `docker push` and the chart's `image.repository` take them."
  value       = aws_ecr_repository.this.repository_url
}

output "arn" {
  description = "ARN of the repository."
  value       = aws_ecr_repository.this.arn
}
