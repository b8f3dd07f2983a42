//! The socket: accepts connections up to a limit, and serves each until it ends or the server stops.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::api;
use super::app::App;
use super::patience::Patient;

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// What is read or written at a time.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long to wait before accepting again when the system has no descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How long requests that are being served may go on after the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until the application is told to stop, then finishes what is being served.
pub(super) async fn run(listener: TcpListener, app: &App) {
    let listener =
        tokio::net::TcpListener::from_std(listener).expect("inside a runtime, with a listening socket");
    let router = api::router(app);
    let slots = Arc::new(Semaphore::new(app.settings().http_connections_max.get()));
    let connections = GracefulShutdown::new();
    let accept = async {
        loop {
            // Connections beyond the limit wait in the system's queue.
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            };
            let connection = connections.watch(serve(stream, router.clone(), app.settings().http_timeout));
            tokio::spawn(async move {
                // Whatever broke concerns this client alone, and it is gone.
                let _ = connection.await;
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = app.stopped() => {}
    }
    drop(listener);
    let _late = tokio::time::timeout(GRACE, connections.shutdown()).await;
}

type Connection = http1::Connection<TokioIo<Patient<TcpStream>>, TowerToHyperService<Router>>;

fn serve(stream: TcpStream, router: Router, patience: Duration) -> Connection {
    // Where it fails, small answers are late; nothing else.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, patience)), TowerToHyperService::new(router))
}
