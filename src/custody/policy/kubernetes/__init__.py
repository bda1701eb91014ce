"""The API server's own policies (admissionregistration.k8s.io)."""
