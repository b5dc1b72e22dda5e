"""Who carries runs on. A dispatcher finds somebody for `advance`; it decides nothing and knows no plan."""
