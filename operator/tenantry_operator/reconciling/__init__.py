"""Observe, plan, apply: the loop around the planner, and the seam to the places it runs in."""
