//! A service with a page for Prometheus at /metrics, probes at /live and /ready, and its board for Grafana at /board.
//!
//! `cargo run -p cauce --example metrics`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use cauce::{Bus, Metrics, Service};
use common::OrderCreated;

async fn metrics(State(bus): State<Bus>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], bus.metrics().render().await)
}

fn probe(well: bool, problems: &[String]) -> impl IntoResponse + use<> {
    (if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, problems.join("\n"))
}

async fn live(State(bus): State<Bus>) -> impl IntoResponse {
    let health = bus.health().await;
    probe(health.live, &health.problems)
}

async fn ready(State(bus): State<Bus>) -> impl IntoResponse {
    let health = bus.health().await;
    probe(health.ready, &health.problems)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    let running = Service::new("shipping").on(async |_: OrderCreated| {}).start(&bus).await?;
    bus.publish_all(&common::orders(5)).await?;
    let pages =
        Router::new().route("/metrics", get(metrics)).route("/live", get(live)).route("/ready", get(ready));
    let pages = pages.route("/board", get(|| async { Metrics::grafana_board() })).with_state(bus.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/metrics", listener.local_addr()?);
    tokio::select! {
        served = axum::serve(listener, pages) => served?,
        () = common::for_a_while() => {}
    }
    print!("{}", bus.metrics().render().await);
    println!("{}", running.stop().await);
    Ok(())
}
