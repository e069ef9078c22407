"""Whole services apart: real masters, real clients, real signals, real kills."""
