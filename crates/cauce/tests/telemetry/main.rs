//! One trace through HTTP, a stream, a retry, a queue and a reply, as a collector gets it from OpenTelemetry's own exporter.
//!
//! A program of its own: whether a span is recorded is decided once for each place in the code, by whoever comes there first, which in a program with
//! other tests may be one that records nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../it/server.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod server;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State as Shared;
use axum::routing::get;
use cauce::{
    Bus, Delivery, Event, HandlerError, Json, Queue, QueueOptions, Reply, Request, Retry, Service, State,
    Worker,
};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::server::Server;

/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// A collector: takes what is posted to /v1/traces.
#[derive(Clone)]
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self { address: listener.local_addr().unwrap(), spans: Arc::default() };
        let spans = Arc::clone(&collector.spans);
        // Ends with the process: nobody connects any more then.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let body = read_request(stream.unwrap());
                let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
            }
        });
        collector
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

fn read_request(mut stream: TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(received[..end].to_vec()).unwrap().to_lowercase();
            assert!(head.starts_with("post /v1/traces"), "{head}");
            assert!(head.contains("content-type: application/x-protobuf"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if received.len() >= end + 4 + length.trim().parse::<usize>().unwrap() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                return received.split_off(end + 4);
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the exporter hung up");
        received.extend_from_slice(&buffer[..read]);
    }
}

/// The plainest client that the exporter can be given.
#[derive(Debug)]
struct Client;

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: opentelemetry_http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<opentelemetry_http::Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let mut stream = TcpStream::connect(request.uri().authority().unwrap().as_str())?;
            write!(
                stream,
                "POST {} HTTP/1.1\r\ncontent-length: {}\r\n",
                request.uri().path(),
                request.body().len()
            )?;
            for (name, value) in request.headers() {
                if name != "content-length" {
                    write!(stream, "{name}: {}\r\n", value.to_str()?)?;
                }
            }
            stream.write_all(b"\r\n")?;
            stream.write_all(request.body())?;
            let mut reply = [0; 15];
            stream.read_exact(&mut reply)?;
            assert_eq!(&reply, b"HTTP/1.1 200 OK");
            Ok(opentelemetry_http::Response::new(Bytes::new()))
        })
    }
}

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "bookings", action = "booking.asked")]
struct Book {
    passenger: String,
}

impl Request for Book {
    type Reply = Json<String>;
}

async fn book(
    event: Book,
    delivery: Delivery,
    State(tickets): State<Queue>,
) -> Result<Reply<Json<String>>, HandlerError> {
    if delivery.attempt == 1 {
        return Err(HandlerError::failed("the desk is busy"));
    }
    tickets.send(&event.passenger).await?;
    Ok(Reply(Json(format!("booked {}", event.passenger))))
}

async fn handle(Shared(bus): Shared<Bus>) -> String {
    let span = tracing::info_span!("http", otel.name = "GET /book", otel.kind = "server");
    let ask = async { bus.request(&Book { passenger: "Ada".to_owned() }, Duration::from_secs(10)).await };
    ask.instrument(span).await.unwrap().0
}

async fn one_trace(url: &str) {
    let collector = Collector::start();
    let endpoint = format!("http://{}/v1/traces", collector.address);
    let exporter =
        SpanExporter::builder().with_http().with_http_client(Client).with_endpoint(endpoint).build().unwrap();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    let bus = Bus::connect(url).await.unwrap();
    let queue = bus.queues().create("tickets", &QueueOptions::new()).await.unwrap();
    let service =
        Service::new("desk").state(queue.clone()).on(book).retry(Retry::fixed(Duration::from_millis(20)));
    let service = service.start(&bus).await.unwrap();
    let worker = Worker::new(&queue).on(async |_: String| {}).start().await.unwrap();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().route("/book", get(handle)).with_state(bus.clone());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut browser = tokio::net::TcpStream::connect(address).await.unwrap();
    browser.write_all(b"GET /book HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    browser.read_to_string(&mut page).await.unwrap();
    assert!(page.ends_with("booked Ada"), "{page}");
    until("the ticket is printed", || worker.report().handled == 1 && service.report().handled == 1).await;
    until("all spans have come", || collector.spans().len() >= 5).await;
    server.abort();

    let spans = collector.spans();
    let named: BTreeMap<_, Vec<_>> = spans.iter().fold(BTreeMap::new(), |mut named, span| {
        named.entry(span.name.as_str()).or_insert_with(Vec::new).push(span);
        named
    });
    let names: Vec<_> = named.iter().map(|(name, spans)| (*name, spans.len())).collect();
    assert_eq!(
        names,
        [("GET /book", 1), ("process bookings", 2), ("process tickets", 1), ("request bookings", 1)],
    );
    assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id), "one trace");
    let (http, request, ticket) =
        (named["GET /book"][0], named["request bookings"][0], named["process tickets"][0]);
    let mut attempts = named["process bookings"].clone();
    attempts.sort_by_key(|span| span.start_time_unix_nano);
    assert!(http.parent_span_id.is_empty() || http.parent_span_id.iter().all(|byte| *byte == 0));
    assert_eq!(request.parent_span_id, http.span_id);
    assert!(
        attempts.iter().all(|attempt| attempt.parent_span_id == request.span_id),
        "both attempts belong to the request"
    );
    assert_eq!(
        ticket.parent_span_id, attempts[1].span_id,
        "the queue's message belongs to the attempt that sent it"
    );
    // 2 is an error.
    assert_eq!(
        attempts.iter().map(|span| span.status.as_ref().map_or(0, |status| status.code)).collect::<Vec<_>>(),
        [2, 0]
    );
    service.stop().await;
    worker.stop().await;
}

#[tokio::test]
async fn a_trace_crosses_everything_on_redis() {
    let server = Server::start();
    one_trace(&server.url()).await;
}

#[tokio::test]
async fn a_trace_crosses_everything_in_memory() {
    one_trace("memory:").await;
}
