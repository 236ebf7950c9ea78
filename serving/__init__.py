"""The inference server: engines that generate, and the OpenAI routes in front of them.

It never imports torch or transformers. Text becomes token ids here, by the model's own tokenizer; an engine is
given ids only.
"""
