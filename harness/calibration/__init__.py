"""Fitting the predictor to published or own latencies, and judging it by them."""
