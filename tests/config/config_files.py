"""A whole ``cloudml.yaml`` that is right; tests change a word of it."""

WHOLE = """\
version: 1
project: fraud
vars: {lr: 3e-4}
jobs:
  train:
    source: src/
    command: python train.py --lr ${vars.lr}
    inputs: {train: data/train.csv}
    resources: {cpu: 2, memory: 4Gi}
models:
  fraud:
    from: jobs.train
    sample_input: samples/one.json
    baseline: {data: data/train.csv, target: is_fraud}
    gates: ["auc >= 0.90"]
    alias: champion
endpoints:
  fraud-api:
    model: fraud@champion
    capture: 1.0
    monitor: {drift: {psi: 0.2}, min_samples: 200}
environments:
  dev:  {provider: local}
  far:  {provider: elsewhere, region: us-east-1, role: "${env:ROLE_OF_NOBODY}"}
  prod: {provider: local, vars: {lr: 0.1}, endpoints: {fraud-api: {scale: {min: 2, max: 20}}}}
"""
