"""Pod Security Standards as the API server's admission plugin evaluates them (k8s.io/pod-security-admission, v1.37)."""
