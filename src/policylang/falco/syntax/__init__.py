"""Rule files as text: YAML with places, the items that they define, and the grammar of conditions."""
