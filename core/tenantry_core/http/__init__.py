"""The HTTP server side that router and predictor share: a fast path beside FastAPI on one port."""
