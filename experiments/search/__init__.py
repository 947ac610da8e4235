"""The parts of `experiments.search_bench`: data, systems, tuning, timing, roofline, report."""
