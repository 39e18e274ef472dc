"""Test functions in closed form: one objective or several, with constraints, mixed spaces."""
