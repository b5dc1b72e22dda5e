"""What Interlock can do on this machine, beside what the machine can do: see benchmarks/README.md."""
