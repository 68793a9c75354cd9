"""What users of LiteLLM ask of its telemetry, asked all at once where other tests ask it in parts."""
