"""Who may call the ready service: what each operation needs, and how the settings say who is let in."""
