"""What the public protos say: services, methods, messages and their comments, read without importing grpc."""
