"""The commands.

Client commands start in well under 200 ms of CPU: they use the standard library and click alone, and `main` loads a
command's module when it is called for. Only `serve` knows the server.
"""
