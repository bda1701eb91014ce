"""What is checked before a policy is compiled: names, safety, recursion, types, and where rules stand under `data`."""
