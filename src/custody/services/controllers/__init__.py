"""What becomes of policies beside admission, in a cluster: reports and events of what lies in it, objects that are
generated, changed and deleted. All of it over the port to a cluster's objects; one replica does it at a time."""
