"""A/B testing: assign variants, log exposures durably, read results that stay true while you watch."""
