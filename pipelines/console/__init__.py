"""What is printed about runs and champions."""
