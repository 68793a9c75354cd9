"""The subcommands of ``otel-llm-bridge``, one module each: ``add_arguments(parser)`` and ``main(arguments)``.

Beside them: what they share (`common`), and the program that `run` starts (`otel_env`, `supervise`, ``zero_code``).
"""
