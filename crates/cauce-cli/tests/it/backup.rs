//! `cauce backup` and `cauce restore`, while a server works.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use cauce_testkit::wire::Address;

use crate::durable::Server;

fn cauce(words: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_cauce")).args(words).stdin(Stdio::null()).output();
    output.unwrap()
}

#[track_caller]
fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(why), "{said}");
}

fn entries(server: &Server) -> BTreeSet<String> {
    let reply = server.ask("XRANGE s - +");
    reply.elements().unwrap().iter().map(|entry| entry.elements().unwrap()[0].text().unwrap()).collect()
}

/// Publishes until it is told to stop, while `work` goes on with what is acknowledged.
fn under_load(server: &Server, work: impl FnOnce(&Mutex<BTreeSet<String>>)) {
    let (acknowledged, stop) = (Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut connection = server.connect();
                let body = "x".repeat(2000);
                while !stop.load(Ordering::SeqCst) {
                    for _ in 0..16 {
                        connection.send(&["XADD", "s", "*", "body", &body]).unwrap();
                    }
                    for _ in 0..16 {
                        let id = connection.receive().unwrap().text().unwrap();
                        acknowledged.lock().unwrap().insert(id);
                    }
                }
            });
        }
        // Also if it panics: else the others would go on for ever.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let _stop = Stop(&stop);
        while acknowledged.lock().unwrap().len() < 300 {
            std::thread::yield_now();
        }
        work(&acknowledged);
    });
}

#[test]
fn what_was_acknowledged_before_is_in_a_backup_under_load() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    // Checkpoints come, and segments are used again, while files are copied.
    let often = ["--segment-bytes", "65536", "--checkpoint-after", "262144"];
    let server = Server::start(&at("data"), &often);
    server.ask("XGROUP CREATE s g 0 MKSTREAM");
    let Address::Tcp(address) = &server.address else { panic!("TCP was asked for") };
    let url = format!("redis://{address}");
    let mut before = Vec::new();
    under_load(&server, |acknowledged| {
        for round in 0..3 {
            let more = acknowledged.lock().unwrap().len() + 400;
            while acknowledged.lock().unwrap().len() < more || round == 2 && !at("data/checkpoint").exists() {
                std::thread::yield_now();
            }
            before.push(acknowledged.lock().unwrap().clone());
            done(&cauce(&["backup", "--url", &url, &text(&at(&format!("copy{round}")))]));
        }
        before.push(acknowledged.lock().unwrap().clone());
        let tar = File::create(at("copy.tar")).unwrap();
        let backup = Command::new(env!("CARGO_BIN_EXE_cauce"))
            .args(["backup", "--dir", &text(&at("data")), "-"])
            .stdout(tar)
            .output();
        done(&backup.unwrap());
    });
    drop(server);
    // A directory opens as it is; the others are restored first.
    for (round, before) in before.iter().enumerate() {
        let source = if round == 3 { at("copy.tar") } else { at(&format!("copy{round}")) };
        let directory = if round == 0 { source } else { at(&format!("restored{round}")) };
        if round > 0 {
            let source = if round == 3 { at("copy.tar") } else { at(&format!("copy{round}")) };
            done(&cauce(&["restore", &text(&source), &text(&directory)]));
        }
        let server = Server::start(&directory, &[]);
        let kept = entries(&server);
        assert!(before.is_subset(&kept), "backup {round}: {} of {}", kept.len(), before.len());
        assert!(!server.ask("XADD s * more 1").is_error(), "it goes on");
    }
    assert!(at("copy2/checkpoint").exists(), "a checkpoint was written meanwhile");
    done(&cauce(&["log", &text(&at("copy2")), "--checkpoint"]));
    // The tools of everyone agree.
    let sums =
        Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS"]).current_dir(at("copy1")).status();
    assert!(sums.unwrap().success());
    let listed = Command::new("tar").args(["tf", &text(&at("copy.tar"))]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).ends_with("SHA256SUMS\n"));
}

#[test]
fn a_damaged_backup_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let server = Server::start(&place.path().join("data"), &[]);
    server.ask("SET k v");
    done(&cauce(&["backup", "--dir", &at("data"), &at("copy")]));
    refused(&cauce(&["backup", "--dir", &at("data"), &at("copy")]), "is not empty");
    refused(&cauce(&["restore", &at("copy"), &at("data")]), "is not empty");
    let tar = cauce(&["backup", "--dir", &at("data"), "-"]).stdout;
    fs::write(at("whole.tar"), &tar).unwrap();
    fs::write(at("half.tar"), &tar[..tar.len() / 2]).unwrap();
    done(&cauce(&["restore", &at("whole.tar"), &at("restored")]));
    refused(&cauce(&["restore", &at("half.tar"), &at("half")]), "");
    assert_eq!(fs::read_dir(at("half")).unwrap().count(), 0, "nothing is left of it");
    let segment = format!("{}/log-000000000001", at("copy"));
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4096 + 50] ^= 1;
    fs::write(&segment, bytes).unwrap();
    refused(&cauce(&["restore", &at("copy"), &at("other")]), "log-000000000001 has another checksum");
    let memory = crate::serve::Server::start(&[]);
    let url = format!("redis://{}", memory.address);
    refused(&cauce(&["backup", "--url", &url, &at("nothing")]), "cauce: ");
}
