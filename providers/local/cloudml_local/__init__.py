"""The provider ``local``: jobs, models and endpoints on this machine, as processes."""
