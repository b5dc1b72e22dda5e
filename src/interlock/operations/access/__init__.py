"""Who may call: clients and tenants."""
