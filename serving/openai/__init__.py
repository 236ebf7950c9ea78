"""The routes, exactly as the official ``openai`` client expects them."""
