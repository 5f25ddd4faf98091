output "backend" {
  description = "Where environments keep their states: a file for `terraform init -backend-config`."
  value       = <<-END
    bucket       = "${module.state.bucket}"
    region       = "${var.region}"
    encrypt      = true
    kms_key_id   = "${module.key.arn}"
    use_lockfile = true
  END
}

output "image_repository" {
  description = "Where images are pushed: IMAGE of `make push`, IMAGE_REPOSITORY of `make deploy`."
  value       = module.ecr.url
}

output "github_role_arn" {
  description = "The role that releases on GitHub take: `role-to-assume`."
  value       = module.github.role_arn
}
