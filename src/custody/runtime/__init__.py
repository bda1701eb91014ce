"""What runs, beside what was admitted: events of many sources in Falco's fields, rules, drift, alerts."""
