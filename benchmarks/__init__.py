"""What instrumentation costs: ours beside a hand-written span and beside the peers. Run ``python -m benchmarks``."""
