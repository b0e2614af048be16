"""Who may call, from where, and how often: keys, tokens, scopes, sessions, origins and limits."""
