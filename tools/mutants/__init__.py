"""Tests of the tests: small changes to the rules of the stop, and whether anybody notices: python -m tools.mutants"""
