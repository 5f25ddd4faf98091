output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "Subnets for load balancers, one a zone."
  value       = [for subnet in aws_subnet.public : subnet.id]
}

output "private_subnet_ids" {
  description = "Subnets for nodes and pods, one a zone."
  value       = [for subnet in aws_subnet.private : subnet.id]
}

output "private_cidrs" {
  description = "Addresses of nodes and pods: who may ask databases."
  value       = values(local.private)
}

output "data_subnet_ids" {
  description = "Subnets for databases, one a zone."
  value       = [for subnet in aws_subnet.data : subnet.id]
}
