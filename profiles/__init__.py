"""What the machine and the model are, and the plan they allow: closed forms, no torch."""
