terraform {
  # From here on, a validation may ask whether a file is there.
  required_version = ">= 1.9"
  # No provider: what Terraform has built in is enough, and needs no registry.

  # In this folder, unless `terraform init -backend-config=path=FILE` says otherwise.
  backend "local" {}
}
