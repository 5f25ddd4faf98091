# Plans alone: nothing is made.

run "a_kind_cluster_where_no_context_is_named" {
  command = plan
  assert {
    condition     = length(terraform_data.cluster) == 1
    error_message = "no cluster would be made"
  }
  assert {
    condition     = output.kube_context == "kind-slipway"
    error_message = "the release would go to ${output.kube_context}"
  }
}

run "no_cluster_where_a_context_is_named" {
  command = plan
  variables {
    kube_context = "elsewhere"
    cluster_name = "unused"
  }
  assert {
    condition     = length(terraform_data.cluster) == 0
    error_message = "a cluster would be made"
  }
  assert {
    condition     = terraform_data.deployment.triggers_replace.settings.CONTEXT == "elsewhere"
    error_message = "the release would go elsewhere"
  }
}

run "make_is_told_what_the_variables_say" {
  command = plan
  variables {
    cluster_name  = "dev"
    release       = "shop"
    namespace     = "shop-dev"
    values        = ["../../helm/evaluation.yaml", "variables.tf"]
    image         = "slipway:1"
    observability = false
  }
  assert {
    condition = terraform_data.deployment.triggers_replace.settings == {
      CONTEXT       = "kind-dev"
      RELEASE       = "shop"
      NAMESPACE     = "shop-dev"
      VALUES        = "'${abspath("../../helm/evaluation.yaml")}' '${abspath("variables.tf")}'"
      IMAGE         = "slipway:1"
      OBSERVABILITY = "0"
    }
    error_message = "it is told ${jsonencode(terraform_data.deployment.triggers_replace.settings)}"
  }
  assert {
    condition     = terraform_data.release.input == terraform_data.deployment.triggers_replace.settings
    error_message = "what is taken away is not what was brought"
  }
}

run "refuses_an_empty_context" {
  command = plan
  variables {
    kube_context = " "
  }
  expect_failures = [var.kube_context]
}

run "refuses_names_that_kubernetes_does_not_take" {
  command = plan
  variables {
    cluster_name = "My cluster"
    release      = "Slipway"
    namespace    = "a.b"
    image        = ""
  }
  expect_failures = [var.cluster_name, var.release, var.namespace, var.image]
}

run "refuses_values_that_are_not_there" {
  command = plan
  variables {
    values = ["../../helm/evaluation.yaml", "none.yaml"]
  }
  expect_failures = [var.values]
}
