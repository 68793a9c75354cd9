"""What the demo and the tests share: a fake provider on loopback, and a program that calls it through LiteLLM."""
