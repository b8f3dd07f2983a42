//! Programs that know nothing of Cauce, each run on a real redis-server and on `cauce serve --memory`: clients of four
//! languages and generations, Redis's own tools, the services of an existing Node.js system, and such services mixed
//! with ours. Each check is written once and returns what it saw, line by line; both servers must show the same.
//!
//! The clients of other languages are installed by `./test`, so the tests are ignored unless asked for:
//! `cargo test -p cauce-testkit --test interop -- --ignored`.

mod both;
mod clients;
mod fred_client;
mod process;
mod queues;
mod redis_client;
mod server;
mod services;
mod tools;
