# The logic of the modules, without a cloud.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name         = "slipway-test"
  kms_key_arn  = "arn:aws:kms:eu-central-1:123456789012:key/mock"
  vpc_id       = "vpc-1"
  subnet_ids   = ["subnet-1", "subnet-2"]
  client_cidrs = ["10.0.0.0/20", "10.0.16.0/20"]
}

run "each_zone_has_its_own_way_out" {
  module { source = "./modules/network" }
  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(distinct([for route in aws_route.private : route.nat_gateway_id])) == 3
    error_message = "Three zones need three NAT gateways, each used by one of them."
  }
  assert {
    condition     = [for subnet in aws_subnet.private : subnet.cidr_block] == ["10.0.0.0/20", "10.0.16.0/20", "10.0.32.0/20"]
    error_message = "Nodes of each zone get a sixteenth of the VPC."
  }
  assert {
    condition     = [for subnet in aws_subnet.data : subnet.cidr_block] == ["10.0.224.0/24", "10.0.225.0/24", "10.0.226.0/24"]
    error_message = "Databases get networks of their own."
  }
}

run "a_single_nat_serves_all_zones" {
  module { source = "./modules/network" }
  variables {
    zones        = 2
    nat_per_zone = false
    cidr         = "10.9.0.0/20"
  }
  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_route.private) == 2
    error_message = "Two zones go out by one NAT gateway."
  }
  assert {
    condition     = [for subnet in aws_subnet.public : subnet.cidr_block] == ["10.9.15.0/28", "10.9.15.16/28"]
    error_message = "The smallest VPC has room for every subnet."
  }
}

run "a_network_that_is_no_network" {
  command = plan
  module { source = "./modules/network" }
  variables { cidr = "10.0.0.0/24" }
  expect_failures = [var.cidr]
}

run "a_single_zone" {
  command = plan
  module { source = "./modules/network" }
  variables { zones = 1 }
  expect_failures = [var.zones]
}

run "tags_of_images_are_never_moved" {
  module { source = "./modules/ecr" }
  variables { keep = 20 }
  assert {
    condition     = aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push
    error_message = "A tag names one image for ever, and each is scanned."
  }
  assert {
    condition     = jsondecode(aws_ecr_lifecycle_policy.this.policy).rules[1].selection.countNumber == 20
    error_message = "As many images are kept as were asked for."
  }
}

run "too_few_images_to_go_back_to" {
  command = plan
  module { source = "./modules/ecr" }
  variables { keep = 2 }
  expect_failures = [var.keep]
}

run "the_api_is_closed_where_no_network_is_named" {
  module { source = "./modules/eks" }
  variables {
    public_access_cidrs = []
    instance_types      = ["m7g.large"]
    architecture        = "arm64"
    nodes               = { min = 2, max = 4 }
    admin_role_arns     = ["arn:aws:iam::123456789012:role/ops"]
  }
  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "Without a network that may ask, the API answers within the VPC alone."
  }
  assert {
    condition     = aws_eks_node_group.this.ami_type == "AL2023_ARM_64_STANDARD"
    error_message = "Nodes for arm64 start from an image for arm64."
  }
  assert {
    condition     = aws_launch_template.node.metadata_options[0].http_tokens == "required" && aws_launch_template.node.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "Pods must not reach the node's role."
  }
  assert {
    condition     = jsondecode(aws_eks_addon.this["vpc-cni"].configuration_values).enableNetworkPolicy == "true" && contains(keys(aws_eks_addon.this), "metrics-server")
    error_message = "The chart needs NetworkPolicy and the HPA's metrics."
  }
  assert {
    condition     = keys(aws_eks_access_policy_association.admin) == ["arn:aws:iam::123456789012:role/ops"]
    error_message = "Who is named administers the cluster."
  }
}

