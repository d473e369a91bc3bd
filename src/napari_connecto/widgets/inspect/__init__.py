"""The dock "Inspect a model": is it right, why did it miss, what does it know, how small can it be?"""
