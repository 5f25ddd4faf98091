output "kube_context" {
  description = "Context of the cluster, for `kubectl --context` and `helm --kube-context`."
  value       = local.context
}

output "namespace" {
  description = "Namespace of the release."
  value       = var.namespace
}

output "release" {
  description = "Name of the Helm release."
  value       = var.release
}
