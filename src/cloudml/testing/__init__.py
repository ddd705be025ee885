"""The contract of a provider as pytest classes, and three clouds in memory to prove the core on."""
