"""Operators that look ahead: forecasts, anomalies, changes, models of the user."""
