resource "aws_elasticache_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "this" {
  name        = "${var.name}-valkey"
  description = "Valkey of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-valkey" }
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each          = toset(var.client_cidrs)
  security_group_id = aws_security_group.this.id
  description       = "Nodes and pods"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 6379
  to_port           = 6379
}

# Another one each time it is read. Letters and digits alone: a URL takes them as they are.
data "aws_secretsmanager_random_password" "token" {
  password_length     = 64
  exclude_punctuation = true
}

resource "terraform_data" "token_version" {
  input = var.token_version
}

resource "aws_secretsmanager_secret" "token" {
  #checkov:skip=CKV2_AWS_57:By token_version: ElastiCache takes a token from whoever rotates it, and Terraform is that
  name                    = "${var.name}-valkey"
  description             = "What clients of Valkey log in with"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = 7
}

# Kept as it first was, until there is to be another.
resource "aws_secretsmanager_secret_version" "token" {
  secret_id     = aws_secretsmanager_secret.token.id
  secret_string = data.aws_secretsmanager_random_password.token.random_password

  lifecycle {
    ignore_changes       = [secret_string]
    replace_triggered_by = [terraform_data.token_version]
  }
}

# Its default parameters suit: cache entries go when memory is full, and queued tasks stay (volatile-lru).
resource "aws_elasticache_replication_group" "this" {
  #checkov:skip=CKV2_AWS_50:On from two nodes on; the check does not see the variable
  replication_group_id       = var.name
  description                = "Valkey of ${var.name}"
  engine                     = "valkey"
  engine_version             = var.valkey_version
  node_type                  = var.node_type
  num_cache_clusters         = var.nodes
  automatic_failover_enabled = var.nodes > 1
  multi_az_enabled           = var.nodes > 1
  port                       = 6379

  subnet_group_name  = aws_elasticache_subnet_group.this.name
  security_group_ids = [aws_security_group.this.id]

  at_rest_encryption_enabled = true
  kms_key_id                 = var.kms_key_arn
  transit_encryption_enabled = true
  auth_token                 = aws_secretsmanager_secret_version.token.secret_string
  auth_token_update_strategy = "ROTATE"

  snapshot_retention_limit   = var.snapshot_retention_days
  snapshot_window            = "01:00-02:00"
  maintenance_window         = "sun:03:00-sun:04:00"
  auto_minor_version_upgrade = true
}
