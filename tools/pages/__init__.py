"""The documentation pages that the server hands out, made from the operation table: python -m tools.pages"""
