"""Who is calling and what they may do: tenants by host, clients, assertions, tokens, roles."""