run "the_api_is_open_to_the_networks_that_are_named" {
  command = plan
  module { source = "./modules/eks" }
  variables {
    public_access_cidrs = ["203.0.113.7/32"]
    instance_types      = ["m7i.large"]
    nodes               = { min = 2, max = 4 }
  }
  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.7/32"])
    error_message = "The API answers who is named, and nobody else."
  }
}

run "a_cluster_with_every_mistake" {
  command = plan
  module { source = "./modules/eks" }
  variables {
    kubernetes_version  = "1.29"
    public_access_cidrs = ["0.0.0.0/0"]
    admin_role_arns     = ["ops"]
    architecture        = "riscv"
    instance_types      = []
    nodes               = { min = 1, max = 1 }
    disk_gib            = 8
    subnet_ids          = ["subnet-1"]
    addons              = { coredns = { configuration = "no json" } }
  }
  expect_failures = [
    var.kubernetes_version, var.public_access_cidrs, var.admin_role_arns, var.architecture, var.instance_types,
    var.nodes, var.disk_gib, var.subnet_ids, var.addons,
  ]
}

run "the_database_is_kept_encrypted_and_closed" {
  module { source = "./modules/rds" }
  variables {
    instance_class  = "db.m7g.large"
    max_connections = 500
    storage_gib     = { initial = 100, max = 1000 }
  }
  override_resource {
    target = aws_db_instance.this
    values = { master_user_secret = [{ secret_arn = "arn:mock", kms_key_id = "mock", secret_status = "active" }] }
  }
  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.storage_encrypted && aws_db_instance.this.deletion_protection && !aws_db_instance.this.publicly_accessible
    error_message = "By default, a standby takes over, storage is encrypted, and nobody deletes or reaches it by mistake."
  }
  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null
    error_message = "RDS makes the password; Terraform's state has none."
  }
  assert {
    condition     = !aws_db_instance.this.skip_final_snapshot && aws_db_instance.this.final_snapshot_identifier == "slipway-test-final"
    error_message = "What is protected leaves a snapshot."
  }
  assert {
    condition     = { for parameter in aws_db_parameter_group.this.parameter : parameter.name => parameter.value }["rds.force_ssl"] == "1"
    error_message = "Nobody connects without TLS."
  }
  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.this) == ["10.0.0.0/20", "10.0.16.0/20"]
    error_message = "Nodes and pods may connect, and nobody else."
  }
}

run "a_database_with_every_mistake" {
  command = plan
  module { source = "./modules/rds" }
  variables {
    name                  = "Slipway_1"
    postgresql_version    = "18.1"
    instance_class        = "m7g.large"
    max_connections       = 10
    storage_gib           = { initial = 100, max = 105 }
    backup_retention_days = 0
    subnet_ids            = ["subnet-1"]
  }
  expect_failures = [
    var.name, var.postgresql_version, var.instance_class, var.max_connections, var.storage_gib,
    var.backup_retention_days, var.subnet_ids,
  ]
}

run "valkey_wants_tls_and_a_token" {
  module { source = "./modules/elasticache" }
  variables {
    node_type = "cache.m7g.large"
    nodes     = 3
  }
  assert {
    condition     = aws_elasticache_replication_group.this.transit_encryption_enabled && aws_elasticache_replication_group.this.at_rest_encryption_enabled == "true" && nonsensitive(aws_elasticache_replication_group.this.auth_token) == "0123456789abcdef"
    error_message = "Connections and data are encrypted, and the token is the one that is kept in Secrets Manager."
  }
  assert {
    condition     = aws_elasticache_replication_group.this.automatic_failover_enabled && aws_elasticache_replication_group.this.multi_az_enabled
    error_message = "A replica of another zone takes over."
  }
  assert {
    condition     = output.ids == ["slipway-test-001", "slipway-test-002", "slipway-test-003"]
    error_message = "Alarms watch every node."
  }
}

