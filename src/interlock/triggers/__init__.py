"""One file per trigger kind, and the registry of kinds."""
