"""cloudml on Amazon SageMaker."""
