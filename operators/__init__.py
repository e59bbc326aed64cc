"""Plain Python classes that judge transactions. They know neither Kafka nor the engine; time comes in with the data."""