run "a_single_valkey_has_nothing_to_fail_over_to" {
  module { source = "./modules/elasticache" }
  variables {
    node_type = "cache.t4g.micro"
    nodes     = 1
  }
  assert {
    condition     = !aws_elasticache_replication_group.this.automatic_failover_enabled && !aws_elasticache_replication_group.this.multi_az_enabled
    error_message = "ElastiCache refuses failover with one node."
  }
}

run "a_valkey_with_every_mistake" {
  command = plan
  module { source = "./modules/elasticache" }
  variables {
    name                    = "1valkey"
    valkey_version          = "7.2"
    node_type               = "m7g.large"
    nodes                   = 0
    snapshot_retention_days = 36
  }
  expect_failures = [var.name, var.valkey_version, var.node_type, var.nodes, var.snapshot_retention_days]
}

run "runs_of_anybody_push_nothing" {
  command = plan
  module { source = "./modules/github-oidc" }
  variables {
    repository         = "you/*"
    subjects           = ["ref:refs/tags/v*", "*"]
    ecr_repository_arn = "arn:aws:ecr:eu-central-1:123456789012:repository/slipway"
  }
  expect_failures = [var.repository, var.subjects]
}

run "runs_for_pull_requests_push_nothing" {
  command = plan
  module { source = "./modules/github-oidc" }
  variables {
    repository         = "you/slipway"
    subjects           = ["pull_request"]
    ecr_repository_arn = "arn:aws:ecr:eu-central-1:123456789012:repository/slipway"
  }
  expect_failures = [var.subjects]
}

run "a_role_for_every_service_account" {
  command = plan
  module { source = "./modules/irsa" }
  variables {
    oidc_provider_arn = "arn:aws:iam::123456789012:role/no-provider"
    namespace         = "slipway"
    service_account   = "*"
    policy            = "{}"
  }
  expect_failures = [var.oidc_provider_arn, var.service_account]
}

run "who_pays_is_told_before_and_when_it_is_too_much" {
  module { source = "./modules/budget" }
  variables {
    monthly_usd = 500
    emails      = ["finance@example.org"]
  }
  assert {
    condition     = { for notice in aws_budgets_budget.this.notification : notice.notification_type => notice.threshold } == { ACTUAL = 80, FORECASTED = 100 }
    error_message = "80 % spent, or a month heading beyond the limit."
  }
}

run "a_budget_that_tells_nobody" {
  command = plan
  module { source = "./modules/budget" }
  variables {
    monthly_usd = 0
    emails      = []
  }
  expect_failures = [var.monthly_usd, var.emails]
}

run "alarms_are_shares_of_what_there_is" {
  module { source = "./modules/alarms" }
  variables {
    emails     = ["oncall@example.org"]
    database   = { id = "slipway-test", max_connections = 500, storage_gib = 100 }
    valkey_ids = ["slipway-test-001", "slipway-test-002"]
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.database["connections"].threshold == 400 && aws_cloudwatch_metric_alarm.database["storage"].threshold == 10737418240
    error_message = "Four fifths of the connections, a tenth of the storage in bytes."
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.valkey) == 4 && aws_cloudwatch_metric_alarm.valkey["slipway-test-002-memory"].dimensions.CacheClusterId == "slipway-test-002"
    error_message = "Each node of Valkey has its own alarms."
  }
}

run "an_alarm_for_no_address" {
  command = plan
  module { source = "./modules/alarms" }
  variables {
    emails     = ["oncall"]
    database   = { id = "slipway-test", max_connections = 500, storage_gib = 100 }
    valkey_ids = []
  }
  expect_failures = [var.emails]
}

run "a_bucket_and_days_that_keep_no_state" {
  command = plan
  module { source = "./modules/state" }
  variables {
    bucket      = "My_Bucket"
    former_days = 1
  }
  expect_failures = [var.bucket, var.former_days]
}

run "topics_under_the_key_of_no_service" {
  command = plan
  module { source = "./modules/key" }
  variables { publishers = ["cloudwatch.amazonaws.com"] }
  expect_failures = [var.publishers]
}
