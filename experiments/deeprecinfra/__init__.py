"""DeepRecSys (Gupta et al., ISCA 2020) as runnable studies: models, load, machines, schedulers.

python -m experiments.deeprecinfra --table main     # all models, targets and schedulers
python -m experiments.deeprecinfra --quick          # the same table, a small part of it

`README.md` beside this file says how to add a model, a workload or a scheduler.
"""
