"""`jaxhpo demo`: the three families on one task, in three acts."""
