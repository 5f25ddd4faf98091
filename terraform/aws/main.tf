# One environment: network, cluster, databases, their alarms, and what the chart has to know of them.
# What the account has once stands in account/.

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = var.name, environment = var.environment, managed-by = "terraform" }
  }
}

locals {
  name = "${var.name}-${var.environment}"
}

data "aws_ecr_repository" "this" {
  name = var.name
}

module "key" {
  source     = "./modules/key"
  name       = local.name
  publishers = ["cloudwatch"]
}

module "network" {
  source             = "./modules/network"
  name               = local.name
  cidr               = var.network.cidr
  zones              = var.network.zones
  nat_per_zone       = var.network.nat_per_zone
  log_retention_days = var.log_retention_days
  kms_key_arn        = module.key.arn
}

module "eks" {
  source              = "./modules/eks"
  name                = local.name
  kubernetes_version  = var.cluster.version
  subnet_ids          = module.network.private_subnet_ids
  public_access_cidrs = var.public_access_cidrs
  admin_role_arns     = var.admin_role_arns
  architecture        = var.cluster.architecture
  instance_types      = var.cluster.instance_types
  nodes               = var.cluster.nodes
  addons              = var.addons
  log_retention_days  = var.log_retention_days
  kms_key_arn         = module.key.arn
}

module "rds" {
  source                = "./modules/rds"
  name                  = local.name
  vpc_id                = module.network.vpc_id
  subnet_ids            = module.network.data_subnet_ids
  client_cidrs          = module.network.private_cidrs
  instance_class        = var.database.instance_class
  max_connections       = var.database.max_connections
  storage_gib           = var.database.storage_gib
  multi_az              = var.database.multi_az
  backup_retention_days = var.database.backup_retention_days
  deletion_protection   = var.database.deletion_protection
  log_retention_days    = var.log_retention_days
  kms_key_arn           = module.key.arn
}

module "elasticache" {
  source                  = "./modules/elasticache"
  count                   = var.valkey == null ? 0 : 1
  name                    = local.name
  vpc_id                  = module.network.vpc_id
  subnet_ids              = module.network.data_subnet_ids
  client_cidrs            = module.network.private_cidrs
  node_type               = var.valkey.node_type
  nodes                   = var.valkey.nodes
  snapshot_retention_days = var.valkey.snapshot_retention_days
  token_version           = var.valkey.token_version
  kms_key_arn             = module.key.arn
}

module "alarms" {
  source      = "./modules/alarms"
  name        = local.name
  emails      = var.alarm_emails
  kms_key_arn = module.key.arn
  valkey_ids  = flatten(module.elasticache[*].ids)
  database = {
    id              = module.rds.id
    max_connections = var.database.max_connections
    storage_gib     = var.database.storage_gib.initial
  }
}

data "aws_iam_policy_document" "secrets" {
  statement {
    sid       = "Read"
    actions   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
    resources = concat([module.rds.secret_arn], module.elasticache[*].secret_arn)
  }
  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt"]
    resources = [module.key.arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${var.region}.amazonaws.com"]
    }
  }
}

module "secrets" {
  source            = "./modules/irsa"
  name              = "${local.name}-secrets"
  oidc_provider_arn = module.eks.oidc_provider_arn
  namespace         = var.namespace
  service_account   = local.reader
  policy            = data.aws_iam_policy_document.secrets.json
}
