"""Callbacks: the registry, the modes, the ends of loops and processes, LiteLLM's own."""
