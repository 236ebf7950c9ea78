"""The bundled starter: a tiny base model the project made itself, its builder, and a sample dataset with a recipe."""
