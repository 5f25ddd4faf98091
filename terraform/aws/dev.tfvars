# Small and cheap, in two zones; a failure may cost some minutes, and an hour's data.
environment        = "dev"
network            = { cidr = "10.10.0.0/16", zones = 2, nat_per_zone = false }
log_retention_days = 30
cluster = {
  instance_types = ["t3.large"]
  nodes          = { min = 2, max = 3 }
}
database = {
  instance_class        = "db.t4g.small"
  max_connections       = 100
  storage_gib           = { initial = 20, max = 50 }
  multi_az              = false
  backup_retention_days = 3
  deletion_protection   = false
}
valkey = {
  node_type               = "cache.t4g.micro"
  nodes                   = 1
  snapshot_retention_days = 0
}
pods = { min = 2, max = 2, workers = 1 }
