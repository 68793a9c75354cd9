"""Tests with the real LiteLLM Proxy."""
