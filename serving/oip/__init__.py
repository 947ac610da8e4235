"""Open Inference Protocol v2: tensors, and requests over REST and gRPC. Knows no HTTP server."""
