locals {
  root    = "${path.module}/../.."
  context = coalesce(var.kube_context, "kind-${var.cluster_name}")

  # What `make deploy` and `make undeploy` are told; `make deploy` takes an empty one for none.
  settings = {
    CONTEXT       = local.context
    RELEASE       = var.release
    NAMESPACE     = var.namespace
    VALUES        = join(" ", [for file in var.values : "'${abspath(file)}'"])
    IMAGE         = var.image == null ? "" : var.image
    OBSERVABILITY = var.observability == null ? "" : var.observability ? "1" : "0"
  }

  # What is released: other content is released anew.
  sources = [
    for file in flatten([
      for pattern in [
        "helm/*.yaml", "helm/slipway/**", "helm/observability/**", "nginx/*.conf", "service/slipway/**",
        "service/{Dockerfile,README.md,gunicorn.conf.py,pyproject.toml,requirements-uv.txt,uv.lock}",
      ] : tolist(fileset(local.root, pattern))
    ]) : file if !strcontains(file, "__pycache__")
  ]
}

resource "terraform_data" "cluster" {
  count            = var.kube_context == null ? 1 : 0
  triggers_replace = { name = var.cluster_name }

  provisioner "local-exec" {
    working_dir = local.root
    environment = { NAME = self.triggers_replace.name }
    command     = <<-EOT
      command -v kind >/dev/null || {
        echo "terraform/local: kind is not on the PATH. Install it (https://kind.sigs.k8s.io), or name a cluster that is there: -var kube_context=NAME" >&2
        exit 1
      }
      exec kind create cluster --name "$NAME" --config helm/kind.yaml --wait 180s
    EOT
  }

  provisioner "local-exec" {
    when        = destroy
    environment = { NAME = self.triggers_replace.name }
    command     = "exec kind delete cluster --name \"$NAME\""
  }
}

# That there is one, so that its end takes it away; what is in it changes by `deployment` without that.
resource "terraform_data" "release" {
  input = local.settings
  triggers_replace = {
    cluster   = one(terraform_data.cluster[*].id)
    context   = local.context
    namespace = var.namespace
    release   = var.release
  }

  provisioner "local-exec" {
    when        = destroy
    working_dir = "${path.module}/../.."
    environment = self.input
    command     = "exec make undeploy"
  }
}

resource "terraform_data" "deployment" {
  triggers_replace = {
    release  = terraform_data.release.id
    settings = local.settings
    values   = { for file in var.values : file => filesha256(file) }
    sources  = sha256(join("\n", [for file in local.sources : "${file} ${filesha256("${local.root}/${file}")}"]))
  }

  provisioner "local-exec" {
    working_dir = local.root
    environment = local.settings
    command     = "exec make deploy"
  }
}
