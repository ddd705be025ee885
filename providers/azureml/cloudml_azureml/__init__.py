"""cloudml on Azure Machine Learning."""
