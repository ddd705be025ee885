"""What runs inside the container or the process of a job or an endpoint: ``python -m cloudml.runtime train | serve``.

The training half (``training context manifest command cluster child failures metric_lines installing``) uses the
standard library only and Python 3.9 syntax, for it runs in images of others; it never imports the serving half.
"""
