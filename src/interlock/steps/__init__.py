"""One file per step kind: how that step does its work, and what being interrupted means for it.

`kind` has what every kind is made of, `registry` the list of kinds. Adding one takes a file here and a line there.
"""
