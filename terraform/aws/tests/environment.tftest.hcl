# What an environment is composed of, and what it tells the chart, without a cloud.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  region              = "eu-central-1"
  environment         = "test"
  public_access_cidrs = []
  cluster             = { instance_types = ["m7i.large"], nodes = { min = 2, max = 4 } }
  database            = { instance_class = "db.t4g.small", max_connections = 100, storage_gib = { initial = 20, max = 50 } }
  valkey              = { node_type = "cache.t4g.micro" }
  pods                = { min = 2, max = 3, workers = 2 }
}

run "the_chart_is_told_where_everything_is" {
  command = plan
  assert {
    condition     = yamldecode(output.values).image.repository == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway"
    error_message = "The image comes from the account's repository."
  }
  assert {
    condition     = yamldecode(output.values).redis.existingSecret == "slipway-valkey" && strcontains(output.secrets, "rediss://:{{ .token }}@valkey.example.org:6379/0")
    error_message = "Valkey is reached by TLS, with its token."
  }
  assert {
    condition     = strcontains(output.secrets, "host=db.example.org") && strcontains(output.secrets, "sslmode=require")
    error_message = "The database is reached by TLS."
  }
  assert {
    condition     = yamldecode(output.values).hpa == { enabled = true, minReplicas = 2, maxReplicas = 3 }
    error_message = "Pods between two numbers are the HPA's."
  }
}

run "certificates_are_checked_when_they_are_given" {
  command = plan
  variables { database_ca = "-----BEGIN CERTIFICATE-----\nmock\n-----END CERTIFICATE-----\n" }
  assert {
    condition     = strcontains(output.secrets, "sslmode=verify-full") && strcontains(output.secrets, "sslrootcert=/etc/slipway/database/ca.pem")
    error_message = "With certificates at hand, the database's is checked."
  }
  assert {
    condition     = contains([for item in yamldecode(output.values).extraVolumes[0].secret.items : item.key], "ca.pem")
    error_message = "The certificates are mounted where the service file looks for them."
  }
}

run "an_environment_without_valkey" {
  command = plan
  variables {
    valkey = null
    pods   = { min = 2, max = 2, workers = 1 }
  }
  assert {
    condition     = yamldecode(output.values).redis.existingSecret == "" && !strcontains(output.secrets, "slipway-valkey")
    error_message = "What is not there is not asked for."
  }
  assert {
    condition     = !yamldecode(output.values).hpa.enabled
    error_message = "A single number of pods needs no HPA."
  }
}

run "more_pods_than_the_database_bears" {
  command = plan
  variables { pods = { min = 2, max = 10, workers = 2 } }
  expect_failures = [var.pods]
}

run "an_environment_with_every_mistake" {
  command = plan
  variables {
    region             = "Frankfurt"
    name               = "slipway-"
    environment        = "Prod"
    database_ca        = "bundle.pem"
    log_retention_days = 100
    namespace          = "slipway_1"
    pods               = { min = 2, max = 1, workers = 1 }
  }
  expect_failures = [
    var.region, var.name, var.environment, var.database_ca, var.log_retention_days, var.namespace, var.pods,
  ]
}
