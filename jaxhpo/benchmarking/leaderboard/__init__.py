"""Hypergradient estimators against bilevel tasks: what `jaxhpo bench hypergradients` runs."""
