output "name" {
  description = "Name of the cluster, as `aws eks update-kubeconfig --name` takes it."
  value       = aws_eks_cluster.this.name
}

output "endpoint" {
  description = "Where the Kubernetes API answers."
  value       = aws_eks_cluster.this.endpoint
}

output "oidc_provider_arn" {
  description = "IAM's provider for the cluster's service accounts, as the irsa module takes it."
  value       = aws_iam_openid_connect_provider.this.arn
}
