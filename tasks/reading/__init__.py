"""Reading a product brief: Markdown structure, English words, numbers, and what they say about a product.

All of it is rules and word lists. There is no language model, so the same text always gives the same answer.
"""
