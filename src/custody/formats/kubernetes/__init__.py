"""Objects of Kubernetes as the API server merges them: schemas, structured merge and strategic merge patches."""
