//! The first argument of a handler is the event.
use cauce::{HandlerError, Service};

async fn handler(_: String) -> Result<(), HandlerError> {
    Ok(())
}

fn main() {
    let _ = Service::new("desk").on(handler);
}
