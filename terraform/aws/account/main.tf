# What an AWS account has once, whatever environments it holds: where states and images are kept, who may push, and
# what it may cost.

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = var.name, managed-by = "terraform" }
  }
}

module "key" {
  source = "../modules/key"
  name   = "${var.name}-account"
}

module "state" {
  source      = "../modules/state"
  bucket      = var.state_bucket
  kms_key_arn = module.key.arn
}

module "ecr" {
  source      = "../modules/ecr"
  name        = var.name
  kms_key_arn = module.key.arn
}

module "github" {
  source             = "../modules/github-oidc"
  name               = "${var.name}-github-release"
  repository         = var.github_repository
  subjects           = var.github_subjects
  ecr_repository_arn = module.ecr.arn
}

module "budget" {
  source      = "../modules/budget"
  count       = var.monthly_budget_usd == null ? 0 : 1
  name        = var.name
  monthly_usd = var.monthly_budget_usd
  emails      = var.emails
}
