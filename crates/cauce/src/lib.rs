//! Event-driven microservices on Redis.
