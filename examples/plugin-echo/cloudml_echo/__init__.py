"""A provider for cloudml as a distribution of its own: jobs run, endpoints answer each row with itself."""
