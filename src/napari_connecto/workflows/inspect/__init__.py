"""Trust and inspect: where is a model wrong, why did it miss, what does it know, how small can it be?"""
