"""What the gateway costs, each row beside a bare reference in the same run; see docs/benchmarks.md."""
