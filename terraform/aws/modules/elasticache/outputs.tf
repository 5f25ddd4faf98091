output "ids" {
  description = "Names of the nodes, as CloudWatch's metrics have them."
  # ElastiCache names them so; asked of it, they would be known too late for one alarm each.
  value = [for index in range(var.nodes) : format("%s-%03d", aws_elasticache_replication_group.this.replication_group_id, index + 1)]
}

output "host" {
  description = "Where the primary answers, by TLS; after a failover too."
  value       = aws_elasticache_replication_group.this.primary_endpoint_address
}

output "port" {
  description = "Its port."
  value       = aws_elasticache_replication_group.this.port
}

output "secret_arn" {
  description = "Secret that is the token."
  value       = aws_secretsmanager_secret.token.arn
}
