//! `rediss://` against a redis-server that speaks nothing but TLS, with a certificate of an authority of the test's own.
//!
//! The toolkit trusts the system's certificates, which `SSL_CERT_FILE` names: so the calls are made by this test binary, run again
//! with the ignored test [`process`].

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cauce::{Bus, QueueOptions, Service, Start, State};
use tempfile::TempDir;

use crate::server::free_port;
use crate::support::{Cancelled, Seen, soon, until};

const URL: &str = "CAUCE_TEST_URL";

/// Not a test: what the processes of the test below run.
#[test]
#[ignore = "is run by the test of this module, in a process of its own"]
fn process() {
    let Ok(url) = std::env::var(URL) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match runtime.block_on(Bus::connect(&url)) {
        Ok(bus) => {
            runtime.block_on(work(&bus, url.rsplit(':').next().unwrap()));
            println!("all done");
        }
        Err(error) => println!("refused: {error}"),
    }
}

/// Every kind of connection: commands alone and together, long ones, subscriptions, a service's reader, and all of it again after a break.
async fn work(bus: &Bus, port: &str) {
    let queue = bus.queues().create("jobs", &QueueOptions::new()).await.unwrap();
    let seen = Seen::new();
    let handler = async |event: Cancelled, State(seen): State<Seen<u32>>| seen.push(event.passengers);
    let service = Service::new("desk").start_at(Start::Beginning).state(seen.clone()).on(handler);
    let running = service.start(bus).await.unwrap();
    for round in 1..=2_u32 {
        let waiter = tokio::spawn({
            let queue = queue.clone();
            async move { queue.receive_wait(Duration::from_secs(20)).await.unwrap().unwrap() }
        });
        queue.send(&"alone".to_owned()).await.unwrap();
        let message = soon("it is announced", waiter).await.unwrap();
        assert!(queue.delete_received(&message).await.unwrap());
        let bodies: Vec<_> = (0..100).map(|number| format!("{number}:{}", "x".repeat(60_000))).collect();
        let sends = bodies.iter().map(|body| queue.send(body));
        let ids = futures_util::future::try_join_all(sends).await.unwrap();
        let received = queue.pop_many(100).await.unwrap();
        assert!(received.iter().map(|message| message.id).eq(ids));
        assert!(received.iter().map(|message| message.text()).eq(bodies.iter().map(String::as_str)));
        bus.publish_all(&Cancelled::series(200)).await.unwrap();
        until("all are handled", || seen.len() >= 200 * round as usize).await;
        // Also the ones that others wait on: the connections are opened again.
        for kind in ["normal", "pubsub"] {
            let trusted = std::env::var("SSL_CERT_FILE").unwrap();
            let killed = Command::new("redis-cli")
                .args(["--tls", "--cacert", &trusted, "-p", port, "CLIENT", "KILL", "TYPE", kind])
                .output()
                .unwrap();
            let killed: u32 = String::from_utf8(killed.stdout).unwrap().trim().parse().unwrap();
            assert!(killed > 0, "{kind}");
        }
    }
    assert_eq!(running.stop().await.failed, 0);
}

/// A redis-server without a plain port.
struct Server {
    process: Child,
    url: String,
    directory: TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        certificates(directory.path());
        let port = free_port();
        let process = Command::new("redis-server")
            .args(["--port", "0", "--tls-port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--tls-cert-file", "server.pem", "--tls-key-file", "server.key"])
            .args(["--tls-ca-cert-file", "authority.pem", "--tls-auth-clients", "no", "--dir"])
            .arg(directory.path())
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Self { process, url: format!("rediss://127.0.0.1:{port}"), directory }
    }

    /// What a program says that trusts this file.
    fn told(&self, trusted: &str) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["tls::process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(URL, &self.url)
            .env("SSL_CERT_FILE", self.directory.path().join(trusted))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An authority, a server's certificate that it signed, and another authority that has signed nothing.
fn certificates(directory: &Path) {
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(directory).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"];
    for (name, subject) in [("authority", "/CN=Authority of a test"), ("stranger", "/CN=Another")] {
        let (key_file, file) = (format!("{name}.key"), format!("{name}.pem"));
        let own = ["req", "-x509", "-keyout", &key_file, "-out", &file, "-subj", subject];
        openssl(&[&own[..], &key[..]].concat());
    }
    let request = ["req", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"];
    openssl(&[&request[..], &key[..3]].concat());
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    let sign = ["x509", "-req", "-in", "server.csr", "-out", "server.pem", "-days", "2", "-extfile", "names"];
    openssl(&[&sign[..], &["-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"]].concat());
}

#[tokio::test]
async fn everything_works_over_tls_and_strangers_are_not_trusted() {
    let server = Server::start();
    until("it listens", || {
        let address = server.url.trim_start_matches("rediss://");
        std::net::TcpStream::connect(address).is_ok()
    })
    .await;
    let told = server.told("stranger.pem");
    assert!(told.contains("refused: ") && told.contains("UnknownIssuer"), "{told}");
    assert!(told.contains(&server.url), "{told}");
    let told = server.told("authority.pem");
    assert!(told.contains("all done"), "{told}");
}
