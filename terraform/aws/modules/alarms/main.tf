# What the service's own alerts (ops/) cannot see: how much room its managed databases have left.
locals {
  database = {
    cpu = {
      metric = "CPUUtilization", above = true, threshold = 80, minutes = 15
      text   = "The database's CPU has been above 80 % for 15 minutes. Performance Insights tells which queries; a larger instance_class helps."
    }
    connections = {
      metric = "DatabaseConnections", above = true, threshold = floor(var.database.max_connections * 0.8), minutes = 5
      text   = "Four fifths of the database's connections are taken. Fewer pods, or a larger max_connections."
    }
    storage = {
      metric = "FreeStorageSpace", above = false, threshold = floor(var.database.storage_gib * 0.1 * 1024 * 1024 * 1024), minutes = 15
      text   = "Less than a tenth of the database's first storage is free. RDS grows it by itself up to storage_gib.max."
    }
    memory = {
      metric = "FreeableMemory", above = false, threshold = 128 * 1024 * 1024, minutes = 15
      text   = "The database has less than 128 MiB of memory left. A larger instance_class, or a smaller max_connections."
    }
  }
  valkey = {
    cpu = {
      metric = "EngineCPUUtilization", above = true, threshold = 80, minutes = 15
      text   = "Valkey's one thread has been busy above 80 % for 15 minutes. A larger node_type helps."
    }
    memory = {
      metric = "DatabaseMemoryUsagePercentage", above = true, threshold = 80, minutes = 15
      text   = "Valkey's memory is four fifths full. Full, it drops cache entries, then refuses tasks. A larger node_type helps."
    }
  }
  nodes = merge([for id in var.valkey_ids : { for name, alarm in local.valkey : "${id}-${name}" => merge(alarm, { id = id }) }]...)
}

resource "aws_sns_topic" "this" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = toset(var.emails)
  topic_arn = aws_sns_topic.this.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_cloudwatch_metric_alarm" "database" {
  for_each            = local.database
  alarm_name          = "${var.name}-database-${each.key}"
  alarm_description   = each.value.text
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = { DBInstanceIdentifier = var.database.id }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = each.value.above ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "valkey" {
  for_each            = local.nodes
  alarm_name          = "${var.name}-valkey-${each.key}"
  alarm_description   = each.value.text
  namespace           = "AWS/ElastiCache"
  metric_name         = each.value.metric
  dimensions          = { CacheClusterId = each.value.id }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = each.value.above ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}
