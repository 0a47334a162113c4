"""The servers that a team shares: MLflow on PostgreSQL, artifacts and DVC's data over the S3 protocol."""
