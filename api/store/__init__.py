"""What the service remembers: jobs, keys and uploads in a database, files in folders."""
