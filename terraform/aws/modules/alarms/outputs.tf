output "topic_arn" {
  description = "Where alarms are published, for further subscribers such as a pager."
  value       = aws_sns_topic.this.arn
}
