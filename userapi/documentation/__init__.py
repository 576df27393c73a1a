"""The documentation: its pages."""
