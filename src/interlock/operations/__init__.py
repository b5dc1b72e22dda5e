"""The operations of the API, independent of the transport: one package per resource."""
