output "values" {
  description = "What helm/slipway has to know of this environment: `terraform output -raw values > values.yaml && make deploy VALUES=values.yaml`. Holds no secret."
  value       = yamlencode(local.values)
}

output "secrets" {
  description = "What brings the databases' secrets to the cluster: `terraform output -raw secrets | kubectl apply -f -`. Holds no secret itself."
  value       = join("---\n", [for manifest in concat(local.manifests, local.valkey_manifests) : yamlencode(manifest)])
}

output "image_repository" {
  description = "Where images are pushed: IMAGE of `make push`, IMAGE_REPOSITORY of `make deploy`."
  value       = data.aws_ecr_repository.this.repository_url
}

output "kubeconfig" {
  description = "The command that makes the cluster the current kube context."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${module.eks.name}"
}

output "alarms_topic_arn" {
  description = "Where alarms are published, for further subscribers such as a pager."
  value       = module.alarms.topic_arn
}
