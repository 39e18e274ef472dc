"""Conformance checks that anybody can run on a sampler of their own."""
