"""Tests of the demo and of the fake provider that all tests share."""
