"""The page of the guarantees, docs/guarantees.md, made from the table of guarantees: python -m tools.guarantees"""
