"""The functions that Kubernetes adds (k8s.io/apiserver pkg/cel/library)."""
