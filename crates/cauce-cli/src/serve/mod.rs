//! `cauce serve`: holds a broker that speaks Redis's protocol.

/// Holds a broker that speaks Redis's protocol.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {}

/// Runs the command; what it returns is the process's exit code.
pub(crate) fn run(_args: ServeArgs) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("not built yet")
}
