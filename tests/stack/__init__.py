"""The shipped stack, run natively: the real Collector, Jaeger v2 and Prometheus with the files of this repository."""
