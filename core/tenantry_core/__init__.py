"""What operator, router, predictor and command line agree on; imports none of them."""
