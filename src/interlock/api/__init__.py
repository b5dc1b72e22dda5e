"""HTTP: routes, lanes, errors on the wire, and the OpenAPI document, derived from the operation table."""
