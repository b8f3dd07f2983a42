//! The samples of docs/http.md, run as they stand there, one after the other on one server.

use std::process::Command;

use serde_json::Value;

use super::client::Api;

/// A line that begins with `$ curl`, and what the page says that it prints.
fn samples(page: &str) -> Vec<(&str, String)> {
    let mut samples: Vec<(&str, String)> = Vec::new();
    for block in page.split("```console\n").skip(1) {
        let mut is_curl = false;
        for line in block.split("```").next().unwrap().lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                is_curl = command.starts_with("curl ");
                if is_curl {
                    samples.push((command, String::new()));
                }
            } else if is_curl {
                samples.last_mut().unwrap().1 += line;
            }
        }
    }
    samples
}

/// Ids and times differ from run to run; everything else is as the page says.
fn is_alike(found: &Value, shown: &Value) -> bool {
    let is_id = |text: &str| text.len() == 32 || text.split('-').all(|part| part.parse::<u64>().is_ok());
    match (found, shown) {
        (Value::Object(found), Value::Object(shown)) => {
            found.len() == shown.len()
                && shown
                    .iter()
                    .all(|(name, shown)| found.get(name).is_some_and(|found| is_alike(found, shown)))
        }
        (Value::Array(found), Value::Array(shown)) => {
            found.len() == shown.len() && found.iter().zip(shown).all(|(found, shown)| is_alike(found, shown))
        }
        (Value::Number(found), Value::Number(shown)) => {
            found == shown
                || found.as_u64().zip(shown.as_u64()).is_some_and(|(a, b)| a.min(b) > 1_600_000_000_000)
        }
        (Value::String(found), Value::String(shown)) => found == shown || (is_id(found) && is_id(shown)),
        _ => found == shown,
    }
}

#[test]
fn the_samples_of_the_page_print_what_it_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http.md")).unwrap();
    let samples = samples(&page);
    assert!(samples.len() >= 10, "{samples:?}");
    let api = Api::start(&[]);
    let mut id = String::new();
    for (command, shown) in samples {
        // What follows does not end by itself.
        let is_endless = command.starts_with("curl -sN ");
        let curl = if is_endless { "curl --max-time 1 " } else { "curl " };
        let line = command.replacen("curl ", curl, 1).replace("127.0.0.1:8080", &api.address);
        let output = Command::new("bash").args(["-c", &line]).env("ID", &id).output().unwrap();
        let found = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(if is_endless { 28 } else { 0 }), "{line}: {found}");
        let json = |text: &str| {
            let text = text.lines().next().unwrap_or_default();
            let text = text.strip_prefix("data: ").unwrap_or(text);
            let text = text.split("id: ").next().unwrap_or_default();
            serde_json::from_str(if text.is_empty() { "null" } else { text })
                .unwrap_or_else(|_| panic!("{line}: {text}"))
        };
        let (found, shown) = (json(&found), json(&shown));
        assert!(is_alike(&found, &shown), "{line}\nprints {found}\nthe page says {shown}");
        if let Some(found) = found["id"].as_str() {
            found.clone_into(&mut id);
        }
    }
}
