"""What `custody admission run` does in a cluster, over the port to its objects: policies read and told how they are,
the API server told what to ask, certificates kept, one of several replicas chosen for what only one may do."""
