//! `cauce demo`: replays a day of real flights through real services and checks the books.

/// Replays a day of real flights through real services and checks the books.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {}

/// Runs the command; what it returns is the process's exit code.
pub(crate) fn run(_args: DemoArgs) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("not built yet")
}
