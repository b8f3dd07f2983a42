//! `cauce bench`: measures a server that speaks Redis's protocol.

/// Measures a server that speaks Redis's protocol.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {}

/// Runs the command; what it returns is the process's exit code.
pub(crate) fn run(_args: BenchArgs) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("not built yet")
}
