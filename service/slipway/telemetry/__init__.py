"""What the service tells of itself, each signal one `init_app`."""
