# A size, as `-var-file=dev.tfvars` gives it: terraform test -test-directory=tests/sizes -var-file=dev.tfvars

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  region              = "eu-central-1"
  public_access_cidrs = []
}

run "it_contradicts_no_rule" {
  command = plan
  assert {
    condition     = yamldecode(output.values).telemetry.environment == var.environment
    error_message = "The service tells the environment's name with its events."
  }
  assert {
    condition     = length(module.network.private_subnet_ids) >= 2
    error_message = "Two zones or more."
  }
}
