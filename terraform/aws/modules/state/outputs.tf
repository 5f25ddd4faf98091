output "bucket" {
  description = "Name of the bucket, for `terraform init -backend-config`."
  value       = aws_s3_bucket.this.bucket
}
