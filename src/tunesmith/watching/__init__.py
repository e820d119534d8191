"""What is seen of a running service: metrics, traces, alerts and a dashboard; no torch, no web framework."""
