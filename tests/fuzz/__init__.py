"""What must hold for any bytes: hypothesis tries it for seconds in CI, `make fuzz` with atheris for longer."""
