"""A storage that is away: waiting for it, and results that were kept aside."""
