"""Who may do what with the registry: who somebody is (htpasswd, bearer, mtls), what he may (rules), the gate."""
