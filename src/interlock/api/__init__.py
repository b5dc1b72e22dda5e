"""HTTP: routes made from the operation table, lanes, wire errors, and the documents made from the same table."""
