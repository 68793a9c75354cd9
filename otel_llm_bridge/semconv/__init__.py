"""Attribute, event and metric names. Data only: nothing here imports anything of ours."""
