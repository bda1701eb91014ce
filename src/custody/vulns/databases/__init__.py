"""What other scanners have made of publishers' advisories: Trivy's database and Grype's, read into custody's own."""
