# Three zones, any of which may fail.
environment = "prod"
network     = { cidr = "10.20.0.0/16", zones = 3, nat_per_zone = true }
cluster = {
  instance_types = ["m7i.large"]
  nodes          = { min = 3, max = 9 }
}
database = {
  instance_class  = "db.m7g.large"
  max_connections = 500
  storage_gib     = { initial = 100, max = 1000 }
}
valkey = {
  node_type = "cache.m7g.large"
  nodes     = 3
}
pods = { min = 3, max = 20, workers = 3 }
