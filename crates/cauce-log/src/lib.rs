//! Durable records and checkpoints behind a small storage trait. Knows no commands.
