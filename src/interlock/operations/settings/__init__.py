"""What a tenant's administrators set."""
