"""One compiled function against the same stages as services that call each other.

    python -m experiments.services_study            # 1,000,000 items, batches of 64
    python -m experiments.services_study --quick    # 20,000 items, half a minute

Both sides answer the same stream of requests on the same cores from the same parameters. The
services are the usual ones: a user tower, a filter with its neighbour search (faiss and roaring
bitmaps), a scorer; three processes, called over loopback gRPC with several batches in flight.
"""
