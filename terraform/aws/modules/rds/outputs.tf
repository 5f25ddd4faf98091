output "id" {
  description = "Name of the instance, as CloudWatch's metrics have it."
  value       = aws_db_instance.this.identifier
}

output "host" {
  description = "Where PostgreSQL answers; after a failover too."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Its port."
  value       = aws_db_instance.this.port
}

output "database" {
  description = "Name of the database."
  value       = aws_db_instance.this.db_name
}

output "secret_arn" {
  description = "Secret with `username` and `password`, which RDS changes every week."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}
