"""What does a network know, since which checkpoint, in which stage, from which size on?"""
