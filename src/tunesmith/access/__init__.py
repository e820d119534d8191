"""Who may ask a service what, how much, and what is written down of it; knows no torch and no web framework.

A credential becomes a `Principal` at the `Gate`; whatever is turned away is a `RefusedError` with a stable code.
"""
