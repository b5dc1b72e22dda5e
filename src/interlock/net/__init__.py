"""What leaves this machine, and to where it may go.

`egress` decides where to (`addresses` has the tables); `http` is the one HTTP client.
"""
